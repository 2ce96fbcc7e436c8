//! The tag hash: what the broker's tag filter compares.

/// Java's `String.hashCode`: over UTF-16 units, `h = 31 * h + unit`, wrapping.
pub fn java_hash(text: &str) -> i32 {
    if text.is_ascii() {
        return text.bytes().fold(0, |h, b| step(h, u16::from(b)));
    }
    text.encode_utf16().fold(0, step)
}

/// The code a queue entry carries for a message's `TAGS`: the hash, sign-extended; 0 without tags.
pub fn tags_code(tags: Option<&str>) -> i64 {
    tags.map_or(0, |tags| i64::from(java_hash(tags)))
}

fn step(hash: i32, unit: u16) -> i32 {
    hash.wrapping_mul(31).wrapping_add(i32::from(unit))
}

#[cfg(test)]
mod tests {
    use super::java_hash;

    /// The values were computed by a JVM.
    #[test]
    fn hashes_are_javas() {
        let vectors = [
            ("", 0),
            ("A", 65),
            ("TagA", 2598919),
            ("TagB", 2598920),
            ("order_paid_2024", 1357636322),
            ("测试", 903146),
        ];
        for (text, hash) in vectors {
            assert_eq!(java_hash(text), hash, "{text}");
        }
    }
}
