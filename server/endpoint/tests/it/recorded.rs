//! Requests that Apache's broker was recorded to answer, asked of ours in the same order: the code, the
//! remark, the fields and the body are the same, value by value, except where `testdata/deviations.md`
//! says why not. What is the machine's or the clock's is compared by its form: see [`forms`]. A request that
//! was held is answered when the recorded broker answered it.

mod forms;
mod history;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker::Clock;
use flate2::read::GzDecoder;
use remoting::code::request::{CONSUMER_SEND_MSG_BACK, END_TRANSACTION, VIEW_MESSAGE_BY_ID};
use remoting::server::{Again, Door};
use remoting::{Command, Serialize};
use serde::Deserialize;

use crate::say;
use crate::world::{Held, Said, World, peer};
use values::Values;

#[derive(Deserialize)]
struct Recorded {
    case: String,
    door: String,
    conn: u64,
    request: String,
    /// None if it was not answered.
    code: Option<i32>,
    remark: Option<String>,
    fields: Option<BTreeMap<String, String>>,
    /// The body, if it is text.
    body: Option<String>,
    /// The body, if it is bytes: messages.
    bytes: Option<String>,
    /// Whether only the start of the body was kept.
    #[serde(default)]
    cut: bool,
    /// When it was asked, where that is known better than from the request.
    at: Option<i64>,
    /// The last case that the recorded broker heard before it answered this one.
    until: Option<String>,
    /// When it answered then.
    then: Option<i64>,
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
        let code = self.code.expect("a case with an answer");
        let mut values = Values::new(code, self.remark.as_deref(), fields);
        values.body(&self.body());
        values
    }
}

/// The recorded requests that were answered, as owned commands.
pub fn requests() -> Vec<Command> {
    let cases = recorded();
    let answered = cases.iter().filter(|case| case.code.is_some());
    let frames = answered.map(Recorded::request);
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

/// When the first recorded message was born.
const FIRST: i64 = 1_795_527_743_000;

/// When the request was made, if it says so.
fn born(request: &Command) -> Option<i64> {
    let fields = ["bornTimestamp", "g"].into_iter();
    fields
        .filter_map(|name| request.field(name)?.parse().ok())
        .max()
}

/// Brings the clock to that time, with what is due by then.
fn pass(world: &World, time: Option<i64>) {
    let late = time.map_or(0, |time| time.saturating_sub(world.clock.wall()).max(0));
    world.clock.advance(Duration::from_millis(late as u64));
    world.broker.deadlines_step().unwrap();
}

/// Where what lies at a place of the recorded broker's log lies in ours: some requests ask by it.
#[derive(Default)]
struct Places(BTreeMap<u64, u64>);

impl Places {
    /// Takes the ids of messages out of the answers to a send.
    fn learn(&mut self, case: &Recorded, ours: &Command) {
        let theirs = case.fields.as_ref().and_then(|fields| fields.get("msgId"));
        let ids = |ids: Option<&str>| {
            let ids = ids.unwrap_or_default().split(',');
            let places = ids.filter_map(|id| Some(model::id::parse_offset_id(id)?.1.0));
            places.collect::<Vec<_>>()
        };
        let theirs = ids(theirs.map(String::as_str));
        self.0
            .extend(theirs.into_iter().zip(ids(ours.field("msgId"))));
        let (theirs, ours) = (case.body(), &ours.body);
        let messages = values::records(&theirs).zip(values::records(ours));
        self.0
            .extend(messages.map(|(t, o)| (t.log_offset().0, o.log_offset().0)));
    }

    /// The request as it would have been made of our broker.
    fn ours(&self, request: Command) -> Command {
        let name = match request.code {
            VIEW_MESSAGE_BY_ID | CONSUMER_SEND_MSG_BACK => "offset",
            END_TRANSACTION => "commitLogOffset",
            _ => return request,
        };
        let theirs = request.field(name).and_then(|offset| offset.parse().ok());
        match theirs.and_then(|theirs: u64| self.0.get(&theirs)) {
            Some(ours) => say::but(request, name, ours),
            None => request,
        }
    }
}

/// The conversation so far.
struct Replay {
    world: World,
    places: Places,
    excused: BTreeMap<String, BTreeSet<String>>,
    unexcused: String,
    /// Requests that are held, each until the recorded broker had heard the case of that name.
    held: Vec<(Held, Recorded, String)>,
}

impl Replay {
    fn ask(&mut self, mut case: Recorded) {
        history::before(&self.world, &case.case);
        self.world.index();
        let door = match case.door.ends_with("vip") {
            true => Door::Vip,
            false => Door::Main,
        };
        let peer = peer(case.conn, door);
        let request = self.places.ours(Command::decode(&case.request()).unwrap());
        pass(&self.world, born(&request).max(case.at));
        if case.code.is_none() {
            if let Some(answer) = self.world.tell(&peer, &request.to_bytes()) {
                self.unexcused += &format!("{}: answered: {answer:?}\n", case.case);
            }
            return;
        }
        match (
            self.world.send(&peer, &request.to_bytes()),
            case.until.take(),
        ) {
            (Said::Answer(answer), _) => self.hear(&case, &answer),
            (Said::Held(held), Some(until)) => self.held.push((held, case, until)),
            (Said::Held(held), None) => {
                let answer = self.world.again(&held, Again::Deadline);
                self.hear(&case, &answer);
            }
        }
    }

    /// Answers those that were held until this case.
    fn behind(&mut self, name: &str) {
        let over = |(_, _, until): &mut (Held, Recorded, String)| until == name;
        let over: Vec<_> = self.held.extract_if(.., over).collect();
        for (held, case, _) in over {
            pass(&self.world, case.then);
            let why = match self.world.is_woken(&held) {
                true => Again::Woken,
                false => Again::Deadline,
            };
            let answer = self.world.again(&held, why);
            self.hear(&case, &answer);
        }
    }

    fn hear(&mut self, case: &Recorded, answer: &Command) {
        self.places.learn(case, answer);
        let theirs = case.values();
        let mut ours = Values::of(answer);
        if case.cut {
            ours.cut_like(&theirs);
        }
        let mut differs = theirs.differences(&ours);
        // Ours has the request's header form; a binary one cannot tell no fields from an empty list.
        if answer.serialize == Serialize::Binary {
            differs.remove("fields");
        }
        let name = &case.case;
        for excuse in self.excused.remove(name).unwrap_or_default() {
            let before = differs.len();
            match excuse.strip_suffix('*') {
                Some(start) => differs.retain(|value, _| !value.starts_with(start)),
                None => _ = differs.remove(&excuse),
            }
            if differs.len() == before {
                self.unexcused += &format!("{name}: no deviation any more: {excuse}\n");
            }
        }
        for (value, text) in differs {
            self.unexcused += &format!("{name}: {value}: {text}\n    {}\n", case.what);
        }
    }
}

#[test]
fn answers_have_the_recorded_values_except_where_a_reason_is_given() {
    let world = World::with(|options| {
        options.trace_topic = true;
        // What the broker chooses by chance is what it was then: the queue of a send that has none, and
        // where pops begin.
        options.seed = 11;
        options.shown = vec![("brokerName".to_owned(), "broker-a".to_owned())];
    });
    world.clock.set_wall(FIRST);
    let mut replay = Replay {
        world,
        places: Places::default(),
        excused: deviations(),
        unexcused: String::new(),
        held: Vec::new(),
    };
    for case in recorded() {
        let name = case.case.clone();
        replay.ask(case);
        replay.behind(&name);
    }
    let Replay {
        excused, unexcused, ..
    } = replay;
    assert!(excused.is_empty(), "no such case: {excused:?}");
    assert!(unexcused.is_empty(), "{unexcused}");
}
