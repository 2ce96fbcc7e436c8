//! Bit sets on the wire: a message's system flag, a pull's system flag, permissions.

/// Bits of a record's system flag (Apache `MessageSysFlag`).
pub mod sys {
    /// The body is compressed.
    pub const COMPRESSED: i32 = 0x1;
    /// The message has several tags.
    pub const MULTI_TAGS: i32 = 0x2;
    /// Transaction kind: a half message. The mask of all kinds is [`TRANSACTION_MASK`].
    pub const TRANSACTION_PREPARED: i32 = 0x4;
    /// Transaction kind: committed.
    pub const TRANSACTION_COMMIT: i32 = 0x8;
    /// Transaction kind: rolled back.
    pub const TRANSACTION_ROLLBACK: i32 = 0xC;
    /// Both bits of the transaction kind.
    pub const TRANSACTION_MASK: i32 = 0xC;
    /// The born host is an IPv6 address (20 bytes instead of 8).
    pub const BORN_HOST_V6: i32 = 0x10;
    /// The store host is an IPv6 address.
    pub const STORE_HOST_V6: i32 = 0x20;
    /// The record is an inner batch (topics of type BatchCQ).
    pub const INNER_BATCH: i32 = 0x80;
    /// Compression type, three bits: 0 and 3 zlib, 1 LZ4, 2 Zstandard.
    pub const COMPRESSION_MASK: i32 = 0x700;
}

/// Bits of a pull's system flag (Apache `PullSysFlag`).
pub mod pull {
    /// Apply the request's commit offset.
    pub const COMMIT_OFFSET: i32 = 0x1;
    /// The request may be held until a message arrives.
    pub const SUSPEND: i32 = 0x2;
    /// Use the subscription in the request, not the heartbeat's.
    pub const SUBSCRIPTION: i32 = 0x4;
    /// Class filters (not supported by any broker today).
    pub const CLASS_FILTER: i32 = 0x8;
    /// A lite pull consumer asks.
    pub const LITE_PULL: i32 = 0x10;
}

/// What clients may do with a topic (Apache `PermName`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Perm(pub u32);

impl Perm {
    /// New topics may inherit from this one (`X`).
    pub const INHERIT: u32 = 1;
    /// Producers may send (`W`).
    pub const WRITE: u32 = 2;
    /// Consumers may read (`R`).
    pub const READ: u32 = 4;

    /// Read and write.
    pub const READ_WRITE: Perm = Perm(6);

    /// Whether producers may send.
    pub fn writable(self) -> bool {
        self.0 & Perm::WRITE != 0
    }

    /// Whether consumers may read.
    pub fn readable(self) -> bool {
        self.0 & Perm::READ != 0
    }

    /// Whether new topics may inherit.
    pub fn inherited(self) -> bool {
        self.0 & Perm::INHERIT != 0
    }
}
