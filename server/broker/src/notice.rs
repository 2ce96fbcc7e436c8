//! What the broker says unasked: to clients, through the [`Outlet`] of whoever owns their
//! connections, and to the name server, through the [`Registrar`].

use model::topic::{DataVersion, TopicConfig};
use model::{GroupName, TopicName};

use crate::call::ConnectionId;

/// The way back to the clients. Implemented by the door; called from any thread, and never blocks.
pub trait Outlet: Send + Sync {
    /// These held requests should run again now.
    fn runnable(&self, requests: &[(ConnectionId, u64)]);
    /// Tells one client something. `false` if the client is gone or takes nothing, so that it will
    /// not hear of it.
    fn notice(&self, connection: ConnectionId, notice: Notice) -> bool;
}

/// One thing a client is told without having asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The members of the group, or what they subscribe to, changed: share the queues out anew
    /// (Apache `NOTIFY_CONSUMER_IDS_CHANGED`).
    IdsChanged {
        /// The group.
        group: GroupName,
    },
}

/// Who must know what topics there are. Called before the request that changed a topic is answered,
/// so that a name server in the same process knows it first. Changes come one at a time and in the
/// order of their versions, because a lock is held: it must not block, nor call the broker.
pub trait Registrar: Send + Sync {
    /// These topics are new or differ, as they are to be registered; `version` is the table's.
    fn changed(&self, topics: &[TopicConfig], version: DataVersion);
    /// This topic is gone.
    fn removed(&self, topic: &TopicName, version: DataVersion);
}
