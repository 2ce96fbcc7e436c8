//! Where what lies at a place of the recorded broker's log and queues lies in ours: some requests ask by it.

use std::collections::BTreeMap;

use remoting::Command;
use remoting::code::request::*;

use super::Recorded;
use super::values::{Values, records};
use crate::say;

#[derive(Default)]
pub struct Places {
    log: BTreeMap<u64, u64>,
    /// The place of each half message among half messages, by where it lies in the recorded log.
    halves: BTreeMap<u64, String>,
    /// When ours popped and to which revive queue, by when the recorded one did.
    pops: BTreeMap<String, (String, String)>,
}

impl Places {
    /// Takes places out of the answers to a send, the messages in answers, and checks of transactions.
    pub fn learn(&mut self, case: &Recorded, ours: &Command) {
        let field = |name: &str| case.fields.as_ref()?.get(name).map(String::as_str);
        let ids = |ids: Option<&str>| {
            let ids = ids.unwrap_or_default().split(',');
            let places = ids.filter_map(|id| Some(model::id::parse_offset_id(id)?.1.0));
            places.collect::<Vec<_>>()
        };
        // The one in a check is the client's.
        if let Some(theirs) = field("commitLogOffset") {
            let at = |at: &str| at.parse().ok();
            let ours_at = ours.field("commitLogOffset").and_then(at);
            self.log.extend(at(theirs).zip(ours_at));
            let half = ours.field("tranStateTableOffset").map(str::to_owned);
            self.halves.extend(at(theirs).zip(half));
        } else {
            let theirs = ids(field("msgId"));
            let half = ours.field("queueOffset").map(str::to_owned);
            self.halves.extend(theirs.first().copied().zip(half));
            self.log
                .extend(theirs.into_iter().zip(ids(ours.field("msgId"))));
        }
        let popped = ours.field("popTime").zip(ours.field("reviveQid"));
        if let (Some(theirs), Some((time, queue))) = (field("popTime"), popped) {
            let pop = (time.to_owned(), queue.to_owned());
            self.pops.insert(theirs.to_owned(), pop);
        }
        let (theirs, ours) = (case.body(), &ours.body);
        let messages = records(&theirs).zip(records(ours));
        self.log
            .extend(messages.map(|(t, o)| (t.log_offset().0, o.log_offset().0)));
    }

    /// The request as it would have been made of our broker.
    pub fn ours(&self, request: Command) -> Command {
        if let Some(receipt) = request.field("extraInfo").map(|text| self.receipt(text)) {
            return say::but(request, "extraInfo", receipt);
        }
        if request.code == CONSUME_MESSAGE_DIRECTLY {
            return self.message(request);
        }
        let name = match request.code {
            VIEW_MESSAGE_BY_ID | CONSUMER_SEND_MSG_BACK => "offset",
            END_TRANSACTION => "commitLogOffset",
            _ => return request,
        };
        let theirs = request.field(name).and_then(|offset| offset.parse().ok());
        let Some(theirs) = theirs else {
            return request;
        };
        let request = match self.log.get(&theirs) {
            Some(ours) => say::but(request, name, ours),
            None => return request,
        };
        match self.halves.get(&theirs) {
            Some(half) if request.code == END_TRANSACTION => {
                say::but(request, "tranStateTableOffset", half)
            }
            _ => request,
        }
    }

    /// The same question for the message that has its id in our broker.
    fn message(&self, request: Command) -> Command {
        let id = request.field("msgId").and_then(model::id::parse_offset_id);
        let Some((store, at)) = id.and_then(|(store, at)| Some((store, self.log.get(&at.0)?)))
        else {
            return request;
        };
        let mut id = String::new();
        model::id::push_offset_id(&mut id, store, model::LogOffset(*at));
        say::but(request, "msgId", id)
    }

    /// What our broker gave for this receipt handle.
    fn receipt(&self, theirs: &str) -> String {
        let mut fields: Vec<&str> = theirs.split(' ').collect();
        if let Some((time, queue)) = fields.get(1).and_then(|time| self.pops.get(*time)) {
            (fields[1], fields[3]) = (time, queue);
        }
        fields.join(" ")
    }

    /// Whether both values of that name are the place of the same record.
    pub fn are_one(&self, name: &str, theirs: &Values, ours: &Values) -> bool {
        let at = |values: &Values| values.get(name)?.parse().ok();
        let known = at(theirs).and_then(|theirs: u64| self.log.get(&theirs).copied());
        name.ends_with(".preparedTransactionOffset") && known.is_some() && known == at(ours)
    }
}
