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

/// The ordinal of 4.0.0's snapshot, from which on the list is regular.
const REGULAR: i32 = 212;

/// How tools show a version: `V5_3_3`, `V4_9_8_SNAPSHOT`. The list was irregular before 4.0.0: of
/// those only the major version is told.
pub fn name(version: i32) -> String {
    if version >= HIGHER_VERSION {
        return "HIGHER_VERSION".to_owned();
    }
    if version < REGULAR {
        return format!("V3_ordinal_{version}");
    }
    let steps = version - REGULAR;
    let (minors, rest) = (steps / 20, steps % 20);
    let snapshot = if rest % 2 == 0 { "_SNAPSHOT" } else { "" };
    let (major, minor, patch) = (4 + minors / 10, minors % 10, rest / 2);
    format!("V{major}_{minor}_{patch}{snapshot}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_releases() {
        let releases = [
            (213, "V4_0_0"),
            (232, "V4_1_0_SNAPSHOT"),
            (317, "V4_5_2"),
            (399, "V4_9_3"),
            (409, "V4_9_8"),
            (413, "V5_0_0"),
            (479, "V5_3_3"),
            (493, "V5_4_0"),
            (611, "V5_9_9"),
            (612, "HIGHER_VERSION"),
            (9999, "HIGHER_VERSION"),
        ];
        for (ordinal, release) in releases {
            assert_eq!(name(ordinal), release);
        }
        assert_eq!(name(-1), "V3_ordinal_-1");
    }
}
