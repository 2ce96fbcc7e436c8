//! Expectations taken from `java.util.Properties` on JDK 17, except where the module says it differs.

use super::*;

fn pairs(text: &str) -> Vec<(String, String)> {
    let entries = parse(text.as_bytes()).unwrap();
    entries.into_iter().map(|e| (e.key, e.value)).collect()
}

fn one(text: &str) -> (String, String) {
    let mut all = pairs(text);
    assert_eq!(all.len(), 1, "{text:?} gave {all:?}");
    all.remove(0)
}

fn is(text: &str, key: &str, value: &str) {
    assert_eq!(one(text), (key.to_owned(), value.to_owned()), "{text:?}");
}

#[test]
fn equals_colon_and_blanks_separate_key_and_value() {
    is("brokerName=broker-a", "brokerName", "broker-a");
    is("brokerName : broker-a", "brokerName", "broker-a");
    is("brokerName \t broker-a", "brokerName", "broker-a");
    is("  brokerName   =   a = b", "brokerName", "a = b");
    is("namesrvAddr=a:9876;b:9876", "namesrvAddr", "a:9876;b:9876");
    is("key==x", "key", "=x");
    is("alone", "alone", "");
}

#[test]
fn blanks_at_the_end_of_a_value_stay() {
    is("fileReservedTime=48 ", "fileReservedTime", "48 ");
}

#[test]
fn comments_and_blank_lines_are_skipped() {
    is("# one\n  ! two\n\n   \nk=v\n#k=w", "k", "v");
    is("k=v # not a comment", "k", "v # not a comment");
    is("# a comment does not continue \\\nk=v", "k", "v");
}

#[test]
fn a_backslash_at_the_end_continues_the_line() {
    is(
        "namesrvAddr=a:1;\\\n     b:2;\\\r\n\tc:3",
        "namesrvAddr",
        "a:1;b:2;c:3",
    );
    is("k=ends in \\\\\n", "k", "ends in \\");
}

#[test]
fn a_line_number_is_where_the_entry_starts() {
    let entries = parse(b"# c\r\n\r\na=1\rb=\\\n 2\nc=3").unwrap();
    let lines: Vec<usize> = entries.iter().map(|e| e.line).collect();
    assert_eq!(lines, [3, 4, 6]);
}

#[test]
fn escapes_are_javas() {
    is("a\\ b\\=c\\:d=v", "a b=c:d", "v");
    is("k=\\t\\n\\r\\f\\q\\u0041", "k", "\t\n\r\x0Cq\u{41}");
    is("k=\\uD83D\\uDE00", "k", "😀");
    is("path=C\\:\\\\store", "path", "C:\\store");
    assert_eq!(parse(b"a=1\nk=\\u12G4"), Err(SyntaxError::UnicodeEscape(2)));
    assert_eq!(parse(b"k=\\u1"), Err(SyntaxError::UnicodeEscape(1)));
    assert_eq!(parse(b"k=\\u+123"), Err(SyntaxError::UnicodeEscape(1)));
}

#[test]
fn values_are_utf8_and_comments_may_be_anything() {
    is("\u{FEFF}k=邮局", "k", "邮局");
    let gbk = b"#\xCB\xF9\xCA\xF4\nk=v\n";
    assert_eq!(parse(gbk).unwrap().len(), 1);
    assert_eq!(parse(b"k=v\nk=\xCB\xF9"), Err(SyntaxError::Encoding(2)));
}

#[test]
fn a_value_without_a_key_is_an_error() {
    assert_eq!(parse(b"a=1\n=v"), Err(SyntaxError::NoKey(2)));
}

#[test]
fn what_is_written_reads_back() {
    let mut rng = fastrand::Rng::with_seed(7);
    let alphabet: Vec<char> = "ab=:#! \\\t\n\r\x0C\u{7}邮😀u0".chars().collect();
    for _ in 0..2_000 {
        let mut text = |least| -> String {
            let len = rng.usize(least..8);
            (0..len)
                .map(|_| alphabet[rng.usize(..alphabet.len())])
                .collect()
        };
        let (key, value) = (text(1), text(0));
        assert_eq!(one(&write(&key, &value)), (key, value));
    }
}

/// Fuzz function: any bytes give entries or an error, and never a panic.
fn fuzz_properties(bytes: &[u8]) {
    if let Ok(entries) = parse(bytes) {
        for entry in entries {
            assert!(entry.line >= 1);
        }
    }
}

#[test]
fn any_bytes_give_entries_or_an_error() {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut alphabet = b"ab=: \\#!\n\r\tu09".to_vec();
    alphabet.push(0xFF);
    for _ in 0..50_000 {
        let len = rng.usize(0..24);
        let bytes: Vec<u8> = (0..len)
            .map(|_| alphabet[rng.usize(..alphabet.len())])
            .collect();
        fuzz_properties(&bytes);
    }
}

#[test]
fn plain_lines_escape_nothing() {
    let mut out = Vec::new();
    write_plain([("a", "C:\\x"), ("b", "")], &mut out);
    assert_eq!(out, b"a=C:\\x\nb=\n");
}
