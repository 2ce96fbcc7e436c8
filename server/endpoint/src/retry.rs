//! Messages sent back: 36.

use broker::SendBack;
use remoting::header::SendBackHeader;

use crate::Endpoint;
use crate::ask::{Ask, Served};

pub(crate) fn send_back(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = SendBackHeader::read(ask.frame)?;
    let back = SendBack {
        group: header.group,
        offset: header.offset,
        level: header.delay_level,
        after: header.delay_ms.map(|ms| ms.max(0)),
        max: header.max_reconsume_times,
        unit_mode: header.unit_mode,
    };
    let answer = endpoint.broker.send_back(&ask.caller(), &back)?;
    ask.answer(answer, |ask, ()| ask.success())
}
