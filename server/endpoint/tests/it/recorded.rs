//! Requests that Apache's broker was recorded to answer, asked of ours in the same order: the code, the
//! remark, the fields and the body are the same, value by value, except where `testdata/deviations.md`
//! says why not. What is the machine's or the clock's is compared by its form: see [`forms`].

mod forms;
mod history;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use remoting::Command;
use remoting::server::{Again, Door};
use serde::Deserialize;

use crate::world::{Said, World, peer};
use values::Values;

#[derive(Deserialize)]
struct Recorded {
    case: String,
    door: String,
    conn: u64,
    request: String,
    code: i32,
    remark: Option<String>,
    fields: Option<BTreeMap<String, String>>,
    /// The body, if it is text.
    body: Option<String>,
    /// The body, if it is bytes: messages.
    bytes: Option<String>,
    /// Whether only the start of the body was kept.
    #[serde(default)]
    cut: bool,
    what: String,
}

fn recorded() -> Vec<Recorded> {
    let packed = include_bytes!("../../testdata/recorded.jsonl.gz");
    let mut text = String::new();
    let mut unpacked = GzDecoder::new(&packed[..]);
    unpacked.read_to_string(&mut text).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

impl Recorded {
    fn request(&self) -> Vec<u8> {
        STANDARD.decode(&self.request).unwrap()
    }

    fn body(&self) -> Vec<u8> {
        match (&self.body, &self.bytes) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(bytes)) => STANDARD.decode(bytes).unwrap(),
            (None, None) => Vec::new(),
        }
    }

    fn values(&self) -> Values {
        let fields = self.fields.as_ref();
        let mut values = Values::new(self.code, self.remark.as_deref(), fields);
        values.body(&self.body());
        values
    }
}

/// The recorded requests, as owned commands.
pub fn requests() -> Vec<Command> {
    let frames = recorded();
    let frames = frames.iter().map(Recorded::request);
    frames
        .map(|frame| Command::decode(&frame).unwrap())
        .collect()
}

/// The table of deviations: which values of a case differ (`*` for all that start so).
fn deviations() -> BTreeMap<String, BTreeSet<String>> {
    let text = include_str!("../../testdata/deviations.md");
    let mut deviations: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in text.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (case, rest) = row.split_once("` |").unwrap();
        let (differs, _reason) = rest.split_once(" | ").unwrap();
        let values = differs.split('`').skip(1).step_by(2).map(str::to_owned);
        deviations
            .entry(case.to_owned())
            .or_default()
            .extend(values);
    }
    deviations
}

#[test]
fn answers_have_the_recorded_values_except_where_a_reason_is_given() {
    let world = World::with(|options| {
        options.trace_topic = true;
        // The send that leaves the choice to the broker goes to queue 0, as it did then.
        options.seed = 6;
        options.shown = vec![("brokerName".to_owned(), "broker-a".to_owned())];
    });
    let mut excused = deviations();
    let mut unexcused = String::new();
    for case in recorded() {
        history::before(&world, &case.case);
        let door = match case.door.ends_with("vip") {
            true => Door::Vip,
            false => Door::Main,
        };
        let answer = match world.send(&peer(case.conn, door), &case.request()) {
            Said::Answer(answer) => answer,
            Said::Held(held) => world.again(&held, Again::Deadline),
        };
        let theirs = case.values();
        let mut ours = Values::of(&answer);
        if case.cut {
            ours.cut_like(&theirs);
        }
        let mut differs = theirs.differences(&ours);
        for excuse in excused.remove(&case.case).unwrap_or_default() {
            let before = differs.len();
            match excuse.strip_suffix('*') {
                Some(start) => differs.retain(|value, _| !value.starts_with(start)),
                None => _ = differs.remove(&excuse),
            }
            if differs.len() == before {
                unexcused += &format!("{}: no deviation any more: {excuse}\n", case.case);
            }
        }
        for (value, text) in differs {
            unexcused += &format!("{}: {value}: {text}\n    {}\n", case.case, case.what);
        }
    }
    assert!(excused.is_empty(), "no such case: {excused:?}");
    assert!(unexcused.is_empty(), "{unexcused}");
}
