//! Asking a name server for a route: 105.

use super::header;

header! {
    /// Header of 105.
    RouteHeader<'a> {
        /// The topic.
        topic: &'a str = b"topic",
        /// The client reads standard JSON only, whatever its version.
        standard_json_only: bool = b"acceptStandardJsonOnly",
        /// `true`: only brokers of the client's zone.
        zone_mode: bool = b"__ZONE_MODE",
        /// The client's zone.
        zone_name: Option<&'a str> = b"__ZONE_NAME",
    }
}
