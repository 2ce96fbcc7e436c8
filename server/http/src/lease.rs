//! A lease as the door hands it out: signed text that says all that is needed to settle the message, by any node.

use posthouse_client::{Lease, Leased};

use crate::problem::{self, Problem};
use crate::token::{Kind, Tokens};

/// What a `lease_id` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub group: String,
    /// How often the message was delivered before.
    pub times: i32,
    /// Where it lies in its broker's log.
    pub log_offset: u64,
    pub message_id: String,
    pub lease: Lease,
}

const END: char = '\n';

impl Held {
    /// Appends the `lease_id`.
    pub(crate) fn push(&self, tokens: &Tokens, out: &mut String) {
        let place = (self.times, self.log_offset);
        write(
            tokens,
            &self.group,
            place,
            &self.message_id,
            &self.lease,
            out,
        );
    }

    /// Reads a `lease_id` that a caller of this group brings.
    ///
    /// # Errors
    /// `invalid-lease`, `lease-mismatch`, `lease-expired`.
    pub(crate) fn read(tokens: &Tokens, id: &str, group: &str, now: i64) -> Result<Held, Problem> {
        let read = || {
            let text = String::from_utf8(tokens.read(Kind::Lease, id)?).ok()?;
            let mut parts = text.splitn(5, END);
            Some(Held {
                group: parts.next()?.to_owned(),
                times: parts.next()?.parse().ok()?,
                log_offset: parts.next()?.parse().ok()?,
                message_id: parts.next()?.to_owned(),
                lease: parts.next()?.parse().ok()?,
            })
        };
        let invalid =
            || Problem::new(&problem::INVALID_LEASE).detail("this is no lease_id of this cluster");
        let held = read().ok_or_else(invalid)?;
        if held.group != group {
            let detail = "the message was received by another group";
            return Err(Problem::new(&problem::LEASE_MISMATCH).detail(detail));
        }
        if held.lease.ends_at() <= now {
            let detail = "the lease is over: the message is, or will be, delivered again";
            return Err(Problem::new(&problem::LEASE_EXPIRED).detail(detail));
        }
        Ok(held)
    }
}

/// Appends the `lease_id` of a message that was just lent.
pub(crate) fn push(tokens: &Tokens, group: &str, leased: &Leased, out: &mut String) {
    let message = &leased.message;
    let place = (message.reconsume_times, message.log_offset);
    write(tokens, group, place, &message.id(), &leased.lease, out);
}

fn write(
    tokens: &Tokens,
    group: &str,
    (times, log_offset): (i32, u64),
    message_id: &str,
    lease: &Lease,
    out: &mut String,
) {
    let (mut text, mut digits) = (String::with_capacity(192), itoa::Buffer::new());
    text.push_str(group);
    text.push(END);
    text.push_str(digits.format(times));
    text.push(END);
    text.push_str(digits.format(log_offset));
    text.push(END);
    text.push_str(message_id);
    text.push(END);
    for part in [lease.topic(), " ", lease.receipt()] {
        text.push_str(part);
    }
    tokens.push(Kind::Lease, text.as_bytes(), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Secret;

    #[test]
    fn a_lease_is_for_its_group_and_its_time() {
        let tokens = Tokens::new(&Secret::fresh().unwrap());
        let held = Held {
            group: "billing".to_owned(),
            times: 2,
            log_offset: 77,
            message_id: "7F".to_owned(),
            lease: "orders 17 1000 500 3 0 broker-a 2 19".parse().unwrap(),
        };
        let mut id = String::new();
        held.push(&tokens, &mut id);
        assert_eq!(Held::read(&tokens, &id, "billing", 1_499).unwrap(), held);
        let refused =
            |id: &str, group, now| Held::read(&tokens, id, group, now).unwrap_err().kind().slug;
        assert_eq!(refused(&id, "billing", 1_500), "lease-expired");
        assert_eq!(refused(&id, "other", 0), "lease-mismatch");
        assert_eq!(refused("le_", "billing", 0), "invalid-lease");
        let other = Tokens::new(&Secret::fresh().unwrap());
        let read = Held::read(&other, &id, "billing", 0);
        assert_eq!(read.unwrap_err().kind().slug, "invalid-lease");
    }
}
