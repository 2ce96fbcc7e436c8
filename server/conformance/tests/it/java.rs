//! The Java clients 4.9.7 and 5.3.3. What each scenario does and checks is in `java/common` and `java/v5`.

use std::sync::OnceLock;

use conformance::clients::Client;
use conformance::toolchain::Release;

use crate::{shared, skipped, target};

const NEEDS: [&str; 2] = ["java", "mvn"];

fn play(client: impl Fn() -> &'static Client, scenario: &str) {
    if !skipped(&NEEDS) {
        client().play(scenario, &[("target", target())]);
    }
}

/// One test a scenario; all of a list share a JVM.
macro_rules! scenarios {
    ($module:ident, $release:expr, $options:expr, { $($test:ident: $scenario:literal,)* }) => {
        pub mod $module {
            use super::*;

            /// The JVM of these tests.
            pub fn client() -> &'static Client {
                static CLIENT: OnceLock<Client> = OnceLock::new();
                CLIENT.get_or_init(|| {
                    Client::java($release, concat!("java-", stringify!($module)), $options, &shared().namesrv)
                })
            }

            $(#[test]
            fn $test() {
                play(client, $scenario);
            })*
        }
    };
}

/// The same scenarios for both releases; the second list is for the newer alone.
macro_rules! both {
    ({ $($test:ident: $scenario:literal,)* }, { $($only:ident: $new:literal,)* }) => {
        scenarios!(client_4_9_7, Release::V4, &[], { $($test: $scenario,)* });
        scenarios!(client_5_3_3, Release::V5, &[], { $($test: $scenario,)* $($only: $new,)* });
    };
}

both!({
    // The slow ones first: they run while others are quick.
    retry_nothing_is_lost: "retry-nothing-lost",
    rebalance_on_joining_and_leaving: "rebalance",
    restarted_group_goes_on: "restart",
    orderly_members_never_share_a_queue: "orderly-two-members",
    // The tutorial's samples, section by section.
    tutorial_2_4_quickstart: "quickstart",
    tutorial_4_1_1_sync_send: "sync-send",
    tutorial_4_1_1_async_send: "async-send",
    tutorial_4_1_1_oneway_send: "oneway-send",
    tutorial_4_1_2_load_balancing: "load-balancing",
    tutorial_4_1_2_broadcasting: "broadcasting",
    tutorial_4_2_ordered: "ordered",
    tutorial_4_3_scheduled: "scheduled",
    tutorial_4_4_batch: "batch",
    tutorial_4_4_batch_splitting: "batch-splitting",
    tutorial_4_6_1_transactions: "transaction-sample",
    // Transactions.
    transaction_nobody_decides_is_found_again: "transaction-given-up",
    transaction_check_decides: "transaction-check",
    transaction_another_member_is_asked: "transaction-other-member",
    transaction_ends_once: "transaction-ended-once",
    transaction_decided_too_late_is_604: "transaction-late-decision",
    transaction_with_a_delay_is_13: "transaction-with-delay",
    // What comes back.
    retry_ends_in_a_dead_letter: "retry-dead-letter",
    orderly_consumer_gives_up: "orderly-gives-up",
    request_and_reply: "request-reply",
    reset_of_a_waiting_consumer: "reset-online",
    reset_of_a_group_that_is_away: "reset-offline",
    tools_ask_a_running_consumer: "running-consumer",
    // Sending.
    compressed_body: "compressed",
    body_of_four_mebibytes: "big-message",
    vip_channel: "vip-channel",
    properties_and_checksum_tolerated: "properties",
    chosen_queue_has_dense_offsets: "chosen-queue",
    send_without_waiting_for_the_disk: "no-wait",
    delay_levels_overtake_each_other: "delay-levels",
    timers_by_property: "timers-by-property",
    // Consuming.
    tag_filter: "tag-filter",
    tutorial_4_5_filtered: "sql-filter",
    sql_language: "sql-language",
    sql_that_is_none_is_23: "sql-bad",
    sql_with_each_pull: "sql-with-each-pull",
    sql_pull_consumer: "sql-pull",
    long_poll_is_woken: "long-poll",
    consume_from_last: "from-last",
    consume_from_timestamp: "from-timestamp",
    broadcasting_members_keep_their_offsets: "broadcast-offsets",
    namespaces: "namespaces",
    subscription_with_each_pull: "post-subscription",
    orderly_pause_repeats_the_message: "orderly-suspend",
    two_topics_in_one_group: "two-topics",
    // Pulling.
    pull_consumer: "pull",
    pull_is_held: "pull-held",
    lite_pull_subscribe: "lite-subscribe",
    lite_pull_assign_and_seek: "lite-assign",
    // Asking.
    view_message: "view-message",
    query_by_key: "query-message",
    offsets_and_times: "offsets",
    create_topic: "create-topic",
    lowest_offset_of_all_groups: "correction-offset",
    progress_of_all_groups: "stats-of-all-groups",
    // Refusals.
    body_too_big_is_13: "too-big",
    properties_too_big_are_13: "properties-too-big",
    illegal_requests_get_their_codes: "illegal-requests",
    unknown_topic: "unknown-topic",
}, {
    compression_codecs: "compression-codecs",
    heartbeat_v2: "heartbeat-v2",
    // Popping.
    pop_push_consumer: "pop-push",
    pop_two_members: "pop-push-two-members",
    pop_requests: "pop-requests",
    pop_in_order: "pop-ordered",
    timers_told_in_each_way: "timers",
    recalled_messages_never_come: "recall",
    pop_held_with_tags: "pop-held-with-tags",
    pop_held_with_sql: "pop-held-with-sql",
    pop_held_in_vain: "pop-held-in-vain",
    pop_notification: "notification",
    pop_reset: "pop-reset",
    pop_reset_in_order: "pop-reset-in-order",
    // Deciding for a group.
    group_that_may_not_read: "group-forbidden",
    group_and_its_subscriptions: "group-subscriptions",
    brokers_share_out_queues: "assignment",
    retries_by_a_table: "retry-customized",
    retries_that_grow: "retry-exponential",
});

scenarios!(binary_header_5_3_3, Release::V5, &["-Drocketmq.serialize.type=ROCKETMQ"], {
    sync_send: "sync-send",
    ordered: "ordered",
    batch: "batch",
    tag_filter: "tag-filter",
    pull_consumer: "pull",
    lite_pull_subscribe: "lite-subscribe",
    query_by_key: "query-message",
    properties: "properties",
    pop_push_consumer: "pop-push",
    illegal_requests_get_their_codes: "illegal-requests",
});
