//! Which function serves which request code: the one `match`.

use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::Duration;

use broker::{Broker, ConnectionId, Told};
use model::{Level, LogOffset};
use remoting::code::{own as codes, request, response};
use remoting::server::{Door, Outcome, Peer, Refusal, Run, Service};
use remoting::{Frame, Prepared, Room};

use crate::ask::{Ask, Refused, Served};
use crate::bodies::Bodies;
use crate::{
    admin, client, offset, own, pop, pull, query, recall, reply, reset, retry, running, send,
    status, transaction,
};

/// Serves a broker to RocketMQ's clients and tools.
pub struct Endpoint {
    pub(crate) broker: Arc<Broker>,
    /// Large bodies made in the blocking pool.
    pub(crate) bodies: Arc<Bodies>,
    /// Numbers what is said behind an answer; downwards, as [`crate::Clients`] count up.
    pub(crate) behind: AtomicI32,
    mark_timeout: Duration,
    /// Fields of every answer to a send.
    pub(crate) of_sends: Prepared,
    /// For the headers of answers to pulls, and to pops.
    pub(crate) pulls: Room,
    pub(crate) pops: Room,
}

impl Endpoint {
    /// A door of this broker. The broker's outlet should be a [`crate::Clients`] of the same hub.
    pub fn new(broker: Arc<Broker>) -> Endpoint {
        let options = broker.options();
        let trace_on = if options.trace_on { "true" } else { "false" };
        let of_sends = Prepared::new(&[("MSG_REGION", &options.region), ("TRACE_ON", trace_on)]);
        Endpoint {
            of_sends,
            broker,
            bodies: Arc::default(),
            behind: AtomicI32::new(-1),
            pulls: Room::default(),
            pops: Room::default(),
            mark_timeout: Duration::from_secs(5),
        }
    }

    /// Answers wait so long for their mark (`syncFlushTimeout`).
    pub fn with_mark_timeout(self, mark_timeout: Duration) -> Endpoint {
        Endpoint {
            mark_timeout,
            ..self
        }
    }

    /// The broker behind the door.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    fn serve(&self, ask: &mut Ask<'_>) -> Served {
        use request::*;
        let code = ask.frame.code;
        match code {
            SEND_MESSAGE | SEND_MESSAGE_V2 | SEND_BATCH_MESSAGE => send::send(self, ask),
            // The fast port has no pulls, in Apache either.
            PULL_MESSAGE | LITE_PULL_MESSAGE if ask.peer.door == Door::Vip => {
                Err(Refused::NotSupported)
            }
            PULL_MESSAGE | LITE_PULL_MESSAGE => pull::pull(self, ask),
            POP_MESSAGE => pop::pop(self, ask),
            ACK_MESSAGE => pop::ack(self, ask),
            BATCH_ACK_MESSAGE => pop::ack_batch(self, ask),
            CHANGE_MESSAGE_INVISIBLETIME => pop::change_invisible(self, ask),
            NOTIFICATION => pop::notification(self, ask),
            POLLING_INFO => pop::polling(self, ask),
            PEEK_MESSAGE => pop::peek(self, ask),
            QUERY_ASSIGNMENT => pop::assignment(self, ask),
            SET_MESSAGE_REQUEST_MODE => pop::set_mode(self, ask),
            GET_ALL_MESSAGE_REQUEST_MODE => pop::modes(self, ask),
            QUERY_MESSAGE => query::by_key(self, ask),
            VIEW_MESSAGE_BY_ID => query::by_offset(self, ask),
            RECALL_MESSAGE => recall::recall(self, ask),
            QUERY_CONSUMER_OFFSET => offset::query(self, ask),
            UPDATE_CONSUMER_OFFSET => offset::update(self, ask),
            SEARCH_OFFSET_BY_TIMESTAMP => offset::search(self, ask),
            GET_MAX_OFFSET => offset::max(self, ask),
            GET_MIN_OFFSET => offset::min(self, ask),
            GET_EARLIEST_MSG_STORETIME => offset::earliest(self, ask),
            GET_ALL_CONSUMER_OFFSET => offset::all(self, ask),
            HEART_BEAT => client::heartbeat(self, ask),
            UNREGISTER_CLIENT => client::leave(self, ask),
            GET_CONSUMER_LIST_BY_GROUP => client::members(self, ask),
            CHECK_CLIENT_CONFIG => client::check(self, ask),
            END_TRANSACTION => transaction::end(self, ask),
            RESUME_CHECK_HALF_MESSAGE => transaction::resume(self, ask),
            LOCK_BATCH_MQ => client::lock(self, ask),
            UNLOCK_BATCH_MQ => client::unlock(self, ask),
            GET_CONSUMER_CONNECTION_LIST => client::consumers(self, ask),
            GET_PRODUCER_CONNECTION_LIST => client::producers(self, ask),
            UPDATE_AND_CREATE_TOPIC => admin::topic::update(self, ask),
            UPDATE_AND_CREATE_TOPIC_LIST => admin::topic::update_list(self, ask),
            DELETE_TOPIC_IN_BROKER => admin::topic::delete(self, ask),
            GET_TOPIC_CONFIG => admin::topic::one(self, ask),
            GET_ALL_TOPIC_CONFIG => admin::topic::all(self, ask),
            GET_SYSTEM_TOPIC_LIST_FROM_BROKER => admin::topic::system(self, ask),
            GET_TOPIC_STATS_INFO => admin::topic::stats(self, ask),
            QUERY_TOPIC_CONSUME_BY_WHO => admin::topic::consumed_by(self, ask),
            UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => admin::group::update(self, ask),
            UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => admin::group::update_list(self, ask),
            DELETE_SUBSCRIPTIONGROUP => admin::group::delete(self, ask),
            GET_SUBSCRIPTIONGROUP_CONFIG => admin::group::one(self, ask),
            GET_ALL_SUBSCRIPTIONGROUP_CONFIG => admin::group::all(self, ask),
            GET_CONSUME_STATS => admin::group::stats(self, ask),
            GET_BROKER_CONSUME_STATS => admin::stats::consumption(self, ask),
            VIEW_BROKER_STATS_DATA => admin::stats::item(self, ask),
            GET_BROKER_RUNTIME_INFO => admin::runtime(self, ask),
            GET_BROKER_CONFIG => admin::config(self, ask),
            UPDATE_BROKER_CONFIG => admin::change(self, ask),
            SEND_REPLY_MESSAGE | SEND_REPLY_MESSAGE_V2 => reply::reply(self, ask),
            QUERY_CONSUME_TIME_SPAN => admin::inspect::time_span(self, ask),
            QUERY_CONSUME_QUEUE => admin::inspect::index(self, ask),
            GET_ALL_PRODUCER_INFO => admin::inspect::producers(self, ask),
            QUERY_TOPICS_BY_CONSUMER => admin::inspect::topics(self, ask),
            QUERY_SUBSCRIPTION_BY_CONSUMER => admin::inspect::subscription(self, ask),
            QUERY_CORRECTION_OFFSET => admin::inspect::correction(self, ask),
            UPDATE_AND_GET_GROUP_FORBIDDEN => admin::inspect::readable(self, ask),
            GET_CONSUMER_RUNNING_INFO => running::info(self, ask),
            CONSUME_MESSAGE_DIRECTLY => running::consume(self, ask),
            INVOKE_BROKER_TO_GET_CONSUMER_STATUS => running::status(self, ask),
            INVOKE_BROKER_TO_RESET_OFFSET => reset::reset(self, ask),
            CLONE_GROUP_OFFSET => reset::clone(self, ask),
            CONSUMER_SEND_MSG_BACK => retry::send_back(self, ask),
            codes::LIST_DELAYED => own::delayed(self, ask),
            codes::LIST_TRANSACTIONS => own::transactions(self, ask),
            codes::TRANSACTION_STATE => own::transaction(self, ask),
            codes::RELEASE_MESSAGE => own::release(self, ask),
            codes::DEAD_LETTER_MESSAGE => own::dead_letter(self, ask),
            codes::REDRIVE_DEAD_LETTERS => own::redrive(self, ask),
            codes::PURGE_DEAD_LETTERS => own::purge(self, ask),
            codes::GET_OPERATION => own::operation(self, ask),
            codes::CANCEL_OPERATION => own::cancel(self, ask),
            codes::GET_GONE_DEAD_LETTERS => own::gone(self, ask),
            codes::GET_LEASES => own::leases(self, ask),
            codes::PUT_CHECKER => own::put_checker(self, ask),
            codes::GET_CHECKERS => own::checkers(self, ask),
            codes::DELETE_CHECKER => own::delete_checker(self, ask),
            _ => Err(Refused::NotSupported),
        }
    }
}

impl Service for Endpoint {
    fn call(&self, peer: &Peer, request: &Frame<'_>, run: Run, out: &mut Vec<u8>) -> Outcome {
        let mut ask = Ask::new(peer, request, run, out);
        let start = ask.out.len();
        match self.serve(&mut ask) {
            Ok(outcome) => {
                if let Outcome::Hold(_) | Outcome::Cold(_) = outcome {
                    // Room may have been left for a header.
                    ask.out.truncate(start);
                }
                outcome
            }
            Err(refused) => {
                // A body may have been begun.
                ask.out.truncate(start);
                refused.answer(self, &mut ask);
                Outcome::Done
            }
        }
    }

    fn commit(&self) -> Result<(), Refusal> {
        self.broker.commit().map_err(|error| refusal(&error))
    }

    fn failed(&self) -> Option<Refusal> {
        self.broker.failure().map(|error| refusal(&error))
    }

    fn reached(&self, level: Level) -> LogOffset {
        self.broker.reached(level)
    }

    fn late(&self, level: Level) -> i32 {
        match level {
            // A write that does not return is a store that does not work.
            Level::Appended => response::SERVICE_NOT_AVAILABLE,
            Level::Flushed | Level::Confirmed => response::FLUSH_DISK_TIMEOUT,
        }
    }

    fn mark_timeout(&self) -> Duration {
        self.mark_timeout
    }

    fn answered(&self, peer: &Peer, response: &Frame<'_>) {
        // What answers none of our questions has a number that no question has.
        if let Ok(question) = u32::try_from(response.opaque) {
            let told = Told {
                code: response.code,
                remark: response.remark.map(str::to_owned),
                body: response.body.to_vec(),
            };
            let from = ConnectionId(peer.id.0);
            self.broker.answered(from, question, told);
        }
    }

    fn closed(&self, peer: &Peer) {
        self.broker.closed(ConnectionId(peer.id.0));
    }
}

fn refusal(error: &broker::Error) -> Refusal {
    Refusal {
        code: status::code(error),
        remark: error.to_string(),
    }
}
