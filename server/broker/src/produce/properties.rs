//! One walk over the properties of a send: what the broker must know of them, and the string that is
//! stored.

use model::message::{NAME_END, VALUE_END, key};
use model::tag::tags_code;

use crate::delay::copy_without;

/// What a send's properties say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts<'a> {
    pub unique_key: Option<&'a str>,
    pub tags_code: i64,
    /// Index keys, with blanks between them.
    pub keys: Option<&'a str>,
    /// `IDEMPOTENCY_KEY`
    pub once: Option<&'a str>,
    /// Where replies to it go: the client id of its sender.
    pub reply_to: Option<&'a str>,
    /// `WAIT=false`: the producer does not wait for flush or replicas.
    pub no_wait: bool,
    /// `TRAN_MSG=true`
    pub transaction: bool,
    /// A delay level above 0.
    pub delay: bool,
    /// One of the timer properties.
    pub timer: bool,
    /// There is something the stored string must not have: see [`rewrite`].
    pub unclean: bool,
}

/// Reads a property string. Of duplicates the last one counts, as in Java.
pub(crate) fn facts(text: &str) -> Facts<'_> {
    let mut facts = Facts::default();
    let mut tags = None;
    for (name, value) in segments(text) {
        match name {
            key::UNIQ_KEY => facts.unique_key = Some(value),
            key::TAGS => tags = Some(value),
            key::KEYS => facts.keys = Some(value),
            key::IDEMPOTENCY_KEY => facts.once = Some(value),
            key::REPLY_TO_CLIENT => facts.reply_to = Some(value),
            key::WAIT => facts.no_wait = value == "false",
            key::TRAN_MSG => facts.transaction = value.eq_ignore_ascii_case("true"),
            key::DELAY => facts.delay = value.parse::<i64>().map_or(true, |level| level > 0),
            key::TIMER_DELAY_SEC | key::TIMER_DELAY_MS | key::TIMER_DELIVER_MS => {
                facts.timer = true;
            }
            _ => facts.unclean |= is_ours(name),
        }
    }
    facts.tags_code = tags_code(tags);
    facts
}

/// Properties only the broker sets; those of a client are taken out.
pub(crate) fn is_ours(name: &str) -> bool {
    matches!(
        name,
        key::POP_CK | key::CRC32 | key::MSG_REGION | key::TRACE_ON | key::CLUSTER
    )
}

impl Facts<'_> {
    /// Whether it may have to wait.
    pub fn waits(&self) -> bool {
        self.delay || self.timer
    }
}

/// Appends to `out` what is stored of a client's string: all but what is ours, closed by a separator.
pub(crate) fn rewrite(text: &str, unclean: bool, out: &mut String) {
    if unclean {
        copy_without(text, is_ours, out);
        return;
    }
    out.push_str(text);
    if text.as_bytes().last().is_some_and(|&b| b != VALUE_END) {
        out.push(char::from(VALUE_END));
    }
}

/// Names and values, as Java's parser sees them. By hand over bytes: this runs for every message.
fn segments(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let bytes = rest.as_bytes();
            let name_end = separator(bytes, 0);
            let mut end = name_end;
            // Behind the name's end, another of its kind is part of the value.
            while bytes.get(end) == Some(&NAME_END) {
                end = separator(bytes, end + 1);
            }
            let segment = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if name_end > 0 && name_end + 1 < end {
                return Some((&segment[..name_end], &segment[name_end + 1..]));
            }
        }
    })
}

/// The first separator of either kind at or behind `at`; the end if there is none. Eight bytes a step.
#[inline]
fn separator(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let is_one = |&byte: &u8| byte == NAME_END || byte == VALUE_END;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*word);
        // The first byte below three is marked; what is marked behind it may be wrong.
        let low = word.wrapping_sub(ONES * 3) & !word & (ONES * 0x80);
        if low == 0 {
            at += 8;
            continue;
        }
        at += (low.trailing_zeros() / 8) as usize;
        if bytes.get(at).is_some_and(is_one) {
            return at;
        }
        at += 1;
    }
    let tail = bytes.get(at..).unwrap_or_default();
    at + tail.iter().position(is_one).unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_sees_what_the_plain_parser_sees() {
        let mut rng = fastrand::Rng::with_seed(3);
        let alphabet = ['a', 'W', 'é', '\u{1}', '\u{2}', '\u{0}', '\u{3}'];
        for _ in 0..20_000 {
            let text: String = (0..rng.usize(..40))
                .map(|_| alphabet[rng.usize(..7)])
                .collect();
            let plain: Vec<_> = model::message::properties(&text).collect();
            assert_eq!(segments(&text).collect::<Vec<_>>(), plain, "{text:?}");
        }
    }

    #[test]
    fn what_is_ours_is_taken_out_of_a_clients_string() {
        let text = "POP_CK\u{1}x\u{2}TAGS\u{1}TagA\u{2}__CRC32#\u{1}0123456789\u{2}KEYS\u{1}k";
        let facts = facts(text);
        assert!(facts.unclean);
        assert_eq!(facts.tags_code, 2_598_919);
        let mut out = String::new();
        rewrite(text, true, &mut out);
        assert_eq!(out, "TAGS\u{1}TagA\u{2}KEYS\u{1}k\u{2}");
    }

    #[test]
    fn wait_counts_only_when_it_says_false() {
        assert!(facts("WAIT\u{1}false\u{2}").no_wait);
        assert!(!facts("WAIT\u{1}true\u{2}").no_wait);
        assert!(!facts("").no_wait);
    }
}
