//! Bodies that are JSON, with fastjson's habits (Apache keeps them in `protocol.body`).
//!
//! Field names are the wire's and stand in alphabetical order, as fastjson writes them. Reading is
//! lenient: absent and null are the default, numbers may be quoted, enums may be ordinals, objects met
//! twice may be references. See [`fastjson`] for the two forms that are no legal JSON.

pub mod connection;
pub mod fastjson;
pub mod group;
pub mod heartbeat;
pub mod inspect;
mod lenient;
pub mod lock;
pub mod offsets;
pub mod own;
pub mod pop;
pub mod properties;
pub mod queue;
pub mod register;
pub mod route;
pub mod running;
pub mod stats;
pub mod table;
pub mod topic;

pub use model::batch;

pub use connection::{Connection, ConsumerConnection, ProducerConnection};
pub use fastjson::{BodyError, Dialect, from_slice, to_vec, write};
pub use group::{SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupTable};
pub use heartbeat::{
    CheckClient, ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel,
    ProducerData, SubscriptionData,
};
pub use lock::{LockAnswer, LockRequest};
pub use offsets::{
    ConsumerOffsets, ConsumerStatus, QueueOffset, QueueOffsets, ResetOffsetList, ResetOffsets,
};
pub use own::{
    AskedLease, AskedLeases, CheckerInfo, CheckerList, DelayedList, DelayedMessage,
    GoneDeadLetters, LeasesOut, OpenTransaction, OperationInfo, TransactionList,
};
pub use pop::{
    Assignment, AssignmentAnswer, AssignmentRequest, BatchAck, BatchAckRequest, RequestMode,
    RequestModes,
};
pub use queue::{MessageQueue, QueueMap};
pub use register::{RegisterBroker, TopicConfigs};
pub use route::{BrokerData, BrokerMembers, ClusterInfo, MemberGroup, QueueData, TopicRoute};
pub use running::{DirectOutcome, DirectResult, HeldQueue, PoppedQueue, RunningInfo};
pub use stats::{
    BrokerConsumeStats, BrokerStatsData, BrokerStatsItem, ConsumeStats, Epoch, EpochList,
    QueueProgress, QueueStats, TopicStats,
};
pub use table::{ConsumerIds, GroupList, KvTable, TopicList};
pub use topic::{DataVersion, TopicConfig, TopicConfigList, TopicConfigTable};

#[cfg(test)]
mod tests;
