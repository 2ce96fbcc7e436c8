use super::*;

fn sample() -> Record<'static> {
    Record {
        topic: "TopicA",
        queue: QueueId(2),
        queue_offset: QueueOffset(5),
        log_offset: LogOffset(1000),
        flag: 0,
        sys_flag: 0,
        born_at: 1_700_000_000_000,
        born_host: "10.0.0.2:50000".parse().unwrap(),
        stored_at: 1_700_000_000_001,
        store_host: "10.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_offset: 0,
        body: b"hello",
        properties: "KEYS\u{1}k1\u{2}TAGS\u{1}TagA\u{2}",
    }
}

fn encoded(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(encode(record, &mut out), out.len());
    assert_eq!(encoded_len(record), out.len());
    out
}

#[test]
fn the_checksums_digits_are_written_backwards() {
    let mut rng = fastrand::Rng::with_seed(11);
    for number in (0..100_000).map(|_| rng.u32(..)).chain([0, 1, u32::MAX]) {
        let sum = number & 0x7FFF_FFFF;
        let mut out = Vec::new();
        push_crc(&mut out, sum);
        let digits: String = format!("{sum:010}").chars().rev().collect();
        assert_eq!(out, format!("__CRC32#\u{1}{digits}\u{2}").as_bytes());
    }
}

/// The vector of the protocol reference, laid out by hand from Apache's encoder, plus our checksum.
#[test]
fn the_layout_is_rocketmqs() {
    let expected = "daa320a73610a6860000000200000000000000000000000500000000000003e800000000\
        0000018bcfe568000a0000020000c3500000018bcfe568010a00000100002a9f00000000\
        00000000000000000000000568656c6c6f06546f70696341";
    let bytes = encoded(&sample());
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let size = 120 + CRC_PROPERTY;
    assert_eq!(hex[..8], format!("{size:08x}"));
    assert_eq!(hex[8..8 + expected.len()], *expected);
    let rest = &bytes[4 + expected.len() / 2..];
    assert_eq!(rest[..2], ((18 + CRC_PROPERTY) as u16).to_be_bytes());
    assert!(rest[2..].starts_with(b"KEYS\x01k1\x02TAGS\x01TagA\x02__CRC32#\x01"));
}

#[test]
fn what_is_written_is_read() {
    let mut record = sample();
    record.born_host = "[::1]:1234".parse().unwrap();
    let long = "%RETRY%".to_owned() + &"g".repeat(200);
    record.topic = &long;
    record.prepared_offset = 77;
    record.reconsume_times = 3;
    let bytes = encoded(&record);
    assert_eq!(verify(&bytes, LogOffset(1000)), Ok(bytes.len()));
    assert_eq!(verify(&bytes, LogOffset(1001)), Err(RecordError::Position));
    let view = View::verify(&bytes, LogOffset(1000)).unwrap();
    assert_eq!(view.topic(), long);
    assert_eq!(view.born_host(), record.born_host);
    assert_eq!(view.store_host(), record.store_host);
    assert_eq!(view.stored_at(), record.stored_at);
    assert_eq!(view.prepared_offset(), 77);
    assert_eq!(view.reconsume_times(), 3);
    assert_eq!(view.body(), b"hello");
    assert_eq!(view.properties(), record.properties);
    assert_eq!(view.property("TAGS"), Some("TagA"));
}

#[test]
fn what_was_made_ready_is_the_same_record() {
    let (long_topic, body) = ("t".repeat(200), vec![7; 10_000]);
    let too_long = "x".repeat(PROPERTIES_MAX - 5);
    for (topic, properties) in [
        ("TopicA", "KEYS\u{1}k1\u{2}"),
        ("TopicA", "KEYS\u{1}k1"),
        (&long_topic, ""),
        ("TopicA", &too_long),
    ] {
        let known = Record {
            topic,
            properties,
            body: &body,
            prepared_offset: 17,
            ..sample()
        };
        let ready = || {
            Ready::new(&Record {
                queue_offset: QueueOffset(0),
                log_offset: LogOffset(0),
                stored_at: 0,
                ..known
            })
        };
        assert_eq!(
            ready().at(&known).unwrap(),
            encoded(&known),
            "{properties:.9}"
        );
        let elsewhere = Record {
            store_host: "[::1]:1".parse().unwrap(),
            ..known
        };
        assert!(ready().at(&elsewhere).is_none());
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = encoded(&sample());
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = View::verify(&bad, LogOffset(1000)).unwrap_err();
        assert_eq!(verify(&bad, LogOffset(1000)), Err(error), "bit {bit}");
    }
}

#[test]
fn a_record_of_another_position_is_refused() {
    let bytes = encoded(&sample());
    assert_eq!(
        View::verify(&bytes, LogOffset(2000)).unwrap_err(),
        RecordError::Position
    );
}

#[test]
fn every_prefix_is_an_error_and_no_panic() {
    let bytes = encoded(&sample());
    for len in 0..bytes.len() {
        assert!(View::parse(&bytes[..len]).is_err(), "{len}");
    }
}

#[test]
fn properties_at_the_limit_keep_their_length_positive() {
    for len in [
        PROPERTIES_MAX - CRC_PROPERTY,
        PROPERTIES_MAX - CRC_PROPERTY + 1,
        PROPERTIES_MAX,
    ] {
        let properties = format!("k\u{1}{}\u{2}", "v".repeat(len - 3));
        let record = Record {
            properties: &properties,
            ..sample()
        };
        let bytes = encoded(&record);
        assert_eq!(verify(&bytes, LogOffset(1000)), Ok(bytes.len()));
        let view = View::verify(&bytes, LogOffset(1000)).unwrap();
        assert_eq!(view.properties(), properties);
        assert!(view.stored_properties().len() <= PROPERTIES_MAX);
    }
}

#[test]
fn a_string_without_its_last_separator_gets_one_before_the_checksum() {
    let record = Record {
        properties: "TAGS\u{1}TagA",
        ..sample()
    };
    let bytes = encoded(&record);
    let view = View::verify(&bytes, LogOffset(1000)).unwrap();
    assert_eq!(view.properties(), "TAGS\u{1}TagA\u{2}");
}

/// Fuzz function as a plain test: mutated records must never panic, and never verify.
#[test]
fn mutated_records_are_errors() {
    let bytes = encoded(&sample());
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200_000 {
        let mut bad = bytes.clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..bad.len());
            bad[at] = random.u8(..);
        }
        if random.bool() {
            bad.truncate(random.usize(..bad.len()));
        }
        if bad != bytes {
            assert!(View::verify(&bad, LogOffset(1000)).is_err());
            assert!(verify(&bad, LogOffset(1000)).is_err());
        }
    }
}
