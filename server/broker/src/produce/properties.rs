//! One walk over the properties of a send: what the broker must know of them, and the string that is
//! stored.

use model::batch::Known;
use model::message::{VALUE_END, key, properties};
use model::tag::tags_code;

use crate::delay::copy_without;

/// What a send's properties say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    for (name, value) in properties(text) {
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

impl<'a> Facts<'a> {
    /// Those of properties that their writer tells of.
    pub fn known(known: Known<'a>) -> Facts<'a> {
        Facts {
            unique_key: Some(known.unique_key),
            tags_code: tags_code(known.tag),
            ..Facts::default()
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

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

    /// What producers say of their messages without a key, and all that may stand beside that.
    #[test]
    fn what_is_known_is_what_would_be_read() {
        let beside = "TRACE_CONTEXT\u{1}00-1-2-01\u{2}";
        let behind = "__SHARDINGKEY\u{1}k\u{2}colour\u{1}red\u{2}";
        for (tag, text) in [
            (None, String::new()),
            (Some("eu"), "TAGS\u{1}eu\u{2}".to_owned()),
        ] {
            let text = format!("UNIQ_KEY\u{1}7F\u{2}{beside}{text}{behind}");
            let unique_key = "7F";
            assert_eq!(Facts::known(Known { unique_key, tag }), facts(&text));
        }
    }

    #[test]
    fn wait_counts_only_when_it_says_false() {
        assert!(facts("WAIT\u{1}false\u{2}").no_wait);
        assert!(!facts("WAIT\u{1}true\u{2}").no_wait);
        assert!(!facts("").no_wait);
    }
}
