//! What a broker says unasked, and what the client says to it.

use std::collections::BTreeMap;

use endpoint::Clients;
use remoting::{Command, Decoder};

use crate::world::World;

/// What our broker said unasked and nobody has looked at yet, and the numbers of its questions.
#[derive(Default)]
pub struct Pushes {
    /// In which case, to whom, and what.
    said: Vec<(String, u64, Command)>,
    /// The recorded broker's number of a question, and ours.
    numbers: BTreeMap<(u64, i32), i32>,
}

impl Pushes {
    /// Takes what was said to that client behind an answer to it, and to all on connections of their own.
    pub fn collect(&mut self, world: &World, case: &str, to: u64) {
        let behind = std::mem::take(&mut *world.unasked.lock().unwrap());
        let mut rest = &behind[..];
        while let Some(len) = Decoder::peek(rest).unwrap() {
            let command = Command::decode(&rest[..len]).unwrap();
            self.said.push((case.to_owned(), to, command));
            rest = &rest[len..];
        }
        let notices = std::mem::take(&mut *world.heard.notices.lock().unwrap());
        for (to, notice) in notices {
            let mut command = Clients::command(&notice);
            command.opaque = notice.question().map_or(0, u32::cast_signed);
            self.said.push((case.to_owned(), to, command));
        }
    }

    /// The first of that code to that client, which was this number with the recorded broker.
    pub fn take(&mut self, to: u64, code: i32, number: i32) -> Option<Command> {
        let mut said = self.said.iter();
        let at = said.position(|(_, whom, command)| *whom == to && command.code == code)?;
        let (_, _, command) = self.said.remove(at);
        self.numbers.insert((to, number), command.opaque);
        Some(command)
    }

    /// The client's answer to a push of the recorded broker, to ours.
    pub fn answer(&self, from: u64, mut answer: Command) -> Command {
        if let Some(number) = self.numbers.get(&(from, answer.opaque)) {
            answer.opaque = *number;
        }
        answer
    }

    /// What was said to clients that the recorded broker said nothing to.
    pub fn left(&mut self) -> Vec<(String, u64, Command)> {
        std::mem::take(&mut self.said)
    }
}
