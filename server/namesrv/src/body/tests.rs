//! Registrations as brokers of all ages write them, and as nobody should.

use std::io::{Read as _, Write as _};

use super::*;

const JSON: &str = r#"{"filterServerList":["f:1"],"topicConfigSerializeWrapper":{"dataVersion":{"counter":3,"stateVersion":1,"timestamp":1700000000000},"mappingDataVersion":{"counter":0,"stateVersion":0,"timestamp":1},"topicConfigTable":{"T":{"attributes":{"+a":"b"},"order":false,"perm":7,"readQueueNums":8,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":1,"writeQueueNums":4},"U":{"topicName":"U"}},"topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{"T":{"bname":"a","topic":"T","totalQueues":2}}}}"#;

/// A compressed body as Apache's `RegisterBrokerBody` writes it.
fn compressed(parts: &[&[u8]], count_after: &[(usize, i32)]) -> Vec<u8> {
    let mut plain = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        plain.extend_from_slice(&(part.len() as i32).to_be_bytes());
        plain.extend_from_slice(part);
        for (_, count) in count_after.iter().filter(|(after, _)| *after == at) {
            plain.extend_from_slice(&count.to_be_bytes());
        }
    }
    deflate(&plain)
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut stream = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    stream.write_all(plain).unwrap();
    stream.finish().unwrap()
}

fn small_compressed() -> Vec<u8> {
    let version = br#"{"counter":3,"stateVersion":1,"timestamp":1700000000000}"#;
    let parts: [&[u8]; 5] = [
        version,
        b"T 8 4 7 SINGLE_TAG {\"+a\":\"b\"}",
        b"U 16 16 6 SINGLE_TAG",
        b"[\"f:1\"]",
        br#"{"bname":"a","topic":"T","totalQueues":2}"#,
    ];
    compressed(&parts, &[(0, 2), (3, 1)])
}

#[test]
fn both_forms_say_the_same_but_for_the_system_flag() {
    let mut plain = read(JSON.as_bytes(), 479).unwrap();
    assert_eq!(plain.version.counter, 3);
    assert_eq!(plain.version.state_version, 1);
    assert_eq!(plain.topics[0].1.sys_flag, 1);
    assert_eq!(
        plain.topics[1].1,
        QueueData {
            read_queues: 16,
            write_queues: 16,
            perm: 6,
            sys_flag: 0
        }
    );
    plain.topics[0].1.sys_flag = 0;
    assert_eq!(read(&small_compressed(), 479).unwrap(), plain);
}

#[test]
fn a_compressed_body_is_known_by_its_first_byte_whatever_the_header_says() {
    let body = small_compressed();
    assert_eq!(body[0], 0x78);
    assert_eq!(read(&body, 479).unwrap().topics.len(), 2);
}

#[test]
fn brokers_before_5_0_have_no_mappings_and_before_3_0_11_only_the_topic_table() {
    assert!(read(&small_compressed(), 412).unwrap().mappings.is_empty());
    assert_eq!(read(&small_compressed(), 413).unwrap().mappings.len(), 1);
    let old =
        r#"{"dataVersion":{"counter":"3"},"topicConfigTable":{"T":{"topicName":"T","perm":"4"}}}"#;
    let old = read(old.as_bytes(), 36).unwrap();
    assert_eq!(
        (
            old.version.counter,
            old.topics[0].1.perm,
            old.filter_servers
        ),
        (3, 4, None)
    );
}

#[test]
fn what_is_missing_or_null_is_a_default() {
    for body in [
        "",
        "{}",
        r#"{"topicConfigSerializeWrapper":null,"filterServerList":null}"#,
        r#"{"topicConfigSerializeWrapper":{"dataVersion":null,"topicConfigTable":null}}"#,
    ] {
        let read = read(body.as_bytes(), 479).unwrap();
        assert_eq!(
            (read.version, read.topics.len()),
            (DataVersion::default(), 0),
            "{body}"
        );
    }
}

#[test]
fn a_length_that_is_claimed_is_not_believed() {
    for plain in [
        &b"\x7f\xff\xff\xff"[..],
        b"\xff\xff\xff\xff{}",
        b"\0\0\0\x02{}\x7f\xff\xff\xff\0\0\0\x01T",
    ] {
        assert!(matches!(
            read(&deflate(plain), 479),
            Err(BodyError::Syntax(_))
        ));
    }
    let mut cut = small_compressed();
    cut.truncate(cut.len() - 8);
    assert!(matches!(read(&cut, 479), Err(BodyError::Syntax(_))));
}

#[test]
fn a_body_that_inflates_without_end_is_refused() {
    let bomb = deflate(&vec![0; (128 << 20) + 2]);
    assert!(bomb.len() < 1 << 20);
    assert!(matches!(read(&bomb, 479), Err(BodyError::TooLarge)));
}

#[test]
fn the_checksum_is_apaches() {
    // From a recorded registration: `bodyCrc32` 34583128 over its body is checked in handle/tests.
    assert_eq!(crc32(b""), 0);
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926_u32 as i32 & 0x7FFF_FFFF);
}

/// No bytes make the readers panic or run on, and an unharmed body is always understood.
#[test]
fn fuzz_any_body_is_understood_or_refused() {
    let mut rng = fastrand::Rng::with_seed(11);
    let (mut understood, mut refused) = (0, 0);
    let plain = {
        let mut plain = Vec::new();
        let body = small_compressed();
        flate2::read::ZlibDecoder::new(&body[..])
            .read_to_end(&mut plain)
            .unwrap();
        plain
    };
    for round in 0..6_000 {
        let compress = round % 2 == 0;
        let mut bytes = if compress {
            plain.clone()
        } else {
            JSON.as_bytes().to_vec()
        };
        for _ in 0..rng.usize(0..4) {
            let at = rng.usize(..bytes.len());
            match rng.u8(0..4) {
                0 => bytes[at] = rng.u8(..),
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, rng.u8(..)),
                _ => bytes[at] ^= 1 << rng.u8(0..8),
            }
        }
        if compress {
            bytes = deflate(&bytes);
            if rng.bool() {
                let at = rng.usize(..bytes.len());
                bytes[at] ^= 1 << rng.u8(0..8);
            }
        }
        let version = *[20, 36, 37, 409, 413, 479].get(rng.usize(0..6)).unwrap();
        match read(&bytes, version) {
            Ok(_) => understood += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(understood > 500 && refused > 500, "{understood} {refused}");
}
