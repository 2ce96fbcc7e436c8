//! Looking messages up, 12 and 33, and calling one back, 370.

use super::header;

header! {
    /// Header of 12.
    QueryHeader<'a> {
        /// In which topic.
        topic: &'a str = b"topic",
        /// The key, compared exactly.
        key: &'a str = b"key",
        /// At most so many.
        max: i32 = b"maxNum",
        /// Store time from, milliseconds since the Unix epoch.
        begin: i64 = b"beginTimestamp",
        /// Store time to, milliseconds since the Unix epoch.
        end: i64 = b"endTimestamp",
        /// The key is a `UNIQ_KEY`.
        unique: bool = b"_UNIQUE_KEY_QUERY",
    }
}

header! {
    /// Answer to 12, found or not.
    QueryAnswer {
        /// Store time the index has reached.
        indexed_until: i64 = b"indexLastUpdateTimestamp",
        /// Log offset the index has reached.
        indexed_offset: i64 = b"indexLastUpdatePhyoffset",
    }
}

header! {
    /// Header of 370.
    RecallHeader<'a> {
        /// The topic the message goes to.
        topic: &'a str = b"topic",
        /// What the answer to its send said.
        handle: &'a str = b"recallHandle",
    }
}

header! {
    /// Header of 33.
    ViewHeader<'a> {
        /// The topic; 4.x leaves it out.
        topic: Option<&'a str> = b"topic",
        /// A log offset.
        offset: i64 = b"offset",
    }
}
