//! Apache's version numbers (`MQVersion`): ordinals of a list in which every release has a snapshot
//! before it, ten patch releases a minor one.

/// What we say we are: 5.3.3. Clients refuse SQL filters below 4.1.0 and some features below 5.0.0.
pub const CURRENT: i32 = V5_3_3;

/// 3.0.7-SNAPSHOT: clients can be told to reset offsets.
pub const V3_0_7_SNAPSHOT: i32 = 28;
/// 3.0.11: a register body has filter servers.
pub const V3_0_11: i32 = 37;
/// 3.1.8-SNAPSHOT: clients can be asked for their running state.
pub const V3_1_8_SNAPSHOT: i32 = 62;
/// 3.4.9: a send's `maxReconsumeTimes` counts.
pub const V3_4_9: i32 = 121;
/// 4.9.3: the last whose signature covers `_UNIQUE_KEY_QUERY` wrongly.
pub const V4_9_3: i32 = 399;
/// 4.9.4: reads standard JSON routes.
pub const V4_9_4: i32 = 401;
/// 5.0.0: compressed register bodies have a mapping section.
pub const V5_0_0: i32 = 413;
/// 5.3.1: above it, a client understands code 1500.
pub const V5_3_1: i32 = 475;
/// 5.3.3.
pub const V5_3_3: i32 = 479;
/// Shown for every number above the list.
pub const HIGHER_VERSION: i32 = 612;
