//! What Apache has no requests for, on the wire.

use model::receipt::{PopTopic, Receipt};
use remoting::Command;
use remoting::body::{
    CheckerInfo, CheckerList, DelayedList, GoneDeadLetters, LeasesOut, OperationInfo,
    TransactionList, from_slice, to_vec,
};
use remoting::code::own::*;
use remoting::code::request::*;
use remoting::code::response::*;

use crate::say::{beat, but, create_topic, send, send_with};
use crate::world::{NOW, World};

fn world() -> World {
    let world = World::new();
    world.ask(create_topic("T", 2, 6));
    world
}

fn list(code: i32, topic: &str) -> Command {
    Command::request(code).with("topic", topic)
}

#[test]
fn whoever_asks_in_a_heartbeat_is_told_the_codes_and_nobody_else() {
    let world = world();
    let plain = world.ask_on(7, beat("c", "G", "T", "*", 1));
    assert_eq!(plain.field("posthouse"), None);
    let told = world.ask_on(7, beat("c", "G", "T", "*", 1).with("posthouse", 1));
    let codes: Vec<i32> = (told.field("posthouse").unwrap().split(','))
        .map(|code| code.parse().unwrap())
        .collect();
    for code in 310_000..310_100 {
        let served = world.ask(Command::request(code)).code != REQUEST_CODE_NOT_SUPPORTED;
        assert_eq!(codes.contains(&code), served, "{code}");
    }
}

#[test]
fn a_send_says_how_safe_it_is_to_those_who_ask() {
    let world = world();
    assert_eq!(world.ask(send("T", b"m")).field("durability"), None);
    let asks = send("T", b"m").with("o", "true");
    assert_eq!(
        world.ask(asks.clone()).field("durability"),
        Some("page-cache")
    );
    let unsafe_one = but(asks, "i", "WAIT\u{1}false\u{2}");
    assert_eq!(
        world.ask(unsafe_one).field("durability"),
        Some("page-cache")
    );
}

#[test]
fn delayed_messages_are_listed_and_part_by_part() {
    let world = world();
    for n in 1..=3 {
        let wait = format!("TIMER_DELAY_SEC\u{1}{n}\u{2}UNIQ_KEY\u{1}K{n}\u{2}");
        assert_eq!(world.ask(send_with("T", 1, &wait, b"m")).code, SUCCESS);
    }
    let first = world.ask(list(LIST_DELAYED, "T").with("max", 2));
    let first: DelayedList = from_slice(&first.body).unwrap();
    let keys: Vec<&str> = first.messages.iter().map(|m| &*m.unique_key).collect();
    assert_eq!(keys, ["K1", "K2"]);
    assert_eq!(
        (first.messages[0].due_at, first.messages[0].queue_id),
        (NOW + 1_000, 1)
    );
    let rest = world.ask(list(LIST_DELAYED, "T").with("after", first.next.unwrap()));
    let rest: DelayedList = from_slice(&rest.body).unwrap();
    assert_eq!((rest.messages.len(), rest.next), (1, None));
    assert_eq!(world.ask(list(LIST_DELAYED, "none")).code, TOPIC_NOT_EXIST);
    let wrong = world.ask(list(LIST_DELAYED, "T").with("after", "x"));
    assert_eq!(wrong.code, INVALID_PARAMETER);
}

#[test]
fn a_transaction_is_listed_and_says_how_it_stands() {
    let world = world();
    let half = send_with(
        "T",
        0,
        &format!(
            "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}P\u{2}UNIQ_KEY\u{1}U\u{2}EXPIRES_AT\u{1}{}\u{2}",
            NOW + 60_000
        ),
        b"m",
    );
    let stored = world.ask(but(half, "f", 4));
    assert_eq!(stored.code, SUCCESS, "{:?}", stored.remark);
    let listed = world.ask(list(LIST_TRANSACTIONS, "T"));
    let listed: TransactionList = from_slice(&listed.body).unwrap();
    let open = &listed.transactions[0];
    assert_eq!((&*open.group, open.expires_at), ("P", Some(NOW + 60_000)));
    let ask = |code| {
        Command::request(code)
            .with("producerGroup", "P")
            .with("tranStateTableOffset", open.queue_offset)
            .with("commitLogOffset", open.log_offset)
    };
    let state = || world.ask(ask(TRANSACTION_STATE));
    assert_eq!(state().field("state"), Some("pending"));
    assert_eq!(
        state().field("expiresAt"),
        Some(&*(NOW + 60_000).to_string())
    );
    let end = ask(END_TRANSACTION)
        .with("commitOrRollback", 8)
        .with("fromTransactionCheck", true);
    assert_eq!(world.ask(end.with("msgId", "U")).code, SUCCESS);
    assert_eq!(state().field("state"), Some("committed"));
    let other = but(ask(TRANSACTION_STATE), "producerGroup", "X");
    assert_eq!(world.ask(other).code, SYSTEM_ERROR);
}

#[test]
fn leases_are_released_and_made_dead_letters() {
    let world = world();
    for body in [b"a", b"b", b"c"] {
        world.ask(send("T", body));
    }
    let pop = || {
        let pop = Command::request(POP_MESSAGE)
            .with("consumerGroup", "G")
            .with("topic", "T")
            .with("queueId", 0)
            .with("maxMsgNums", 32)
            .with("invisibleTime", 10_000)
            .with("pollTime", 0)
            .with("bornTime", 0)
            .with("initMode", 0)
            .with("order", "false");
        world.ask(pop)
    };
    let popped = pop();
    let of = |code, offset: u64| {
        let number = |name| popped.field(name).unwrap().parse::<i64>().unwrap();
        let receipt = Receipt {
            start: 0,
            popped_at: number("popTime"),
            invisible: number("invisibleTime"),
            revive_queue: number("reviveQid") as i32,
            topic: PopTopic::Normal,
            broker: "broker-a",
            queue: 0,
            offset,
        };
        Command::request(code)
            .with("consumerGroup", "G")
            .with("topic", "T")
            .with("queueId", 0)
            .with("offset", offset)
            .with("extraInfo", receipt)
    };
    let extend = of(CHANGE_MESSAGE_INVISIBLETIME, 2)
        .with("invisibleTime", 60_000)
        .with("idempotencyKey", "k");
    let (first, again) = (world.ask(extend.clone()), world.ask(extend.clone()));
    assert_eq!(first.field("replayed"), None);
    assert_eq!(again.field("replayed"), Some("true"));
    assert_eq!(again.field("popTime"), first.field("popTime"));
    let other = world.ask(but(extend.clone(), "invisibleTime", 70_000));
    assert_eq!(
        other.code,
        remoting::code::own_response::IDEMPOTENCY_DIFFERS
    );
    let leases = |receipt: &str| {
        let lease = format!(r#"{{"offset":2,"queueId":0,"topic":"T","receipt":"{receipt}"}}"#);
        let asked = format!(r#"{{"leases":[{lease}]}}"#);
        let ask = Command::request(GET_LEASES).with("consumerGroup", "G");
        let told = world.ask(ask.with("topic", "T").body(asked.into_bytes()));
        let told: LeasesOut = from_slice(&told.body).unwrap();
        (told.in_flight, told.out)
    };
    // The old lease of what was extended is no more; its message is out on the new one.
    assert_eq!(leases(extend.field("extraInfo").unwrap()), (3, vec![false]));
    assert_eq!(leases("nonsense"), (3, vec![false]));
    let release = of(RELEASE_MESSAGE, 0)
        .with("delay", 0)
        .with("countAttempt", false);
    assert_eq!(world.ask(release.clone()).field("held"), Some("true"));
    assert_eq!(world.ask(release.clone()).field("held"), Some("false"));
    assert_eq!(pop().field("msgOffsetInfo"), Some("0 0 0"));
    let bury = of(DEAD_LETTER_MESSAGE, 1).with("reason", "no schema");
    assert_eq!(world.ask(bury.clone()).field("held"), Some("true"));
    assert_eq!(world.ask(bury).field("held"), Some("false"));
    let end = Command::request(GET_MAX_OFFSET)
        .with("topic", "%DLQ%G")
        .with("queueId", 0);
    assert_eq!(world.ask(end).field("offset"), Some("1"));
    assert_eq!(world.ask(but(release, "delay", -5)).code, INVALID_PARAMETER);
}

#[test]
fn dead_letters_are_sent_again_and_the_operation_is_followed() {
    let world = world();
    world.ask_on(7, beat("c", "G", "T", "*", 1));
    world.ask(send("T", b"dead"));
    let pulled = world.ask(crate::say::pull("G", "T", 0, 0));
    let at = crate::say::records(&pulled.body)[0].log_offset().0;
    let back = Command::request(CONSUMER_SEND_MSG_BACK)
        .with("offset", at)
        .with("group", "G")
        .with("delayLevel", -1)
        .with("unitMode", false);
    assert_eq!(world.ask(back).code, SUCCESS);
    let of_group = |code| Command::request(code).with("consumerGroup", "G");
    let info = |answer: &Command| from_slice::<OperationInfo>(&answer.body).unwrap();
    let started = world.ask(of_group(REDRIVE_DEAD_LETTERS));
    assert_eq!(started.code, SUCCESS, "{:?}", started.remark);
    let started = info(&started);
    assert_eq!(
        (&*started.kind, &*started.state, started.total),
        ("redrive", "running", 1)
    );
    while world.broker.deadlines_step().unwrap().is_zero() {}
    let of = |code| Command::request(code).with("operation", &started.id);
    let done = info(&world.ask(of(GET_OPERATION)));
    assert_eq!((&*done.state, done.done), ("done", 1));
    assert_eq!(info(&world.ask(of(CANCEL_OPERATION))).state, "done");
    let gone = world.ask(of_group(GET_GONE_DEAD_LETTERS));
    let gone: GoneDeadLetters = from_slice(&gone.body).unwrap();
    assert_eq!(gone.gone, [(0, 1)]);
    assert_eq!(info(&world.ask(of_group(PURGE_DEAD_LETTERS))).kind, "purge");
    let none = Command::request(GET_OPERATION).with("operation", "op_0");
    assert_eq!(world.ask(none).code, QUERY_NOT_FOUND);
    let wrong = of_group(REDRIVE_DEAD_LETTERS).with("limit", 0);
    assert_eq!(world.ask(wrong).code, INVALID_PARAMETER);
}

#[test]
fn a_checker_is_kept_for_its_topic_until_one_of_them_is_deleted() {
    let world = world();
    let checker = |topic: &str, url: &str| CheckerInfo {
        created_at: NOW,
        producer_group: "P".to_owned(),
        secret: "whsec_AAAA".to_owned(),
        topic: topic.to_owned(),
        url: url.to_owned(),
    };
    let put = |checker: &CheckerInfo| {
        let command = Command::request(PUT_CHECKER).body(to_vec(checker));
        world.ask(command).code
    };
    let listed = |command: Command| {
        let list: CheckerList = from_slice(&world.ask(command).body).unwrap();
        list.checkers
    };
    let all = || listed(Command::request(GET_CHECKERS));
    assert_eq!(put(&checker("none", "https://a/")), TOPIC_NOT_EXIST);
    for url in ["", "https://a/\u{2}", &"x".repeat(2_049)] {
        assert_eq!(put(&checker("T", url)), INVALID_PARAMETER);
    }
    assert_eq!(all(), []);
    for url in ["https://a/", "https://b/"] {
        assert_eq!(put(&checker("T", url)), SUCCESS);
        assert_eq!(all(), [checker("T", url)]);
    }
    let of = |topic: &str| list(GET_CHECKERS, topic);
    assert_eq!(listed(of("T")), [checker("T", "https://b/")]);
    assert_eq!(listed(of("U")), []);
    let delete = || world.ask(list(DELETE_CHECKER, "T")).code;
    assert_eq!((delete(), delete()), (SUCCESS, QUERY_NOT_FOUND));
    assert_eq!(put(&checker("T", "https://a/")), SUCCESS);
    let gone = Command::request(DELETE_TOPIC_IN_BROKER).with("topic", "T");
    assert_eq!(world.ask(gone).code, SUCCESS);
    assert_eq!(all(), []);
}
