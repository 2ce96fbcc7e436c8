//! What brokers say on their own: one `match`, and who is asked then.

use std::sync::{Arc, Weak};

use remoting::Command;
use remoting::client::Incoming;
use remoting::code::{not_supported, request, response};

use crate::client::Inner;
use crate::transaction::Decision;

/// What takes the requests of the server at this address.
pub(crate) fn incoming(client: Weak<Inner>, address: &Arc<str>) -> Arc<Incoming> {
    let address = address.clone();
    Arc::new(move |command| client.upgrade()?.asked(&address, command))
}

impl Inner {
    fn asked(self: &Arc<Inner>, from: &Arc<str>, command: Command) -> Option<Command> {
        match command.code {
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
            code => {
                let unsupported = Command::response(0, response::REQUEST_CODE_NOT_SUPPORTED);
                Some(unsupported.remark(not_supported(code)))
            }
        }
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
            let decision = asked(check).await;
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
