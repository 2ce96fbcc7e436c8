//! What brokers say on their own: one `match`, and who is asked then.

use std::sync::{Arc, Weak};

use remoting::Command;
use remoting::client::{Heard, Incoming};
use remoting::code::{not_supported, request, response};

use crate::client::Inner;
use crate::reader::Reader;
use crate::transaction::{Check, Decision};

/// What takes the requests of the server at this address.
pub(crate) fn incoming(client: Weak<Inner>, address: &Arc<str>) -> Arc<Incoming> {
    let address = address.clone();
    Arc::new(move |command| match client.upgrade() {
        Some(client) => client.asked(&address, command),
        None => Heard::Nothing,
    })
}

impl Inner {
    fn asked(self: &Arc<Inner>, from: &Arc<str>, command: Command) -> Heard {
        let answer = match command.code {
            request::NOTIFY_CONSUMER_IDS_CHANGED => {
                let group = command.field("consumerGroup").unwrap_or_default();
                if let Some(member) = self.members.consumer(group) {
                    member.rebalance();
                }
                None
            }
            request::CHECK_TRANSACTION_STATE => {
                self.asked_for_a_decision(from, &command);
                None
            }
            request::PUSH_REPLY_MESSAGE_TO_CLIENT => {
                self.replied(&command);
                Some(Command::response(0, response::SUCCESS))
            }
            request::RESET_CONSUMER_CLIENT_OFFSET => {
                if let Some(member) = self.asked_consumer(&command, "group") {
                    tokio::spawn(async move { member.reset(&command).await });
                }
                None
            }
            request::GET_CONSUMER_STATUS_FROM_CLIENT => {
                Some(match self.asked_consumer(&command, "group") {
                    Some(member) => member.status(&command),
                    None => nobody(),
                })
            }
            request::GET_CONSUMER_RUNNING_INFO => {
                Some(match self.asked_consumer(&command, "consumerGroup") {
                    Some(member) => member.running(),
                    None => nobody(),
                })
            }
            request::CONSUME_MESSAGE_DIRECTLY => {
                match self.asked_consumer(&command, "consumerGroup") {
                    Some(member) => return Heard::Later(Box::pin(member.consume_one(command))),
                    None => Some(nobody()),
                }
            }
            code => {
                let unsupported = Command::response(0, response::REQUEST_CODE_NOT_SUPPORTED);
                Some(unsupported.remark(not_supported(code)))
            }
        };
        answer.into()
    }

    /// The consumer of the group that a field names.
    fn asked_consumer(&self, command: &Command, field: &str) -> Option<Arc<Reader>> {
        self.members.consumer(command.field(field)?)
    }

    /// Has the group's function asked. A check that comes while too many are running is passed over: the
    /// broker asks again.
    fn asked_for_a_decision(self: &Arc<Inner>, from: &Arc<str>, command: &Command) {
        let Some((group, check)) = self.check(from, command) else {
            tracing::warn!(%from, "a check makes no sense");
            return;
        };
        let Some((asked, place)) = self.members.check(&group) else {
            tracing::debug!(%group, "nobody here is to be asked");
            return;
        };
        let client = self.clone();
        tokio::spawn(async move {
            let transaction = check.transaction.clone();
            let message = client.names.received(check.message);
            let decision = asked(Check { message, ..check }).await;
            drop(place);
            if decision == Decision::Unknown {
                return;
            }
            let told = client.resolve(&transaction, decision, true).await;
            if let Err(error) = told {
                tracing::warn!(%transaction, %error, "the broker will ask again");
            }
        });
    }
}

/// Java's answer for a group that has no consumer here.
fn nobody() -> Command {
    let remark = "The Consumer Group not exist in this consumer";
    Command::response(0, response::SYSTEM_ERROR).remark(remark)
}
