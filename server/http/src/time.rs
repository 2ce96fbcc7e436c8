//! Times as RFC 3339 writes them. Inside they are milliseconds since the Unix epoch, as RocketMQ counts.

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

/// Appends a time in UTC, with milliseconds: `2026-11-23T08:41:17.512Z`.
pub(crate) fn push(out: &mut String, ms: i64) {
    let (days, of_day) = (ms.div_euclid(DAY), ms.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let seconds = of_day / 1_000;
    let numbers = [
        (0..4, year),
        (5..7, month),
        (8..10, day),
        (11..13, seconds / 3_600),
        (14..16, seconds / 60 % 60),
        (17..19, seconds % 60),
        (20..23, of_day % 1_000),
    ];
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (place, number) in numbers {
        let mut rest = number as u32;
        for digit in text.get_mut(place).unwrap_or_default().iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
    }
    out.push_str(std::str::from_utf8(&text).unwrap_or_default());
}

/// The same as a text of its own.
pub(crate) fn format(ms: i64) -> String {
    let mut out = String::with_capacity(24);
    push(&mut out, ms);
    out
}

/// As long as the contract lets a time be written.
const LONGEST: usize = 64;

/// Reads a time. What is finer than a millisecond is cut off.
pub(crate) fn parse(text: &str) -> Option<i64> {
    if text.len() > LONGEST {
        return None;
    }
    let bytes = text.as_bytes();
    let number = |from: usize, length: usize| -> Option<i64> {
        let digits = bytes.get(from..from + length)?;
        let all = digits.iter().all(u8::is_ascii_digit);
        all.then(|| {
            digits
                .iter()
                .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    let marks = is(4, b"-") && is(7, b"-") && is(10, b"Tt") && is(13, b":") && is(16, b":");
    if !marks {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    // A leap second is the last one of its minute: no clock of ours knows it.
    let second = second.min(if hour == 23 && minute == 59 && second == 60 {
        59
    } else {
        second
    });
    let in_range = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    let mut at = 19;
    let mut ms = 0;
    if is(at, b".") {
        let digits = bytes
            .get(at + 1..)?
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return None;
        }
        for place in 0..3 {
            ms = ms * 10
                + if place < digits {
                    number(at + 1 + place, 1)?
                } else {
                    0
                };
        }
        at += 1 + digits;
    }
    let offset = match bytes.get(at)? {
        b'Z' | b'z' if bytes.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == at + 6 && is(at + 3, b":") => {
            let (hours, minutes) = (number(at + 1, 2)?, number(at + 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let minutes = hours * 60 + minutes;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    let seconds = (hour * 60 + minute - offset) * 60 + second;
    Some(days_before(year, month, day) * DAY + seconds * 1_000 + ms)
}

/// Year, month and day of a day, counted from 1970-01-01. Years begin in March here, so that the day that
/// is there only sometimes is the last one.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// Days from 1970-01-01.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH
}

fn days_of(year: i64, month: i64) -> i64 {
    let (year, next) = if month == 12 {
        (year + 1, 1)
    } else {
        (year, month + 1)
    };
    let start = if next == 1 {
        days_before(year - 1, 12, 1)
    } else {
        days_before(year, next - 1, 1)
    };
    days_before(year, next, 1) - start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_they_are_written() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2026-11-23T08:41:17.512Z", 1_795_423_277_512),
            ("2024-02-29T23:59:59.999Z", 1_709_251_199_999),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2000-03-01T00:00:00.000Z", 951_868_800_000),
        ] {
            assert_eq!(parse(text), Some(ms), "{text}");
            assert_eq!(format(ms), text);
        }
    }

    #[test]
    fn every_spelling_of_the_rfc_is_read() {
        for text in [
            "2026-11-23T08:41:17Z",
            "2026-11-23t08:41:17z",
            "2026-11-23T08:41:17.0004999Z",
            "2026-11-23T16:41:17+08:00",
            "2026-11-22T22:11:17-10:30",
        ] {
            assert_eq!(parse(text), Some(1_795_423_277_000), "{text}");
        }
        assert_eq!(parse("2016-12-31T23:59:60Z"), parse("2016-12-31T23:59:59Z"));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2026-11-23",
            "2026-11-23T08:41:17",
            "2026-11-23 08:41:17Z",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T08:60:00Z",
            "2026-11-23T08:41:60Z",
            "2026-11-23T08:41:17.Z",
            "2026-11-23T08:41:17+0800",
            "2026-11-23T08:41:17ZZ",
            "1795423277000",
            "2026-00-10T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
