//! Frames of real Apache processes: each decodes to what the recorder saw, and survives being written
//! again.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use remoting::body::{self, Dialect};
use remoting::{Command, Decoder, Language, Serialize};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    pub file: String,
    pub kind: String,
    pub header: Value,
    pub answer_to: Option<i32>,
    #[serde(rename = "frameB64")]
    frame: String,
}

impl Recorded {
    pub fn frame(&self) -> Vec<u8> {
        STANDARD.decode(&self.frame).unwrap()
    }
}

pub fn recorded() -> Vec<Recorded> {
    let packed = include_bytes!("../../testdata/frames.jsonl.gz");
    let mut text = String::new();
    GzDecoder::new(&packed[..])
        .read_to_string(&mut text)
        .unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn number(header: &Value, name: &str) -> i32 {
    header[name].as_i64().unwrap_or(0) as i32
}

fn language(header: &Value) -> Language {
    match &header["language"] {
        Value::String(name) => Language::from_name(name.as_bytes()),
        Value::Number(ordinal) => Language::from_ordinal(ordinal.as_i64().unwrap()),
        _ => Language::Java,
    }
}

fn fields(header: &Value) -> Option<BTreeMap<String, String>> {
    let fields = header["extFields"].as_object()?;
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some(
        fields
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
    )
}

#[test]
fn every_recorded_frame_decodes_to_the_recorded_header() {
    let recorded = recorded();
    assert!(recorded.len() > 6000);
    let mut decoder = Decoder::new();
    for line in &recorded {
        let bytes = line.frame();
        assert_eq!(Decoder::peek(&bytes), Ok(Some(bytes.len())));
        let frame = decoder.decode(&bytes).unwrap();
        let header = &line.header;
        let place = format!("{} {header}", line.file);
        // The recorder shows a POP code of a binary header as it came, cut to 16 bits.
        assert_eq!(frame.code as i16, number(header, "code") as i16, "{place}");
        assert_eq!(frame.opaque, number(header, "opaque"), "{place}");
        assert_eq!(frame.flag, number(header, "flag"), "{place}");
        assert_eq!(frame.version, number(header, "version"), "{place}");
        assert_eq!(frame.language, language(header), "{place}");
        let remark = header["remark"].as_str();
        match frame.serialize {
            Serialize::Json => assert_eq!(frame.remark, remark, "{place}"),
            Serialize::Binary => assert_eq!(frame.remark, remark.filter(|text| !text.is_empty())),
        }
        let expected = fields(header);
        assert_eq!(frame.ext.is_absent(), expected.is_none(), "{place}");
        let read = frame
            .ext
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            read.collect::<BTreeMap<_, _>>(),
            expected.unwrap_or_default(),
            "{place}"
        );
        assert_eq!(frame.is_response(), line.kind == "response", "{place}");
        assert_eq!(frame.is_oneway(), line.kind == "oneway", "{place}");
    }
}

#[test]
fn every_recorded_frame_survives_being_written_again() {
    for line in recorded() {
        let command = Command::decode(&line.frame()).unwrap();
        for serialize in [Serialize::Json, Serialize::Binary] {
            let mut command = Command {
                serialize,
                ..command.clone()
            };
            if serialize == Serialize::Binary {
                if command.code > i32::from(i16::MAX) {
                    continue;
                }
                // The binary form cannot tell empty from absent.
                let fields = command.ext.take().unwrap_or_default();
                let fields: Vec<_> = fields
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty())
                    .collect();
                command.ext = Some(fields).filter(|fields| !fields.is_empty());
                command.remark = command.remark.filter(|text| !text.is_empty());
            }
            assert_eq!(Command::decode(&command.to_bytes()).unwrap(), command);
        }
    }
}

/// Reads a body as `T`, writes it, and wants everything back that was in it.
fn again<T: serde::Serialize + serde::de::DeserializeOwned>(bytes: &[u8], place: &str) {
    let typed: T = match body::from_slice(bytes) {
        Ok(typed) => typed,
        Err(error) => panic!("{place}: {error}: {}", String::from_utf8_lossy(bytes)),
    };
    let whole: Value = body::from_slice(bytes).unwrap();
    for dialect in [Dialect::Standard, Dialect::Fastjson] {
        let mut out = Vec::new();
        body::write(&typed, dialect, &mut out);
        let ours: Value = body::from_slice(&out).unwrap();
        contains(&ours, &whole, place);
    }
}

/// `ours` has all that `theirs` has; numbers in quotes count as numbers.
fn contains(ours: &Value, theirs: &Value, place: &str) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, value) in theirs {
                let Some(mine) = ours.get(key) else {
                    panic!("{place}: {key} is lost");
                };
                contains(mine, value, &format!("{place}.{key}"));
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{place}");
            ours.iter()
                .zip(theirs)
                .for_each(|(ours, theirs)| contains(ours, theirs, place));
        }
        (Value::Number(ours), Value::String(theirs)) => assert_eq!(&ours.to_string(), theirs),
        (Value::Number(ours), Value::Number(theirs)) => {
            assert_eq!(ours.as_f64(), theirs.as_f64(), "{place}");
        }
        _ => assert_eq!(ours, theirs, "{place}"),
    }
}

#[test]
fn every_recorded_body_survives_its_type() {
    let mut seen = BTreeMap::<i32, usize>::new();
    for line in recorded() {
        let command = Command::decode(&line.frame()).unwrap();
        let bytes = &command.body[..];
        let place = format!("{} {:?} {}", line.file, line.answer_to, command.code);
        let code = match line.answer_to {
            Some(code) if command.code == 0 && line.kind == "response" => -code,
            _ if line.kind != "response" => command.code,
            _ => continue,
        };
        // Requests that are broken on purpose, and bodies of nothing.
        if bytes.is_empty() || !bytes.starts_with(b"{") {
            continue;
        }
        match code {
            34 => again::<body::HeartbeatData>(bytes, &place),
            46 => again::<body::CheckClient>(bytes, &place),
            41 | 42 => again::<body::LockRequest>(bytes, &place),
            103 => again::<body::RegisterBroker>(bytes, &place),
            200 => again::<body::SubscriptionGroupConfig>(bytes, &place),
            322 => again::<body::DataVersion>(bytes, &place),
            -21 => again::<body::TopicConfigTable>(bytes, &place),
            -28 | -219 => again::<body::KvTable>(bytes, &place),
            -38 => again::<body::ConsumerIds>(bytes, &place),
            -41 => again::<body::LockAnswer>(bytes, &place),
            -43 => again::<body::ConsumerOffsets>(bytes, &place),
            -105 => again::<body::TopicRoute>(bytes, &place),
            -106 => again::<body::ClusterInfo>(bytes, &place),
            -201 => again::<body::SubscriptionGroupTable>(bytes, &place),
            -202 => again::<body::TopicStats>(bytes, &place),
            -203 => again::<body::ConsumerConnection>(bytes, &place),
            -204 => again::<body::ProducerConnection>(bytes, &place),
            -206 | -224 | -304 | -305 => again::<body::TopicList>(bytes, &place),
            -208 => again::<body::ConsumeStats>(bytes, &place),
            -300 => again::<body::GroupList>(bytes, &place),
            -351 => again::<body::TopicConfig>(bytes, &place),
            -352 => again::<body::SubscriptionGroupConfig>(bytes, &place),
            -901 => again::<body::MemberGroup>(bytes, &place),
            _ => continue,
        }
        *seen.entry(code).or_default() += 1;
    }
    assert!(seen.len() >= 20, "{seen:?}");
}

/// The registration that a 5.3.3 name server refuses: zlib, and a header that denies it.
#[test]
fn a_recorded_compressed_registration_is_read() {
    let mut found = 0;
    for line in recorded() {
        let command = Command::decode(&line.frame()).unwrap();
        if line.kind != "response" && command.code == 103 && command.body.first() == Some(&0x78) {
            assert_eq!(command.field("compressed"), Some("false"));
            let register = body::RegisterBroker::read(&command.body, command.version).unwrap();
            let topics = &register.topic_config_serialize_wrapper.topic_config_table;
            assert_eq!(topics["TBW102"].perm, 7);
            assert_eq!(topics["BenchmarkTest"].read_queue_nums, 1024);
            found += 1;
        }
    }
    assert!(found > 0);
}

/// Batches as Java and Go write them.
#[test]
fn recorded_batches_are_walked() {
    let mut messages = 0;
    for line in recorded() {
        let command = Command::decode(&line.frame()).unwrap();
        if line.kind == "response" || command.code != 320 || !line.file.ends_with("-send") {
            continue;
        }
        for item in body::batch::items(&command.body) {
            let item = item.unwrap();
            // Go gives the messages of a batch no properties at all.
            let unique = model::message::property(item.properties, "UNIQ_KEY");
            assert_eq!(
                unique.is_some(),
                line.file.starts_with('j'),
                "{}",
                line.file
            );
            assert!(!item.body.is_empty());
            messages += 1;
        }
    }
    assert!(messages > 0);
}
