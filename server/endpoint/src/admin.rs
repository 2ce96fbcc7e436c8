//! What administrators ask: the broker itself here, topics, groups and statistics in their own files.

pub(crate) mod group;
pub(crate) mod inspect;
pub(crate) mod stats;
pub(crate) mod topic;

use broker::Error;
use remoting::body::{self, DataVersion, KvTable};
use remoting::code::response;
use remoting::server::Outcome;

use crate::Endpoint;
use crate::ask::{Ask, Served};

/// 28: the broker's state by Apache's names.
pub(crate) fn runtime(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    ask.body(&KvTable {
        table: endpoint.broker.runtime().into_iter().collect(),
    })
}

/// 25: settings as lines of a properties file; all of them are changed, or none.
pub(crate) fn change(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let changes = body::properties::parse(ask.frame.body);
    let changes = changes.map_err(|error| Error::Invalid(error.to_string()))?;
    let changes = changes.iter().map(|own| (&*own.key, &*own.value));
    let answer = endpoint.broker.change_settings(changes)?;
    ask.answer(answer, |ask, ()| ask.success())
}

/// 26: the configuration as lines of a properties file.
pub(crate) fn config(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let (mut shown, version) = endpoint.broker.shown_config();
    shown.sort();
    let version = body::to_vec(&DataVersion::from(version));
    ask.reply(response::SUCCESS)
        .field("version", &String::from_utf8_lossy(&version))
        .body(|out| {
            let entries = shown.iter().map(|(key, value)| (&key[..], &value[..]));
            body::properties::write_plain(entries, out);
        });
    Ok(Outcome::Done)
}
