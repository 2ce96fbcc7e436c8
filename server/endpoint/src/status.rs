//! Which response code an error has on the wire: one exhaustive match, pinned by a snapshot.

use broker::Error;
use remoting::code::own_response;
use remoting::code::response::*;

/// The response code of an error.
pub(crate) fn code(error: &Error) -> i32 {
    match error {
        Error::Name(_)
        | Error::QueueNotWritable { .. }
        | Error::QueueNotReadable { .. }
        | Error::PopTooMany { .. }
        | Error::Invalid(_)
        | Error::Settings(_)
        | Error::SystemTopic(_)
        | Error::OffsetIncomplete { .. } => INVALID_PARAMETER,
        Error::BrokerNotWritable { .. }
        | Error::BrokerNotReadable { .. }
        | Error::LitePullForbidden { .. }
        | Error::SystemTopicNotSendable(_)
        | Error::TransactionForbidden { .. }
        | Error::TopicNotReadable(_)
        | Error::TopicNotWritable(_)
        | Error::GroupNotReadable(_)
        | Error::PopForbidden { .. }
        | Error::RetryTopicMode
        | Error::RecallForbidden
        | Error::BroadcastForbidden(_)
        | Error::TopicForbidden { .. } => NO_PERMISSION,
        Error::Recall(_) => ILLEGAL_OPERATION,
        Error::TopicMissing { .. } => TOPIC_NOT_EXIST,
        Error::GroupMissing { .. } => SUBSCRIPTION_GROUP_NOT_EXIST,
        Error::GroupNotLive | Error::NotSubscribed => SUBSCRIPTION_NOT_EXIST,
        Error::SubscriptionNotLatest => SUBSCRIPTION_NOT_LATEST,
        Error::SubscriptionUnparsable(_) => SUBSCRIPTION_PARSE_FAILED,
        Error::PopTooOld { .. } => POLLING_TIMEOUT,
        Error::NoSuchPopOffset { .. } | Error::NoAcks => NO_MESSAGE,
        Error::NoSuchPopQueue { .. }
        | Error::TooLarge { .. }
        | Error::BodyCorrupt
        | Error::BatchToRetry(_)
        | Error::TransactionShape(_)
        | Error::TimerTooFar { .. }
        | Error::TimerUnreadable { .. }
        | Error::BatchDelayed => MESSAGE_ILLEGAL,
        Error::NoOffset
        | Error::NoOffsetNoZero
        | Error::NoMessageWithKey
        | Error::OperationMissing(_)
        | Error::CheckerMissing(_) => QUERY_NOT_FOUND,
        Error::TransactionLate | Error::TransactionDecided { .. } => ILLEGAL_OPERATION,
        Error::ConsumersOffline(_) | Error::ResetOffline { .. } => CONSUMER_NOT_ONLINE,
        Error::ConsumerSilent { .. } => CONSUME_MSG_TIMEOUT,
        Error::IdempotencyDiffers => own_response::IDEMPOTENCY_DIFFERS,
        Error::Busy(_) => SYSTEM_BUSY,
        Error::Unavailable(_) => SERVICE_NOT_AVAILABLE,
        Error::NotYetServing { .. }
        | Error::SqlNotSupported
        | Error::Receipt(_)
        | Error::TimersOff
        | Error::BodyEmpty
        | Error::BatchMalformed(_)
        | Error::Attributes(_)
        | Error::HalfMissing
        | Error::HalfDiffers(_)
        | Error::NoRecord(_)
        | Error::OffsetOutOfRange { .. }
        | Error::NoOffsets(_)
        | Error::NothingToSendBack(_)
        | Error::NoMembers(_)
        | Error::ProducersOffline(_)
        | Error::StatsMissing { .. }
        | Error::ConsumerOffline { .. }
        | Error::ConsumerTooOld { .. }
        | Error::NoConsumerOnline(_)
        | Error::ReplyToNobody(_)
        | Error::ReplyNotTaken(_)
        | Error::Store(_) => SYSTEM_ERROR,
    }
}

/// What a refused pull says about who forbade it (Apache `ForbiddenType`): the broker 1, the group 2,
/// the topic 3, broadcasting 4, the group's own list 5.
pub(crate) fn forbidden(error: &Error) -> Option<i64> {
    match error {
        Error::BrokerNotReadable { .. } | Error::LitePullForbidden { .. } => Some(1),
        Error::GroupNotReadable(_) => Some(2),
        Error::TopicNotReadable(_) => Some(3),
        Error::BroadcastForbidden(_) => Some(4),
        Error::TopicForbidden { .. } => Some(5),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
