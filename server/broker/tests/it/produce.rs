//! Sends: each row of the table of checks, and what is stored.

use broker::{AskedFor, Error, Produce, Role, SendStatus};
use model::batch::items;
use model::flag::{Perm, sys};
use model::{NameError, QueueId, QueueOffset};

use crate::house::{House, START, bodies, caller, from_start, message, records};

fn refusal(house: &House, send: Produce<'_>) -> Error {
    let stored = house.store.marks().staged;
    let error = house.send(send).unwrap_err();
    house.broker.commit().unwrap();
    assert_eq!(
        house.store.marks().staged,
        stored,
        "{error}: something was stored"
    );
    error
}

#[test]
fn sends_before_the_broker_serves_are_refused() {
    let house = House::with(|options| options.accept_sends_from = START + 1);
    let text = format!("broker unable to service, until {}", START + 1);
    assert_eq!(refusal(&house, message("t")).to_string(), text);
    house.clock.set_wall(START + 1);
    assert!(house.send(message("t")).is_ok());
}

#[test]
fn a_read_only_broker_refuses_ordered_topics_only() {
    let house = House::with(|options| options.permission = Perm(Perm::READ));
    house.create("plain", |_| ()).unwrap();
    house.create("ordered", |topic| topic.order = true).unwrap();
    let text = "the broker[127.0.0.1:10911] sending message is forbidden";
    assert_eq!(refusal(&house, message("ordered")).to_string(), text);
    assert!(house.send(message("plain")).is_ok());
}

#[test]
fn a_topic_name_that_cannot_be_one_is_refused() {
    let house = House::new();
    let error = |name| refusal(&house, message(name));
    assert_eq!(error(""), Error::Name(NameError::Blank("topic")));
    assert_eq!(error("../../x"), Error::Name(NameError::Illegal("topic")));
    assert_eq!(
        error("bad.topic!"),
        Error::Name(NameError::Illegal("topic"))
    );
    assert_eq!(
        error(&"t".repeat(128)),
        Error::Name(NameError::TooLong("topic"))
    );
}

#[test]
fn nobody_sends_to_the_brokers_own_topics() {
    let house = House::new();
    for topic in [
        "SCHEDULE_TOPIC_XXXX",
        "RMQ_SYS_TRANS_HALF_TOPIC",
        "RMQ_SYS_TRANS_OP_HALF_TOPIC",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "SELF_TEST_TOPIC",
        "OFFSET_MOVED_EVENT",
    ] {
        let text = format!("Sending message to topic[{topic}] is forbidden.");
        assert_eq!(refusal(&house, message(topic)).to_string(), text);
    }
    let tables = refusal(&house, message("rmq_sys_POSTHOUSE_TABLES"));
    assert!(
        matches!(tables, Error::SystemTopicNotSendable(_)),
        "the store's tables"
    );
    for topic in ["TBW102", "broker-a", "DefaultCluster", "BenchmarkTest"] {
        assert!(house.send(message(topic)).is_ok(), "{topic}");
    }
}

#[test]
fn a_first_send_creates_its_topic_after_the_template() {
    let house = House::new();
    house.put("new", 3, "one", "");
    assert_eq!(house.registered(), ["+new 4/4 perm 6 v1"]);
    let config = house.broker.topic("new").unwrap();
    assert_eq!(
        (config.read_queues, config.write_queues, config.perm),
        (4, 4, Perm(6))
    );
    let wide = Produce {
        template_queues: 100,
        unit_mode: true,
        ..message("wide")
    };
    house.send(wide).unwrap();
    let config = house.broker.topic("wide").unwrap();
    assert_eq!(
        (config.write_queues, config.sys_flag),
        (8, 1),
        "no more than the template has"
    );
}

#[test]
fn a_topic_that_may_not_be_created_is_missing() {
    let missing = |topic: &str| Error::TopicMissing {
        topic: topic.to_owned(),
        asked: AskedFor::Send,
    };
    let house = House::new();
    let odd = Produce {
        template: "NoSuchDefault",
        ..message("t")
    };
    assert_eq!(refusal(&house, odd), missing("t"));
    house.create("closed", |_| ()).unwrap();
    let not_inherited = Produce {
        template: "closed",
        ..message("t")
    };
    assert_eq!(refusal(&house, not_inherited), missing("t"));
    let no_queue = Produce {
        template_queues: 0,
        ..message("t")
    };
    assert_eq!(refusal(&house, no_queue), missing("t"));
    let house = House::with(|options| options.auto_create_topics = false);
    let error = refusal(&house, message("t"));
    assert_eq!(error, missing("t"));
    assert!(
        error
            .to_string()
            .starts_with("topic[t] not exist, apply first please!\nSee https")
    );
}

#[test]
fn a_queue_beyond_both_counts_is_refused_in_apaches_words() {
    let house = House::new();
    house
        .create("ErrTopic", |topic| topic.write_queues = 2)
        .unwrap();
    let to = |queue| Produce {
        queue,
        ..message("ErrTopic")
    };
    assert!(house.send(to(3)).is_ok(), "below the read queues");
    assert_eq!(
        refusal(&house, to(99)).to_string(),
        "request queueId[99] is illegal, TopicConfig [topicName=ErrTopic, readQueueNums=4, \
         writeQueueNums=2, perm=RW-, topicFilterType=SINGLE_TAG, topicSysFlag=0, order=false, \
         attributes={}] Producer: 127.0.0.1:40001"
    );
    for _ in 0..20 {
        let produced = house.send(to(-1)).unwrap();
        assert!(
            produced.queue < QueueId(2),
            "the broker picks a queue that may be written"
        );
    }
}

#[test]
fn a_batch_does_not_go_to_a_retry_topic() {
    let house = House::new();
    let batch = Produce {
        batch: true,
        ..message("%RETRY%g")
    };
    let text = "batch request does not support retry group %RETRY%g";
    assert_eq!(refusal(&house, batch).to_string(), text);
    assert!(
        house.broker.topic("%RETRY%g").is_err(),
        "no topic is made on the way"
    );
}

#[test]
fn transactions_are_refused_where_they_are_switched_off() {
    let house = House::with(|options| options.reject_transactions = true);
    let text = "the broker[127.0.0.1:10911] sending transaction message is forbidden";
    let by_property = Produce {
        properties: "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}p\u{2}",
        ..message("t")
    };
    assert_eq!(refusal_after_creation(&house, by_property), text);
    let by_flag = Produce {
        sys_flag: sys::TRANSACTION_PREPARED,
        ..message("t")
    };
    assert_eq!(refusal_after_creation(&house, by_flag), text);
}

/// The topic may be made by the send that is refused, as with Apache.
fn refusal_after_creation(house: &House, send: Produce<'_>) -> String {
    house.create(send.topic, |_| ()).unwrap();
    refusal(house, send).to_string()
}

#[test]
fn bodies_and_properties_have_limits() {
    let house = House::with(|options| options.body_max = 1000);
    house.create("t", |_| ()).unwrap();
    let empty = Produce {
        body: b"",
        ..message("t")
    };
    assert_eq!(refusal(&house, empty), Error::BodyEmpty);
    let long = [0; 1001];
    let too_long = Produce {
        body: &long,
        ..message("t")
    };
    assert_eq!(
        refusal(&house, too_long).to_string(),
        "the message is illegal, maybe msg body or properties length not matched. \
         msg body length limit 1000B, msg properties length limit 32KB."
    );
    assert!(
        house
            .send(Produce {
                body: &long[..1000],
                ..message("t")
            })
            .is_ok()
    );
    for (len, fits) in [(32_000, true), (32_767, false), (40_000, false)] {
        let properties = format!("K\u{1}{}", "v".repeat(len - 2));
        let send = Produce {
            properties: &properties,
            ..message("t")
        };
        assert_eq!(house.send(send).is_ok(), fits, "{len}");
    }
}

#[test]
fn what_the_broker_adds_is_there_and_what_it_owns_cannot_be_sent() {
    let house = House::new();
    let sent = Produce {
        properties: "POP_CK\u{1}x\u{2}UNIQ_KEY\u{1}k1\u{2}__CRC32#\u{1}1234567890\u{2}CLUSTER\u{1}other",
        flag: 9,
        ..message("t")
    };
    let produced = house.send(sent).unwrap();
    assert_eq!(produced.unique_key.unwrap().as_str(), "k1");
    let mut out = Vec::new();
    house
        .run(caller(2), |caller| {
            house.broker.pull(caller, &from_start("t"), &mut out)
        })
        .unwrap();
    let record = records(&out)[0];
    assert_eq!(
        record.properties(),
        "MSG_REGION\u{1}DefaultRegion\u{2}TRACE_ON\u{1}true\u{2}CLUSTER\u{1}DefaultCluster\u{2}UNIQ_KEY\u{1}k1\u{2}"
    );
    assert_eq!(
        (record.flag(), record.born_at(), record.stored_at()),
        (9, START - 5, START)
    );
    assert_eq!(record.born_host(), caller(1).remote);
    assert_eq!(record.store_host(), house.options.address);
}

#[test]
fn a_message_without_a_key_gets_one_each_different() {
    let house = House::new();
    let mut keys = Vec::new();
    for _ in 0..100 {
        let produced = house.send(message("t")).unwrap();
        keys.push(produced.unique_key.unwrap().as_str().to_owned());
    }
    assert!(
        keys.iter()
            .all(|key| key.len() == 32 && key.starts_with("7F000001"))
    );
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 100);
}

#[test]
fn offsets_are_dense_from_zero_and_ids_name_the_place() {
    let house = House::new();
    for n in 0..10 {
        let produced = house.send(message("t")).unwrap();
        assert_eq!(produced.queue_offset, QueueOffset(n));
        let mut id = Vec::new();
        produced.push_ids(&mut id);
        let id = str::from_utf8(&id).unwrap();
        let (host, at) = model::id::parse_offset_id(id).unwrap();
        assert_eq!((host, at), (house.options.address, produced.log_offset));
    }
}

#[test]
fn wait_false_does_not_wait_for_the_flush() {
    let house = House::synchronous();
    house.create("t", |_| ()).unwrap();
    let level = |properties| {
        let send = Produce {
            properties,
            ..message("t")
        };
        match house.broker.produce(&caller(1), &send).unwrap() {
            broker::Answer::After(mark, _) => mark.level,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(level("WAIT\u{1}true\u{2}"), model::Level::Confirmed);
    assert_eq!(level(""), model::Level::Confirmed);
    assert_eq!(level("WAIT\u{1}false\u{2}"), model::Level::Appended);
}

#[test]
fn a_synchronous_master_without_a_slave_says_so_to_who_waits() {
    let house = House::with(|options| options.role = Role::SyncMaster);
    assert_eq!(
        house.send(message("t")).unwrap().status,
        SendStatus::SlaveNotAvailable
    );
    let carefree = Produce {
        properties: "WAIT\u{1}false\u{2}",
        ..message("t")
    };
    assert_eq!(house.send(carefree).unwrap().status, SendStatus::Stored);
    assert_eq!(
        house.pull(from_start("t")).unwrap().1.len(),
        2,
        "both are stored"
    );
}

pub fn batch(items: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (body, properties) in items {
        let total = 4 * 5 + body.len() + 2 + properties.len();
        for number in [total, 0, 0, 0, body.len()] {
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        out.extend_from_slice(body.as_bytes());
        out.extend_from_slice(&(properties.len() as u16).to_be_bytes());
        out.extend_from_slice(properties.as_bytes());
    }
    out
}

#[test]
fn a_batch_is_stored_as_consecutive_messages() {
    let body = batch(&[
        ("one", "TAGS\u{1}A\u{2}UNIQ_KEY\u{1}u1\u{2}"),
        (
            "two",
            "TAGS\u{1}B\u{2}UNIQ_KEY\u{1}u2\u{2}POP_CK\u{1}x\u{2}",
        ),
        ("three", ""),
    ]);
    let items: Vec<_> = items(&body).map(Result::unwrap).collect();
    consecutive(|send| Produce {
        body: &body,
        ..send
    });
    // As they come within the process.
    consecutive(|send| Produce {
        items: &items,
        body: b"",
        ..send
    });
}

fn consecutive<'a>(with: impl Fn(Produce<'a>) -> Produce<'a>) {
    let house = House::new();
    house.put("t", 0, "before", "");
    let produced = house.send(with(Produce {
        batch: true,
        ..message("t")
    }));
    let produced = produced.unwrap();
    assert_eq!(
        (produced.queue_offset, produced.more.len()),
        (QueueOffset(1), 2)
    );
    assert!(
        produced.unique_key.is_none(),
        "only the outer properties' key is told"
    );
    let mut ids = Vec::new();
    produced.push_ids(&mut ids);
    assert_eq!(ids.split(|&byte| byte == b',').count(), 3);
    let mut out = Vec::new();
    house
        .run(caller(2), |caller| {
            house.broker.pull(caller, &from_start("t"), &mut out)
        })
        .unwrap();
    assert_eq!(bodies(&out), ["before", "one", "two", "three"]);
    let records = records(&out);
    assert_eq!(
        records[2].properties(),
        "TAGS\u{1}B\u{2}UNIQ_KEY\u{1}u2\u{2}"
    );
    assert!(records[3].property("UNIQ_KEY").is_some());
    let tagged = broker::Pull {
        expression: Some("B"),
        ..from_start("t")
    };
    assert_eq!(
        house.pull(tagged).unwrap().1,
        ["two"],
        "each has its own tag"
    );
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    let house = House::with(|options| options.body_max = 1000);
    house.create("t", |_| ()).unwrap();
    let bad_end = &batch(&[("one", ""), ("two", "")])[..40];
    let delayed = batch(&[("one", ""), ("two", "DELAY\u{1}1\u{2}")]);
    let half = batch(&[("one", ""), ("two", "TRAN_MSG\u{1}true\u{2}")]);
    let long = batch(&[(&"x".repeat(600), ""), (&"y".repeat(600), "")]);
    for body in [bad_end, &delayed, &half, &long, b"xyz"] {
        let send = Produce {
            batch: true,
            body,
            ..message("t")
        };
        let told = refusal(&house, send).to_string();
        let Ok(items) = items(body).collect::<Result<Vec<_>, _>>() else {
            continue;
        };
        let within = Produce {
            items: &items,
            body: b"",
            ..send
        };
        assert_eq!(refusal(&house, within).to_string(), told);
    }
}

#[test]
fn compressed_bodies_pass_through() {
    let house = House::new();
    let send = Produce {
        sys_flag: sys::COMPRESSED | 0x100,
        body: &[0x78, 0x9c, 3, 0],
        ..message("t")
    };
    house.send(send).unwrap();
    let mut out = Vec::new();
    house
        .run(caller(2), |caller| {
            house.broker.pull(caller, &from_start("t"), &mut out)
        })
        .unwrap();
    let record = records(&out)[0];
    assert_eq!(record.sys_flag(), sys::COMPRESSED | 0x100);
    assert_eq!(record.body(), [0x78, 0x9c, 3, 0]);
}
