use super::*;
use crate::Command;

const FORMS: [Serialize; 2] = [Serialize::Json, Serialize::Binary];

fn head(serialize: Serialize) -> Head {
    Head {
        opaque: -7,
        serialize,
    }
}

#[test]
fn an_answer_says_what_apache_would_in_both_forms() {
    for serialize in FORMS {
        let mut out = b"before".to_vec();
        Reply::new(&mut out, head(serialize), 0)
            .remark("FOUND \"it\"\n")
            .field("msgId", "a\u{1}b")
            .number("queueOffset", i64::MIN)
            .flag("hasMsg", true)
            .body_bytes(b"body");
        assert_eq!(&out[..6], b"before");
        let command = Command::decode(&out[6..]).unwrap();
        assert_eq!((command.code, command.flag, command.opaque), (0, 1, -7));
        assert_eq!(command.version, version::CURRENT);
        assert_eq!(command.language, Language::Java);
        assert_eq!(command.serialize, serialize);
        assert_eq!(command.remark.as_deref(), Some("FOUND \"it\"\n"));
        assert_eq!(command.field("msgId"), Some("a\u{1}b"));
        assert_eq!(command.field("queueOffset"), Some("-9223372036854775808"));
        assert_eq!(command.field("hasMsg"), Some("true"));
        assert_eq!(command.body, b"body");
    }
}

#[test]
fn fields_are_absent_empty_or_there() {
    let mut out = Vec::new();
    Reply::new(&mut out, head(Serialize::Json), 3).finish();
    assert_eq!(Command::decode(&out).unwrap().ext, None);
    out.clear();
    Reply::new(&mut out, head(Serialize::Json), 0)
        .empty_fields()
        .finish();
    assert_eq!(Command::decode(&out).unwrap().ext, Some(Vec::new()));
}

#[test]
fn a_header_can_follow_its_body() {
    for serialize in FORMS {
        for (body, field) in [(0, 1), (100, 10), (5000, 2000)] {
            let body = vec![b'x'; body];
            let field = "f".repeat(field);
            let mut after = b"other".to_vec();
            after.extend(&body);
            Reply::before(&mut after, 5, head(serialize), 0)
                .field("f", &field)
                .finish();
            let mut straight = b"other".to_vec();
            Reply::new(&mut straight, head(serialize), 0)
                .field("f", &field)
                .body_bytes(&body);
            assert_eq!(after, straight);
        }
    }
}

#[test]
fn room_that_is_left_for_a_header_is_used_up_however_long_that_becomes() {
    for serialize in FORMS {
        let room = Room::default();
        // None is left, too little, as much as it takes, too much, far too little.
        for (field, count) in [
            (3, 50),
            (8, 50),
            (8, 0),
            (8, 5000),
            (2, 50),
            (600, 50),
            (2, 50),
        ] {
            let (body, field) = (vec![b'x'; count], "f".repeat(field));
            let mut after = b"other".to_vec();
            let place = room.leave(&mut after, serialize);
            after.extend(&body);
            Reply::placed(&mut after, place, head(serialize), 0)
                .field("f", &field)
                .finish();
            let mut straight = b"other".to_vec();
            Reply::new(&mut straight, head(serialize), 0)
                .field("f", &field)
                .body_bytes(&body);
            assert_eq!(after, straight);
        }
        // As long as the last one that had a body and was of a usual length.
        let mut out = Vec::new();
        room.leave(&mut out, serialize);
        let mut usual = Vec::new();
        let reply = Reply::new(&mut usual, head(serialize), 0);
        reply.field("f", "ff").finish();
        assert_eq!(out.len(), usual.len());
    }
}

/// The C++ client drops named fields that are no strings.
#[test]
fn numbers_are_written_as_strings() {
    let mut out = Vec::new();
    Reply::new(&mut out, head(Serialize::Json), 0)
        .number("offset", 12)
        .finish();
    let text = String::from_utf8_lossy(&out);
    assert!(text.contains(r#""extFields":{"offset":"12"}"#), "{text}");
}
