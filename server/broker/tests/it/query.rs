//! Messages by where they lie and by their keys.

use broker::{Error, Query};

use crate::house::{House, START, bodies, caller};

fn view(house: &House, offset: i64) -> Result<Vec<String>, Error> {
    let mut out = Vec::new();
    house.run(caller(2), |caller| {
        house.broker.view(caller, offset, &mut out)
    })?;
    Ok(bodies(&out))
}

#[test]
fn a_message_is_found_where_its_id_says() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let first = house.send(crate::house::message("t")).unwrap().log_offset.0 as i64;
    assert_eq!(view(&house, first).unwrap(), ["hello"]);
    let missing = |offset: i64| {
        let text = format!("can not find message by the offset, {offset}");
        assert_eq!(view(&house, offset).unwrap_err().to_string(), text);
    };
    missing(-1);
    missing(99_999_999_999);
    missing(first + 7);
    missing(0); // the record of a table: none of anybody's business
}

#[test]
fn a_message_that_is_not_confirmed_is_not_found() {
    let house = House::synchronous();
    house.create("t", |_| ()).unwrap();
    let sent = house
        .broker
        .produce(&caller(1), &crate::house::message("t"))
        .unwrap();
    let broker::Answer::After(_, produced) = sent else {
        panic!("{sent:?}")
    };
    house.broker.commit().unwrap();
    let at = produced.log_offset.0 as i64;
    assert!(view(&house, at).is_err());
    house.store.flush_step().unwrap();
    house.broker.flushed();
    assert_eq!(view(&house, at).unwrap(), ["hello"]);
}

fn query(house: &House, query: Query<'_>) -> Result<Vec<String>, Error> {
    let mut out = Vec::new();
    let queried = house.run(caller(2), |caller| {
        house.broker.query(caller, &query, &mut out)
    })?;
    let bodies = bodies(&out);
    assert_eq!(queried.count, bodies.len());
    Ok(bodies)
}

fn by_key(key: &str) -> Query<'_> {
    Query {
        topic: "t",
        key,
        unique: false,
        max: 64,
        begin: 0,
        end: i64::MAX,
    }
}

fn by_unique(key: &str) -> Query<'_> {
    Query {
        unique: true,
        ..by_key(key)
    }
}

/// Right behind their answers: whoever asks brings the index forward.
#[test]
fn messages_are_found_by_their_real_keys_oldest_first() {
    let house = House::new();
    house.put("t", 0, "one", "KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}U1\u{2}");
    house.put("t", 1, "two", "KEYS\u{1}k2\u{2}UNIQ_KEY\u{1}U2\u{2}");
    house.put("other", 0, "three", "KEYS\u{1}k2\u{2}UNIQ_KEY\u{1}U3\u{2}");
    assert_eq!(query(&house, by_key("k1")).unwrap(), ["one"]);
    assert_eq!(query(&house, by_key("k2")).unwrap(), ["one", "two"]);
    assert_eq!(query(&house, by_unique("U2")).unwrap(), ["two"]);
    assert!(query(&house, by_unique("k2")).is_err());
    let none = query(&house, by_key("K1")).unwrap_err();
    assert_eq!(
        none.to_string(),
        "can not find message, maybe time range not correct"
    );
    assert!(query(&house, by_key("k1 k2")).is_err());
    let later = Query {
        begin: START + 1,
        ..by_key("k2")
    };
    assert!(query(&house, later).is_err());
    let elsewhere = Query {
        topic: "nowhere",
        ..by_key("k2")
    };
    assert!(query(&house, elsewhere).is_err());
}

#[test]
fn a_query_returns_no_more_than_allowed() {
    let house = House::new();
    for n in 0..100 {
        house.put("t", 0, &n.to_string(), "KEYS\u{1}k\u{2}UNIQ_KEY\u{1}U\u{2}");
    }
    let found = query(&house, by_key("k")).unwrap();
    assert_eq!((found.len(), found[0].as_str()), (64, "36"));
    assert_eq!(query(&house, by_unique("U")).unwrap().len(), 32);
    let few = Query {
        max: 3,
        ..by_key("k")
    };
    assert_eq!(query(&house, few).unwrap(), ["97", "98", "99"]);
}
