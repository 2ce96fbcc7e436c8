//! What the broker says unasked: to clients, through the [`Outlet`] of whoever owns their
//! connections, and to the name server, through the [`Registrar`].

use model::topic::{DataVersion, TopicConfig};
use model::{GroupName, TopicName};

use crate::HalfCheck;
use crate::call::ConnectionId;
use crate::ordering::MessageQueue;
use crate::request_reply::Reply;

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
    /// Say what became of this half message (Apache `CHECK_TRANSACTION_STATE`).
    CheckTransaction(Box<HalfCheck>),
    /// Say what you are doing (Apache `GET_CONSUMER_RUNNING_INFO`).
    RunningInfo {
        /// The question's number: see [`crate::Broker::answered`].
        question: u32,
        /// The group.
        group: String,
        /// The client that is meant.
        client: String,
        /// Whether its threads are wanted too.
        jstack: bool,
    },
    /// Give this message to your listener and say how it went (Apache `CONSUME_MESSAGE_DIRECTLY`).
    ConsumeDirectly {
        /// The question's number.
        question: u32,
        /// The group.
        group: String,
        /// The client that is meant.
        client: String,
        /// The message's offset id.
        message: String,
        /// The topic, as the tool named it.
        topic: String,
        /// The broker's name.
        broker: String,
        /// The topic's system flag.
        topic_sys_flag: i32,
        /// The group's system flag.
        group_sys_flag: i32,
        /// The message.
        record: Vec<u8>,
    },
    /// Say your offsets in this topic (Apache `GET_CONSUMER_STATUS_FROM_CLIENT`).
    ConsumerStatus {
        /// The question's number.
        question: u32,
        /// The group.
        group: String,
        /// The topic.
        topic: String,
    },
    /// Go on at these offsets (Apache `RESET_CONSUMER_CLIENT_OFFSET`).
    ResetOffsets {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The time that the offsets belong to, ms since the Unix epoch.
        time: i64,
        /// The offset of each queue.
        offsets: Vec<(MessageQueue, i64)>,
        /// Whether the client is to get a list rather than a map.
        as_list: bool,
    },
    /// This is the reply you wait for (Apache `PUSH_REPLY_MESSAGE_TO_CLIENT`).
    Reply {
        /// The question's number: the client says whether it took the reply.
        question: u32,
        /// The reply.
        reply: Box<Reply>,
    },
}

impl Notice {
    /// The number of the question, if it is one: the client's answer comes back with it.
    pub fn question(&self) -> Option<u32> {
        match self {
            Notice::RunningInfo { question, .. }
            | Notice::ConsumeDirectly { question, .. }
            | Notice::ConsumerStatus { question, .. }
            | Notice::Reply { question, .. } => Some(*question),
            _ => None,
        }
    }
}

/// Who must know what topics there are. Called before the request that changed a topic is answered,
/// so that a name server in the same process knows it first. Changes come one at a time and in the
/// order of their versions, because a lock is held: it must not block, nor call the broker.
pub trait Registrar: Send + Sync {
    /// These topics are new or differ, as they are to be registered; `version` is the table's.
    fn changed(&self, topics: &[TopicConfig], version: DataVersion);
    /// This topic is gone.
    fn removed(&self, topic: &TopicName, version: DataVersion);
    /// The brokers of a topic that consumers may read, and how many queues each has, as the name servers
    /// know it; nothing where none knows it, or none answers. May wait for the network.
    fn brokers_of(&self, topic: &str) -> Vec<(String, u32)>;
}
