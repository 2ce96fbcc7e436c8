//! Typed headers: the named fields of a command, one file a conversation.
//!
//! `read` walks a frame's fields once and says which one is missing or makes no sense; `fill` adds
//! them to a command, for clients. Unknown fields are nobody's business.

pub mod admin;
pub mod consumer;
pub mod heartbeat;
pub mod kv;
pub mod offset;
pub mod own;
pub mod pop;
pub mod pull;
pub mod query;
pub mod register;
pub mod route;
pub mod send;
pub mod transaction;

pub use admin::{
    BrokerConsumeStatsHeader, BrokerNameHeader, BrokerStatsHeader, ClusterHeader,
    ConsumeStatsHeader, CreateTopicHeader, DeleteGroupHeader, DeleteTopicHeader, GroupHeader,
    TopicHeader, TopicStatsHeader,
};
pub use consumer::{
    CloneOffsetHeader, ConsumeDirectlyHeader, ConsumerStatusHeader, CorrectionOffsetHeader,
    GroupForbiddenHeader, GroupTopicHeader, QueryQueueHeader, ResetOffsetHeader, RunningInfoHeader,
};
pub use heartbeat::{ConsumerGroupHeader, HeartbeatAnswer, ProducerGroupHeader, UnregisterHeader};
pub use kv::{KvHeader, KvNamespaceHeader, PutKvHeader};
pub use offset::{
    OffsetAnswer, QueryOffsetHeader, QueueHeader, SearchOffsetHeader, TimestampAnswer,
    UpdateOffsetHeader,
};
pub use own::{
    CheckersHeader, DeadLetterHeader, LeaseAnswer, LeasesHeader, ListHeader, OperationHeader,
    PurgeHeader, RedriveHeader, ReleaseHeader, TransactionStateAnswer, TransactionStateHeader,
};
pub use pop::{
    AckHeader, ChangeInvisibleHeader, NotificationHeader, PeekHeader, PollingHeader, PopAnswer,
    PopHeader,
};
pub use pull::{PullAnswer, PullHeader};
pub use query::{QueryAnswer, QueryHeader, RecallHeader, ViewHeader};
pub use register::{
    BrokerHeartbeatHeader, ChangedAnswer, MemberGroupHeader, RegisterAnswer, RegisterHeader,
    UnregisterBrokerHeader,
};
pub use route::RouteHeader;
pub use send::{SendAnswer, SendBackHeader, SendHeader};
pub use transaction::{CheckTransactionHeader, EndTransactionHeader, ResumeCheckHeader};

/// Why a header could not be read. The texts are Java's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A mandatory field is not there.
    #[error(
        "org.apache.rocketmq.remoting.exception.RemotingCommandException: \
         the custom field <{field}> is null"
    )]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A field's value is no number of its kind, or no text.
    #[error("java.lang.NumberFormatException: For input string: \"{value}\", field {field}")]
    Unparsable {
        /// Its name.
        field: &'static str,
        /// The value, or the beginning of a long one.
        value: String,
    },
}

impl HeaderError {
    /// The field that is to blame.
    pub fn field(&self) -> &'static str {
        match self {
            HeaderError::Missing { field } | HeaderError::Unparsable { field, .. } => field,
        }
    }
}

/// What a field can be: text, number, truth value, and the same where it may be absent.
pub(crate) trait Value<'v>: Sized {
    /// Reads a field's bytes.
    fn read(field: &'static str, bytes: Option<&'v [u8]>) -> Result<Self, HeaderError>;
    /// The field's text; `None` leaves it out.
    fn text(&self) -> Option<String>;
}

impl<'v> Value<'v> for &'v str {
    fn read(field: &'static str, bytes: Option<&'v [u8]>) -> Result<Self, HeaderError> {
        let bytes = bytes.ok_or(HeaderError::Missing { field })?;
        std::str::from_utf8(bytes).map_err(|_| unparsable(field, bytes))
    }

    fn text(&self) -> Option<String> {
        Some((*self).to_owned())
    }
}

impl<'v> Value<'v> for Option<&'v str> {
    fn read(field: &'static str, bytes: Option<&'v [u8]>) -> Result<Self, HeaderError> {
        match bytes {
            Some(_) => <&str>::read(field, bytes).map(Some),
            None => Ok(None),
        }
    }

    fn text(&self) -> Option<String> {
        self.map(str::to_owned)
    }
}

/// Only `true`, in any case, is true; absent is false.
impl<'v> Value<'v> for bool {
    fn read(_: &'static str, bytes: Option<&'v [u8]>) -> Result<Self, HeaderError> {
        Ok(bytes.is_some_and(|bytes| bytes.eq_ignore_ascii_case(b"true")))
    }

    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl<'v> Value<'v> for Option<bool> {
    fn read(field: &'static str, bytes: Option<&'v [u8]>) -> Result<Self, HeaderError> {
        match bytes {
            Some(_) => bool::read(field, bytes).map(Some),
            None => Ok(None),
        }
    }

    fn text(&self) -> Option<String> {
        self.map(|truth| truth.to_string())
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl<'v> Value<'v> for $number {
            fn read(field: &'static str, bytes: Option<&'v [u8]>) -> Result<Self, HeaderError> {
                let bytes = bytes.ok_or(HeaderError::Missing { field })?;
                decimal(bytes)
                    .and_then(|number| <$number>::try_from(number).ok())
                    .ok_or_else(|| unparsable(field, bytes))
            }

            fn text(&self) -> Option<String> {
                Some(self.to_string())
            }
        }

        impl<'v> Value<'v> for Option<$number> {
            fn read(field: &'static str, bytes: Option<&'v [u8]>) -> Result<Self, HeaderError> {
                match bytes {
                    Some(_) => <$number>::read(field, bytes).map(Some),
                    None => Ok(None),
                }
            }

            fn text(&self) -> Option<String> {
                self.map(|number| number.to_string())
            }
        }
    )*};
}
numbers!(i32, i64);

#[cold]
fn unparsable(field: &'static str, bytes: &[u8]) -> HeaderError {
    let value = bytes.get(..64).unwrap_or(bytes);
    HeaderError::Unparsable {
        field,
        value: String::from_utf8_lossy(value).into_owned(),
    }
}

/// A decimal number as `Long.parseLong` reads it: a sign, digits, nothing else.
#[inline]
pub(crate) fn decimal(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        // Most numbers of most requests.
        [digit @ b'0'..=b'9'] => return Some(i64::from(digit - b'0')),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    // Counted downwards, because the smallest number has no positive twin.
    let mut number = 0i64;
    if digits.len() <= 18 {
        // So few digits fit, whatever they are.
        let (eights, rest) = digits.as_chunks::<8>();
        for eight in eights {
            let eight = eight_digits(*eight)?;
            number = number.wrapping_mul(100_000_000).wrapping_sub(eight);
        }
        for &digit in rest {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            number = number.wrapping_mul(10).wrapping_sub(i64::from(digit));
        }
    } else {
        for &digit in digits {
            let digit = i64::from(digit.checked_sub(b'0').filter(|&digit| digit < 10)?);
            number = number.checked_mul(10)?.checked_sub(digit)?;
        }
    }
    match negative {
        true => Some(number),
        false => number.checked_neg(),
    }
}

/// What eight decimal digits are worth: pairs, then pairs of pairs, at once.
fn eight_digits(digits: [u8; 8]) -> Option<i64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The first digit is the lowest byte.
    let word = u64::from_le_bytes(digits).wrapping_sub(ONES * u64::from(b'0'));
    if (word | word.wrapping_add(ONES * 0x76)) & (ONES * 0x80) != 0 {
        return None;
    }
    let pairs = (word * 10 + (word >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    Some(((fours & 0xFFFF_FFFF) * 10_000 + (fours >> 32)) as i64)
}

/// A header: a struct, how it is read from a frame, and how it is added to a command. The first name
/// of a field is the one that is written and that errors speak of; others are read too.
macro_rules! header {
    ($(#[$doc:meta])* $name:ident $(<$life:lifetime>)? {
        $($(#[$field_doc:meta])* $field:ident: $kind:ty = $wire:literal $(| $alias:literal)*,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name $(<$life>)? { $($(#[$field_doc])* pub $field: $kind,)* }

        impl $(<$life>)? $name $(<$life>)? {
            /// The names of its fields on the wire.
            pub const FIELDS: &'static [&'static str] = &[$($crate::header::text($wire),)*];

            /// Reads it from a frame.
            ///
            /// # Errors
            /// Names the field that is missing or makes no sense.
            pub fn read<'f $(: $life)?>(
                frame: &$crate::frame::Frame<'f>,
            ) -> Result<Self, $crate::header::HeaderError> {
                $(let mut $field: Option<&'f [u8]> = None;)*
                for (name, value) in frame.ext.bytes() {
                    match name {
                        $($wire $(| $alias)* => $field = Some(value),)*
                        _ => {}
                    }
                }
                Ok(Self {
                    $($field: $crate::header::Value::read(const { $crate::header::text($wire) }, $field)?,)*
                })
            }

            /// Adds its fields to a command.
            pub fn fill(&self, mut command: $crate::command::Command) -> $crate::command::Command {
                $(if let Some(value) = $crate::header::Value::text(&self.$field) {
                    command = command.with(const { $crate::header::text($wire) }, value);
                })*
                command
            }
        }
    };
}
use header;

/// A field's name as text. The names are ASCII literals.
const fn text(name: &'static [u8]) -> &'static str {
    match std::str::from_utf8(name) {
        Ok(name) => name,
        Err(_) => "",
    }
}

#[cfg(test)]
mod tests;
