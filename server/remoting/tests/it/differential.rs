//! The hand-written header parser says what serde_json says, on headers made and broken at random.

use std::collections::BTreeMap;

use remoting::{Decoder, FrameError, Language};
use serde_json::{Map, Value};

fn framed(header: &[u8]) -> Vec<u8> {
    let mut frame = ((4 + header.len()) as u32).to_be_bytes().to_vec();
    frame.extend((header.len() as u32).to_be_bytes());
    frame.extend(header);
    frame
}

/// What a header means, by serde_json: the fixed numbers, the remark, and the fields as text. Nested
/// values keep their source text in ours, so only their presence is compared.
#[derive(Debug, PartialEq)]
struct Meaning {
    numbers: [i32; 4],
    language: Language,
    remark: Option<String>,
    fields: Option<BTreeMap<String, Option<String>>>,
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn by_serde(header: &[u8]) -> Option<Meaning> {
    let lossy = String::from_utf8_lossy(header);
    let value: Map<String, Value> = serde_json::from_str(&lossy).ok()?;
    let number = |name: &str| match value.get(name) {
        None | Some(Value::Null) => Some(0),
        Some(Value::Number(number)) => i32::try_from(number.as_i64()?).ok(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let fields = match value.get("extFields") {
        None | Some(Value::Null) => None,
        Some(Value::Object(fields)) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            Some(
                fields
                    .map(|(name, value)| (name.clone(), text(value)))
                    .collect(),
            )
        }
        _ => return None,
    };
    Some(Meaning {
        numbers: [
            number("code")?,
            number("version")?,
            number("opaque")?,
            number("flag")?,
        ],
        language: match value.get("language") {
            None => Language::Java,
            Some(Value::String(name)) => Language::from_name(name.as_bytes()),
            Some(Value::Number(ordinal)) => Language::from_ordinal(ordinal.as_i64().unwrap_or(-1)),
            _ => Language::Other,
        },
        remark: value.get("remark").and_then(text),
        fields,
    })
}

fn by_ours(header: &[u8], like: &Meaning) -> Result<Meaning, FrameError> {
    let frame = framed(header);
    let mut decoder = Decoder::new();
    let frame = decoder.decode(&frame)?;
    let mut fields = BTreeMap::new();
    for (name, value) in frame.ext.iter() {
        let theirs = like.fields.as_ref().and_then(|fields| fields.get(name));
        let plain = matches!(theirs, Some(Some(_)));
        fields.insert(name.to_owned(), plain.then(|| value.to_owned()));
    }
    Ok(Meaning {
        numbers: [frame.code, frame.version, frame.opaque, frame.flag],
        language: frame.language,
        remark: frame
            .remark
            .filter(|_| like.remark.is_some())
            .map(str::to_owned),
        fields: (!frame.ext.is_absent()).then_some(fields),
    })
}

fn random_text(rng: &mut fastrand::Rng) -> String {
    let pieces = [
        "a",
        "queueId",
        "测",
        "😀",
        "\\u0001",
        "\\\"",
        "\\n",
        "\\ud83d\\ude00",
        "\\u6d4b",
        "x y",
        "/",
        "1",
    ];
    (0..rng.usize(0..6))
        .map(|_| pieces[rng.usize(0..pieces.len())])
        .collect()
}

fn random_value(rng: &mut fastrand::Rng, depth: usize) -> String {
    match rng.usize(0..if depth > 2 { 6 } else { 8 }) {
        0 | 1 => format!("\"{}\"", random_text(rng)),
        2 => rng.i32(..).to_string(),
        3 => format!("{}.{}e1", rng.i8(..), rng.u8(..)),
        4 => ["true", "false"][rng.usize(0..2)].to_owned(),
        5 => "null".to_owned(),
        6 => format!(
            "[{},{}]",
            random_value(rng, depth + 1),
            random_value(rng, depth + 1)
        ),
        _ => format!(
            "{{\"{}\" : {}}}",
            random_text(rng),
            random_value(rng, depth + 1)
        ),
    }
}

fn random_header(rng: &mut fastrand::Rng) -> String {
    let mut members = Vec::new();
    let mut names = [
        "code",
        "flag",
        "language",
        "opaque",
        "remark",
        "version",
        "extFields",
        "other",
    ];
    rng.shuffle(&mut names);
    for &name in &names[..rng.usize(0..=names.len())] {
        let value = match (name, rng.usize(0..8)) {
            (_, 0) => random_value(rng, 0),
            ("code" | "flag" | "opaque" | "version", _) => rng.i32(..).to_string(),
            ("language", _) => {
                ["\"JAVA\"", "\"GO\"", "9", "\"KLINGON\""][rng.usize(0..4)].to_owned()
            }
            ("extFields", _) => {
                let fields = (0..rng.usize(0..5))
                    .map(|_| format!("\"{}\":{}", random_text(rng), random_value(rng, 1)));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(" ,"))
            }
            _ => random_value(rng, 0),
        };
        members.push(format!("\"{name}\": {value}"));
    }
    format!("{{{}}}\n", members.join(","))
}

#[test]
fn headers_mean_what_serde_json_says() {
    let mut rng = fastrand::Rng::with_seed(0x5eed);
    let (mut agreed, mut refused) = (0, 0);
    for round in 0..40_000 {
        let mut header = random_header(&mut rng).into_bytes();
        if round % 4 == 0 {
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(0..header.len());
                match rng.usize(0..3) {
                    0 => header[at] = rng.u8(..),
                    1 => {
                        header.remove(at);
                    }
                    _ => header.insert(at, b"{}[]\",:\\"[rng.usize(0..8)]),
                }
                if header.is_empty() {
                    header.push(b'{');
                }
            }
        }
        let Some(theirs) = by_serde(&header) else {
            // What serde_json refuses may be refused or read leniently, but not with a panic.
            let frame = framed(&header);
            refused += usize::from(Decoder::new().decode(&frame).is_err());
            continue;
        };
        let place = String::from_utf8_lossy(&header).into_owned();
        let ours = by_ours(&header, &theirs);
        assert_eq!(ours.as_ref(), Ok(&theirs), "{place}");
        agreed += 1;
    }
    assert!(agreed > 20_000 && refused > 1_000, "{agreed} {refused}");
}
