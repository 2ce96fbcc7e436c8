//! A name server's key-value store: 100, 101, 102, 219.

use super::header;

header! {
    /// Header of 100.
    PutKvHeader<'a> {
        /// `ORDER_TOPIC_CONFIG` or a user's own.
        namespace: &'a str = b"namespace",
        /// The key.
        key: &'a str = b"key",
        /// The value.
        value: &'a str = b"value",
    }
}

header! {
    /// Header of 101 and 102.
    KvHeader<'a> {
        /// The namespace.
        namespace: &'a str = b"namespace",
        /// The key.
        key: &'a str = b"key",
    }
}

header! {
    /// Header of 219.
    KvNamespaceHeader<'a> {
        /// The namespace.
        namespace: &'a str = b"namespace",
    }
}
