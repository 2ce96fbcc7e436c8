//! Nonsense: nothing panics, nothing allocates from a length that a peer claims.

use model::message;
use remoting::body::{self, RegisterBroker, batch};
use remoting::header::*;
use remoting::{Command, Decoder, Frame, Serialize};
use serde_json::Value;

use crate::golden::recorded;

fn mutate(rng: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..6) {
        if bytes.is_empty() {
            bytes.push(rng.u8(..));
        }
        let at = rng.usize(0..bytes.len());
        match rng.usize(0..5) {
            0 => bytes[at] = rng.u8(..),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'\\', b'{'][rng.usize(0..8)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.u8(..)),
            _ => {
                let piece: Vec<u8> = bytes[at..].iter().take(8).copied().collect();
                let to = rng.usize(0..bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
}

/// A sample of frames, those of every code among them.
fn sample() -> Vec<Vec<u8>> {
    let mut taken = std::collections::BTreeMap::<(i32, bool), usize>::new();
    let mut frames = Vec::new();
    for line in recorded() {
        let frame = line.frame();
        let command = Command::decode(&frame).unwrap();
        let code = line.answer_to.unwrap_or(command.code);
        let count = taken.entry((code, line.kind == "response")).or_default();
        if *count < 3 && frame.len() < 8192 {
            *count += 1;
            frames.push(frame);
        }
    }
    frames
}

/// Reads a frame as everything it could be. The answers do not matter.
fn read_all(frame: &Frame<'_>) -> usize {
    macro_rules! count {
        ($($header:ident),*) => {
            [$($header::read(frame).is_ok()),*].into_iter().filter(|&read| read).count()
        };
    }
    count!(
        SendHeader,
        SendAnswer,
        PullHeader,
        PullAnswer,
        QueryOffsetHeader,
        UpdateOffsetHeader,
        SearchOffsetHeader,
        QueueHeader,
        OffsetAnswer,
        TimestampAnswer,
        HeartbeatAnswer,
        UnregisterHeader,
        ConsumerGroupHeader,
        ProducerGroupHeader,
        QueryHeader,
        QueryAnswer,
        ViewHeader,
        RouteHeader,
        RegisterHeader,
        RegisterAnswer,
        UnregisterBrokerHeader,
        ChangedAnswer,
        MemberGroupHeader,
        BrokerHeartbeatHeader,
        PutKvHeader,
        KvHeader,
        KvNamespaceHeader,
        CreateTopicHeader,
        TopicHeader,
        DeleteTopicHeader,
        GroupHeader,
        DeleteGroupHeader,
        ConsumeStatsHeader,
        BrokerNameHeader,
        ClusterHeader
    )
}

#[test]
fn frames_and_headers_of_nonsense_do_no_harm() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut decoder = Decoder::new();
    let (mut good, mut bad) = (0, 0);
    for frame in sample() {
        for _ in 0..60 {
            let mut frame = frame.clone();
            mutate(&mut rng, &mut frame);
            let _ = Decoder::peek(&frame);
            match decoder.decode(&frame) {
                Ok(frame) => {
                    good += 1;
                    read_all(&frame);
                }
                Err(_) => bad += 1,
            }
        }
    }
    assert!(good > 1000 && bad > 1000, "{good} {bad}");
}

#[test]
fn binary_headers_of_nonsense_do_no_harm() {
    let mut rng = fastrand::Rng::with_seed(2);
    let mut decoder = Decoder::new();
    let mut good = 0;
    for frame in sample() {
        let mut command = Command::decode(&frame).unwrap();
        command.serialize = Serialize::Binary;
        let binary = command.to_bytes();
        for _ in 0..40 {
            let mut frame = binary.clone();
            mutate(&mut rng, &mut frame);
            if let Ok(frame) = decoder.decode(&frame) {
                good += read_all(&frame).min(1);
            }
        }
    }
    assert!(good > 1000, "{good}");
}

/// The first bytes may be anything at all.
#[test]
fn noise_is_refused_or_waited_for() {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut decoder = Decoder::new();
    for _ in 0..20_000 {
        let mut noise: Vec<u8> = (0..rng.usize(0..64)).map(|_| rng.u8(..)).collect();
        let _ = Decoder::peek(&noise);
        let _ = decoder.decode(&noise);
        if noise.len() > 8 {
            let length = noise.len() as u32 - 4;
            noise[..4].copy_from_slice(&length.to_be_bytes());
            noise[4] = rng.u8(0..2);
            noise[5..7].fill(0);
            noise[7] = rng.u8(0..noise.len() as u8 - 7);
            let _ = decoder.decode(&noise);
        }
    }
}

#[test]
fn bodies_of_nonsense_do_no_harm() {
    let mut rng = fastrand::Rng::with_seed(4);
    let mut read = 0;
    for frame in sample() {
        let body = Command::decode(&frame).unwrap().body;
        if body.is_empty() {
            continue;
        }
        for _ in 0..20 {
            let mut body = body.clone();
            mutate(&mut rng, &mut body);
            read += usize::from(body::from_slice::<Value>(&body).is_ok());
            let _ = body::from_slice::<body::HeartbeatData>(&body);
            let _ = body::from_slice::<body::TopicConfigTable>(&body);
            let _ = body::from_slice::<body::ConsumeStats>(&body);
            let _ = body::from_slice::<body::SubscriptionGroupConfig>(&body);
            let _ = body::from_slice::<body::TopicRoute>(&body);
            let _ = RegisterBroker::read(&body, 479);
        }
    }
    assert!(read > 50, "{read}");
}

#[test]
fn batches_and_properties_of_nonsense_do_no_harm() {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut good = Vec::new();
    for n in 0..4 {
        let properties = format!("UNIQ_KEY\u{1}{n}\u{2}TAGS\u{1}t\u{2}");
        let item = batch::Item {
            flag: n,
            body: b"body",
            properties: &properties,
            checksum: 0,
            known: None,
        };
        assert!(batch::push(&mut good, &item));
    }
    let (mut whole, mut broken) = (0, 0);
    for _ in 0..20_000 {
        let mut body = good.clone();
        mutate(&mut rng, &mut body);
        let mut bytes = 0;
        for item in batch::items(&body) {
            match item {
                Ok(item) => {
                    whole += 1;
                    bytes += item.body.len() + item.properties.len();
                    let properties = message::properties(item.properties);
                    assert!(
                        properties.map(|(name, _)| name.len()).sum::<usize>()
                            <= item.properties.len()
                    );
                }
                Err(_) => broken += 1,
            }
        }
        assert!(bytes <= body.len());
    }
    assert!(whole > 1000 && broken > 1000, "{whole} {broken}");
}

/// A few bytes of zlib that claim gigabytes.
#[test]
fn a_registration_that_unfolds_without_end_is_refused() {
    use std::io::Write;
    let mut bomb = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0u8; 1 << 20];
    for _ in 0..140 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    let error = RegisterBroker::read(&bomb, 479).unwrap_err();
    assert!(matches!(error, body::BodyError::TooLarge), "{error}");
}
