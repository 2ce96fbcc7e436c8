//! Java's `.properties` text, as far as settings are written in it.

use std::fmt::Write as _;

/// A `\u` that is not followed by four hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Malformed \\uxxxx encoding.")]
pub struct Malformed;

/// The keys and values of a properties text, in its order.
pub fn read(text: &str) -> Result<Vec<(String, String)>, Malformed> {
    let mut found = Vec::new();
    let mut lines = text.split(['\n', '\r']).map(str::trim_start);
    while let Some(first) = lines.next() {
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut line = first.to_owned();
        while continues(&line) {
            line.pop();
            match lines.next() {
                Some(next) => line.push_str(next),
                None => break,
            }
        }
        let (key, value) = split(&line);
        found.push((unescape(key)?, unescape(value)?));
    }
    Ok(found)
}

/// A line goes on if it ends in an odd number of backslashes.
fn continues(line: &str) -> bool {
    let backslashes = line.chars().rev().take_while(|c| *c == '\\').count();
    backslashes % 2 == 1
}

/// The key ends at the first unescaped `=`, `:` or white space.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        if !escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\x0c') {
            let rest = line[at..].trim_start_matches([' ', '\t', '\x0c']);
            let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (&line[..at], value.trim_start_matches([' ', '\t', '\x0c']));
        }
        escaped = !escaped && c == '\\';
    }
    (line, "")
}

fn unescape(text: &str) -> Result<String, Malformed> {
    let mut out = String::with_capacity(text.len());
    let mut units = Vec::new();
    let mut chars = text.chars();
    loop {
        let next = chars.next();
        let c = match next {
            Some('\\') => chars.next(),
            other => other,
        };
        let is_unit = next == Some('\\') && c == Some('u');
        if is_unit {
            units.push(unit(&mut chars)?);
            continue;
        }
        if !units.is_empty() {
            out.push_str(&String::from_utf16_lossy(&units));
            units.clear();
        }
        match (next, c) {
            (None, _) => return Ok(out),
            (Some('\\'), Some('n')) => out.push('\n'),
            (Some('\\'), Some('r')) => out.push('\r'),
            (Some('\\'), Some('t')) => out.push('\t'),
            (Some('\\'), Some('f')) => out.push('\x0c'),
            (_, Some(c)) => out.push(c),
            (_, None) => {}
        }
    }
}

fn unit(chars: &mut std::str::Chars<'_>) -> Result<u16, Malformed> {
    let mut value = 0;
    for _ in 0..4 {
        let digit = chars.next().and_then(|c| c.to_digit(16)).ok_or(Malformed)?;
        value = value << 4 | digit;
    }
    u16::try_from(value).map_err(|_| Malformed)
}

/// Writes lines of `key=value`, as Apache's `properties2String` does: what 319 answers.
pub fn write<'a>(entries: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut text = String::new();
    for (key, value) in entries {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        read(text).unwrap()
    }

    fn one(text: &str) -> (String, String) {
        let [pair] = <[_; 1]>::try_from(pairs(text)).unwrap();
        pair
    }

    #[test]
    fn keys_end_where_java_ends_them() {
        for text in ["a=b", "a:b", "a b", "  a = b", "a\t:\tb", "a  b"] {
            assert_eq!(one(text), ("a".into(), "b".into()), "{text:?}");
        }
        assert_eq!(one("a\\=x=b=c"), ("a=x".into(), "b=c".into()));
        assert_eq!(one("a"), ("a".into(), String::new()));
    }

    #[test]
    fn lines_go_on_after_a_backslash_and_comments_are_left_out() {
        assert_eq!(
            pairs("# c\n! d\n\na=1,\\\n   2\r\nb=3\\"),
            [("a".into(), "1,2".into()), ("b".into(), "3".into())]
        );
    }

    #[test]
    fn escapes_are_read_and_a_broken_one_is_refused() {
        assert_eq!(
            one("a=\\u00e9\\ud83d\\ude00\\t"),
            ("a".into(), "é😀\t".into())
        );
        assert_eq!(read("\\u12"), Err(Malformed));
        assert_eq!(read("a=\\uzzzz"), Err(Malformed));
    }

    /// Any text is read or refused, and what was read has no more text than there was.
    #[test]
    fn fuzz_any_text_is_read_or_refused() {
        let mut rng = fastrand::Rng::with_seed(5);
        let parts = [
            "a", "=", ":", " ", "\\", "\n", "\r", "u", "0041", "#", "é", "\\u00e9", "\\u00",
        ];
        let (mut understood, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let text: String = (0..rng.usize(0..12))
                .map(|_| parts[rng.usize(..parts.len())])
                .collect();
            match read(&text) {
                Ok(pairs) => {
                    let length: usize = pairs.iter().map(|(k, v)| k.len() + v.len()).sum();
                    assert!(length <= text.len(), "{text:?}");
                    understood += 1;
                }
                Err(Malformed) => refused += 1,
            }
        }
        assert!(understood > 1000 && refused > 400, "{understood} {refused}");
    }
}
