//! A recall handle: what a client keeps of a delayed message to call it back (Apache
//! `RecallMessageHandle`): URL-safe base64 of `v1 topic broker time id`.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What a handle says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    pub topic: String,
    pub broker: String,
    /// A millisecond after it is due, as Apache has it.
    pub time: i64,
    pub unique_key: String,
}

/// The handle of a message that is due at `due`.
pub(crate) fn write(topic: &str, broker: &str, due: i64, unique_key: &str) -> String {
    let plain = format!("v1 {topic} {broker} {} {unique_key}", due.saturating_add(1));
    let mut out = String::with_capacity(plain.len() / 3 * 4 + 4);
    for group in plain.as_bytes().chunks(3) {
        let mut bits = 0;
        for at in 0..3 {
            bits = bits << 8 | u32::from(group.get(at).copied().unwrap_or(0));
        }
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at > group.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    out
}

/// Reads a handle; `None` if it is none.
pub(crate) fn read(text: &str) -> Option<Handle> {
    let plain = String::from_utf8(decode(text.trim_end_matches('='))?).ok()?;
    let mut parts = plain.split(' ');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    if next()? != "v1" {
        return None;
    }
    Some(Handle {
        topic: next()?.to_owned(),
        broker: next()?.to_owned(),
        time: next()?.parse().ok()?,
        unique_key: next()?.to_owned(),
    })
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0;
        for at in 0..4 {
            let value = match group.get(at) {
                Some(byte) => ALPHABET.iter().position(|digit| digit == byte)?,
                None => 0,
            };
            bits = bits << 6 | value as u32;
        }
        let bytes = bits.to_be_bytes();
        // Two digits carry one byte, three two, four three.
        out.extend_from_slice(bytes.get(1..group.len().max(2))?);
        if group.len() == 1 {
            return None;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_apaches() {
        let id = "0A00000200010000000000000000ABCD";
        let text = write("TopicA", "broker-a", 1_700_000_060_000 - 1, id);
        assert_eq!(
            text,
            "djEgVG9waWNBIGJyb2tlci1hIDE3MDAwMDAwNjAwMDAgMEEwMDAwMDIwMDAxMDAwMDAwMDAwMDAwMDAwMEFCQ0Q="
        );
        let handle = read(&text).unwrap();
        assert_eq!(handle.time, 1_700_000_060_000);
        assert_eq!(
            (&*handle.topic, &*handle.broker, &*handle.unique_key),
            ("TopicA", "broker-a", id)
        );
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        for text in [
            "",
            "zzz",
            "====",
            "djE",
            "djEg",
            "é",
            "dj EgVA",
            "djEgVCBiIHggaQ",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let plain: String = (0..rng.usize(..40)).map(|_| rng.char(' '..'~')).collect();
            let _ = read(&plain);
            let name = plain.replace(' ', "-");
            let handle = read(&write(&name, "b", 7, "id"));
            assert_eq!(
                handle.map(|handle| handle.topic),
                Some(name).filter(|name| !name.is_empty())
            );
        }
    }
}
