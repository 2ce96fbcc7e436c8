//! Durations as RocketMQ's level table spells them: `500ms`, `1m30s`, `2d`.

use std::time::Duration;

/// As long as the contract lets a duration be written.
const LONGEST: usize = 32;

/// Reads a duration. Numbers that do not fit are no durations.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text.len() > LONGEST {
        return None;
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        let letters = behind.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, behind) = behind.split_at(letters);
        let unit: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let part = number.parse::<u64>().ok()?.checked_mul(unit)?;
        total = total.checked_add(part)?;
        rest = behind;
    }
    // Beyond this, sums with the time of today would not fit.
    let fits = !text.is_empty() && total <= i64::MAX as u64 / 4;
    fits.then(|| Duration::from_millis(total))
}

/// Writes a duration as [`parse`] reads it; what is shorter than a millisecond is left out.
pub(crate) fn format(duration: Duration) -> String {
    use std::fmt::Write as _;
    let mut left = duration.as_millis();
    let mut out = String::new();
    for (unit, ms) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ] {
        if left >= ms {
            let _ = write!(out, "{}{unit}", left / ms);
            left %= ms;
        }
    }
    if out.is_empty() {
        out.push_str("0s");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_they_are_written() {
        for (text, ms) in [
            ("500ms", 500),
            ("1m30s", 90_000),
            ("0s", 0),
            ("2d", 172_800_000),
            ("1s1s", 2_000),
            ("007s", 7_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for ms in [0, 1, 999, 61_001, 90_000, 90_061_001] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse(&format(duration)), Some(duration));
        }
        assert_eq!(format(Duration::from_secs(90)), "1m30s");
    }

    #[test]
    fn what_is_no_duration_is_none() {
        let long = "9".repeat(30) + "s";
        let zeros = "0".repeat(32) + "s";
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "5 m",
            "5 minutes",
            "1.5s",
            "1M",
            "1m ",
            "٣s",
            "1w",
            "18446744073709551615d",
            &long,
            &zeros,
            "+5s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
