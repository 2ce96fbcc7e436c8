//! Requests that Apache's broker was recorded to answer, asked of ours in the same order: the code, the
//! remark, the fields and the body are the same, value by value, except where `testdata/deviations.md`
//! says why not. What is the machine's or the clock's is compared by its form: see [`forms`]. A request that
//! was held is answered when the recorded broker answered it, and what that one said unasked ours says too.

mod forms;
mod history;
mod places;
mod pushes;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker::Clock;
use flate2::read::GzDecoder;
use remoting::server::{Again, Door, Service};
use remoting::{Command, Decoder, Serialize};
use serde::Deserialize;

use crate::world::{Held, Said, World, peer};
use places::Places;
use pushes::Pushes;
use values::Values;

#[derive(Deserialize)]
struct Recorded {
    case: String,
    door: String,
    conn: u64,
    /// None if the broker said something unasked.
    request: Option<String>,
    /// The number of what it said.
    push: Option<i32>,
    /// Whether the request is a client's answer to it.
    #[serde(default)]
    reply: bool,
    /// None if it was not answered.
    code: Option<i32>,
    remark: Option<String>,
    fields: Option<BTreeMap<String, String>>,
    /// The body, if it is text.
    body: Option<String>,
    /// The body, if it is bytes: messages.
    bytes: Option<String>,
    /// Whether only the start of the body was kept: of a table whole rows, closed again.
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
    fn request(&self) -> Option<Command> {
        let frame = STANDARD.decode(self.request.as_ref()?).unwrap();
        Some(Command::decode(&frame).unwrap())
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
    answered.filter_map(Recorded::request).collect()
}

/// The table of deviations: which values of a case, or of several, differ (`*` for all that start so).
fn deviations() -> BTreeMap<String, BTreeSet<String>> {
    let text = include_str!("../../testdata/deviations.md");
    let mut deviations: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let quoted = |cell: &'static str| cell.split('`').skip(1).step_by(2);
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let (cases, rest) = row.split_once("` |").unwrap();
        let (differs, _reason) = rest.split_once(" | ").unwrap();
        for case in quoted(cases) {
            let values = quoted(differs).map(str::to_owned);
            deviations
                .entry(case.to_owned())
                .or_default()
                .extend(values);
        }
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

/// The conversation so far.
struct Replay {
    world: World,
    places: Places,
    excused: BTreeMap<String, BTreeSet<String>>,
    unexcused: String,
    /// Requests that are held, each until the recorded broker had heard the case of that name.
    held: Vec<(Held, Recorded, String)>,
    /// Those that are none of the cases.
    furnished: Vec<Held>,
    pushes: Pushes,
}

impl Replay {
    fn ask(&mut self, mut case: Recorded) {
        let furnished = history::before(&self.world, &case.case);
        self.furnished.extend(furnished);
        let woken = |held: &mut Held| self.world.is_woken(held);
        for held in self.furnished.extract_if(.., woken) {
            assert_eq!(self.world.again(&held, Again::Woken).code, 0);
        }
        self.world.index();
        let door = match case.door.ends_with("vip") {
            true => Door::Vip,
            false => Door::Main,
        };
        let peer = peer(case.conn, door);
        let Some(request) = case.request() else {
            return self.pushed(&case);
        };
        let request = self.places.ours(request);
        pass(&self.world, born(&request).max(case.at));
        if case.reply {
            let answer = self.pushes.answer(case.conn, request).to_bytes();
            let mut decoder = Decoder::new();
            let answer = decoder.decode(&answer).unwrap();
            return self.world.endpoint.answered(&peer, &answer);
        }
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

    /// Looks for what the recorded broker said unasked.
    fn pushed(&mut self, case: &Recorded) {
        pass(&self.world, case.at);
        self.pushes.collect(&self.world, &case.case, case.conn);
        let code = case.code.expect("a push's code");
        match self
            .pushes
            .take(case.conn, code, case.push.unwrap_or_default())
        {
            Some(push) => self.hear(case, &push),
            None => self.unexcused += &format!("{}: not said: {}\n", case.case, case.what),
        }
    }

    /// What was said to clients that were recorded whole, and to which the recorded broker said nothing.
    fn over(&mut self, conns: &BTreeSet<u64>) {
        for (case, to, push) in self.pushes.left() {
            if conns.contains(&to) {
                self.unexcused += &format!("{case}: said to {to}: {push:?}\n");
            }
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
        differs.retain(|value, _| !self.places.are_one(value, &theirs, &ours));
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
        options.transaction_timeout = Duration::from_secs(3);
        options.transaction_check_interval = Duration::from_secs(6);
        // What the broker chooses by chance is what it was then: the queue of a send that has none, and
        // where pops begin.
        options.seed = 17;
        options.shown = vec![("brokerName".to_owned(), "broker-a".to_owned())];
    });
    world.clock.set_wall(FIRST);
    let mut replay = Replay {
        world,
        places: Places::default(),
        excused: deviations(),
        unexcused: String::new(),
        held: Vec::new(),
        furnished: Vec::new(),
        pushes: Pushes::default(),
    };
    let cases = recorded();
    // Only who was recorded whole has everything that was said to it among the cases.
    let whole = cases.iter().filter(|case| case.case.contains(" line "));
    let conns: BTreeSet<u64> = whole.map(|case| case.conn).collect();
    for case in cases {
        let (name, conn) = (case.case.clone(), case.conn);
        replay.ask(case);
        replay.pushes.collect(&replay.world, &name, conn);
        replay.behind(&name);
    }
    replay.over(&conns);
    let Replay {
        excused, unexcused, ..
    } = replay;
    assert!(excused.is_empty(), "no such case: {excused:?}");
    assert!(unexcused.is_empty(), "{unexcused}");
}
