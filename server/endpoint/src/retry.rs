//! Messages sent back: 36.

use broker::{Error, SendBack};
use remoting::Language;
use remoting::header::SendBackHeader;
use remoting::server::Outcome;

use crate::Endpoint;
use crate::ask::{Ask, Served};

pub(crate) fn send_back(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = SendBackHeader::read(ask.frame)?;
    let back = SendBack {
        group: header.group,
        offset: header.offset,
        level: header.delay_level,
        max: header.max_reconsume_times,
        unit_mode: header.unit_mode,
    };
    match endpoint.broker.send_back(&ask.caller(), &back) {
        // Retries that wait are not served yet. The Go client takes any answer, a refusal too, for
        // success, and would commit behind a message that nobody has: it gets none, counts that as a
        // failure after 3 s, and tries the message again itself.
        Err(Error::NotServed(_)) if ask.frame.language == Language::Go => Ok(Outcome::Done),
        answer => ask.answer(answer?, |ask, ()| ask.success()),
    }
}
