//! What a popping client does: it pops, makes receipt handles, acks.

use std::time::Duration;

use broker::{Ack, Answer, Caller, ChangeInvisible, Error, Pop, Popped};
use model::receipt::{PopTopic, Receipt};
use model::record::View;
use model::{GroupName, TopicName};

use crate::house::{House, caller, records};

/// A pop of everything there is.
pub fn all(topic: &str) -> Pop<'_> {
    Pop {
        group: "g",
        topic,
        queue: -1,
        max: 32,
        invisible: 10_000,
        poll: 0,
        born_at: 0,
        from_max: false,
        expression: None,
        expression_kind: None,
        order: false,
        attempt: None,
        once: false,
        warm: false,
    }
}

/// One popped message.
#[derive(Clone, Debug)]
pub struct Got {
    pub body: String,
    pub topic: String,
    pub queue: i32,
    pub offset: i64,
    pub times: i32,
    /// The topic it is acked with.
    pub real: String,
    pub receipt: String,
}

/// A topic with messages `0`, `1` … in queue 0.
pub fn filled(count: usize) -> House {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    for n in 0..count {
        house.put("t", 0, &n.to_string(), "");
    }
    house
}

pub fn real(group: &str, topic: &str, which: PopTopic) -> String {
    let (group, topic) = (GroupName::parse(group), TopicName::parse(topic));
    TopicName::pop_retry_of(&group.unwrap(), &topic.unwrap(), which).to_string()
}

/// What a client makes of an answer.
pub fn read(pop: &Pop<'_>, popped: &Popped, out: &[u8]) -> Vec<Got> {
    let places = popped.queues.iter().flat_map(|queue| {
        let start = queue.offsets[0].0;
        let place = move |&(offset, count)| (queue.topic, queue.queue, start, offset, count);
        queue.offsets.iter().map(place)
    });
    let got = |((topic, queue, start, offset, count), view): (_, View<'_>)| {
        assert_eq!((view.queue().0, view.queue_offset().0), (queue, offset));
        let receipt = Receipt {
            start,
            popped_at: popped.popped_at,
            invisible: popped.invisible,
            revive_queue: popped.revive_queue,
            topic,
            broker: "broker-a",
            queue: queue as i32,
            offset,
        };
        let receipt = receipt.to_string();
        if topic != PopTopic::Normal {
            assert_eq!(view.property("POP_CK"), Some(&*receipt));
        }
        Got {
            body: String::from_utf8(view.body().to_vec()).unwrap(),
            topic: view.topic().to_owned(),
            queue: queue as i32,
            offset: offset as i64,
            times: view.reconsume_times() + count as i32,
            real: real(pop.group, pop.topic, topic),
            receipt,
        }
    };
    let views = records(out);
    assert_eq!(places.clone().count(), views.len());
    places.zip(views).map(got).collect()
}

/// Pops until it is answered.
pub fn pop(house: &House, pop: Pop<'_>) -> Vec<Got> {
    try_pop(house, caller(3), pop).unwrap().1
}

pub fn try_pop(house: &House, who: Caller, wanted: Pop<'_>) -> Result<(Popped, Vec<Got>), Error> {
    let mut out = Vec::new();
    let mut wanted = wanted;
    let popped = house.run(who, |caller| {
        out.clear();
        wanted.warm = !caller.may_wait;
        house.broker.pop(caller, &wanted, &mut out)
    })?;
    let got = read(&wanted, &popped, &out);
    Ok((popped, got))
}

pub fn texts(got: &[Got]) -> Vec<&str> {
    got.iter().map(|got| &*got.body).collect()
}

pub fn sorted(got: &[Got]) -> Vec<&str> {
    let mut texts = texts(got);
    texts.sort_unstable();
    texts
}

pub fn ack_of<'a>(group: &'a str, got: &'a Got) -> Ack<'a> {
    Ack {
        group,
        topic: &got.real,
        queue: got.queue,
        offset: got.offset,
        receipt: &got.receipt,
    }
}

/// Whether the message is done.
pub fn ack(house: &House, got: &Got) -> bool {
    let ack = ack_of("g", got);
    house
        .run(caller(3), |caller| house.broker.ack(caller, &ack))
        .unwrap()
}

/// Keeps a message invisible; returns it with its new handle.
pub fn extend(house: &House, got: &Got, invisible: i64) -> Got {
    extend_once(house, got, invisible, None).unwrap().0
}

/// The same under a name; with whether it was made before.
pub fn extend_once(
    house: &House,
    got: &Got,
    invisible: i64,
    once: Option<&str>,
) -> Result<(Got, bool), Error> {
    let change = ChangeInvisible {
        ack: ack_of("g", got),
        invisible,
        once,
    };
    let run = |caller: &Caller| house.broker.change_invisible(caller, &change);
    let changed = house.run(caller(3), run)?;
    let old = Receipt::parse(&got.receipt).unwrap();
    let receipt = Receipt {
        start: old.offset,
        popped_at: changed.popped_at,
        invisible: changed.invisible,
        revive_queue: changed.revive_queue,
        ..old
    };
    let new = Got {
        receipt: receipt.to_string(),
        ..got.clone()
    };
    Ok((new, changed.replayed))
}

pub fn pass(house: &House, ms: u64) {
    house.clock.advance(Duration::from_millis(ms));
    house.broker.deadlines_step().unwrap();
}

pub fn committed(house: &House, topic: &str, queue: i32) -> i64 {
    let answer = house.broker.offset(&caller(2), "g", topic, queue, false);
    match answer.unwrap() {
        Answer::Ready(offset) => offset,
        other => panic!("{other:?}"),
    }
}

pub fn held(house: &House, who: Caller, wanted: &Pop<'_>) {
    let mut out = Vec::new();
    match house.broker.pop(&who, wanted, &mut out).unwrap() {
        Answer::Hold(_) => {}
        other => panic!("{other:?}"),
    }
}
