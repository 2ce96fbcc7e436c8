//! What producers were promised and readers saw, and whether a broker keeps to it after a kill.
//!
//! The rules, for every message that was answered: it is at the place it was told, with its bytes; no
//! place was told twice; messages of one producer to one queue stand in the order they were sent. For
//! every message that a reader saw: it is still there. Messages that were never answered may be there
//! or not, but an offset never goes back.

use std::collections::BTreeMap;

use crate::client::Place;

/// Places and the messages that are promised to be there.
#[derive(Default)]
pub struct Ledger {
    promised: BTreeMap<Place, Vec<u8>>,
    seen: BTreeMap<Place, Vec<u8>>,
    faults: Vec<String>,
}

/// A message: who sent it and its number, in text so that faults are readable.
pub fn body(producer: usize, number: u64) -> Vec<u8> {
    format!("{producer} {number:012}").into_bytes()
}

fn parts(body: &[u8]) -> Option<(usize, u64)> {
    let (producer, number) = str::from_utf8(body).ok()?.split_once(' ')?;
    Some((producer.parse().ok()?, number.parse().ok()?))
}

impl Ledger {
    /// A producer was answered.
    pub fn answered(&mut self, place: Place, body: Vec<u8>) {
        if let Some(other) = self.promised.insert(place, body.clone()) {
            self.fault(format!(
                "{place:?} was told to {} and to {}",
                text(&other),
                text(&body)
            ));
        }
    }

    /// A reader was given a message.
    pub fn saw(&mut self, place: Place, body: Vec<u8>) {
        self.seen.insert(place, body);
    }

    pub fn promises(&self) -> usize {
        self.promised.len()
    }

    pub fn sightings(&self) -> usize {
        self.seen.len()
    }

    /// Compares a queue's whole content with what was promised and seen.
    pub fn compare(&mut self, queue: u32, content: &[(u64, Vec<u8>)]) {
        let there: BTreeMap<u64, &Vec<u8>> = content
            .iter()
            .map(|(offset, body)| (*offset, body))
            .collect();
        let mut faults = Vec::new();
        for (what, places) in [("answered", &self.promised), ("seen", &self.seen)] {
            for (place, body) in places.iter().filter(|(place, _)| place.queue == queue) {
                match there.get(&place.offset) {
                    Some(kept) if *kept == body => {}
                    Some(other) => faults.push(format!(
                        "{} was {what} at {place:?}, where {} is",
                        text(body),
                        text(other)
                    )),
                    None => faults.push(format!(
                        "{} was {what} at {place:?}, and is lost",
                        text(body)
                    )),
                }
            }
        }
        let offsets: Vec<u64> = content.iter().map(|(offset, _)| *offset).collect();
        if offsets
            .iter()
            .enumerate()
            .any(|(at, offset)| at as u64 != *offset)
        {
            faults.push(format!("queue {queue} has gaps"));
        }
        let mut last: BTreeMap<usize, u64> = BTreeMap::new();
        for (producer, number) in content.iter().filter_map(|(_, body)| parts(body)) {
            let before = last.insert(producer, number);
            if before.is_some_and(|before| before >= number) {
                faults.push(format!(
                    "producer {producer}: {number} stands behind {before:?}"
                ));
            }
        }
        self.faults.extend(faults);
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// What was broken, if anything.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

#[test]
fn a_lost_a_moved_and_a_repeated_message_are_found() {
    let place = |offset| Place { queue: 0, offset };
    let ledger = || {
        let mut ledger = Ledger::default();
        ledger.answered(place(0), body(0, 0));
        ledger.answered(place(1), body(0, 1));
        ledger
    };
    let content = |numbers: &[u64]| -> Vec<(u64, Vec<u8>)> {
        numbers
            .iter()
            .enumerate()
            .map(|(at, n)| (at as u64, body(0, *n)))
            .collect()
    };
    let faults = |numbers: &[u64]| {
        let mut ledger = ledger();
        ledger.compare(0, &content(numbers));
        ledger.faults().len()
    };
    assert_eq!(faults(&[0, 1, 2]), 0);
    assert_eq!(faults(&[0]), 1);
    assert!(faults(&[1, 0]) > 0);
    assert!(faults(&[0, 1, 1]) > 0);
    let mut told_twice = ledger();
    told_twice.answered(place(1), body(1, 7));
    assert_eq!(told_twice.faults().len(), 1);
    let mut seen = ledger();
    seen.saw(place(2), body(0, 2));
    seen.compare(0, &content(&[0, 1]));
    assert_eq!(seen.faults().len(), 1);
}
