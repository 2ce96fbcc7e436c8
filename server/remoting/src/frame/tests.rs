use super::*;

/// The whole frame around a JSON header.
fn framed(header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut frame = ((4 + header.len() + body.len()) as u32)
        .to_be_bytes()
        .to_vec();
    frame.extend((header.len() as u32).to_be_bytes());
    frame.extend(header);
    frame.extend(body);
    frame
}

#[test]
fn a_frame_is_whole_only_with_its_last_byte() {
    let frame = framed(b"{\"code\":34}", b"body");
    for cut in 0..frame.len() {
        assert_eq!(Decoder::peek(&frame[..cut]), Ok(None), "{cut}");
    }
    assert_eq!(Decoder::peek(&frame), Ok(Some(frame.len())));
    let mut two = frame.clone();
    two.extend(&frame);
    assert_eq!(Decoder::peek(&two), Ok(Some(frame.len())));
}

#[test]
fn what_apache_closes_the_connection_for_is_an_error() {
    let too_long = (FRAME_MAX as u32 - 3).to_be_bytes();
    let cases: [(&[u8], FrameError); 8] = [
        (b"GET / HTTP/1.1\r\n", FrameError::TooLong(0x4745_5420)),
        (&[0xFF; 4], FrameError::TooLong(0xFFFF_FFFF)),
        (&too_long, FrameError::TooLong(FRAME_MAX as u64 - 3)),
        (&[0; 4], FrameError::TooShort(0)),
        (&[0, 0, 0, 3, b'a'], FrameError::TooShort(3)),
        (
            &[0, 0, 0, 67, 1, 16, 0, 0],
            FrameError::HeaderOverrun(0x10_0000),
        ),
        (&[0, 0, 0, 16, 0, 0, 0, 0], FrameError::NoHeader),
        (&[0, 0, 0, 67, 7, 0, 0, 63], FrameError::UnknownSerialize(7)),
    ];
    for (bytes, error) in cases {
        assert_eq!(Decoder::peek(bytes), Err(error), "{bytes:?}");
    }
    for header in [
        &b"{bad! not a json!!!}"[..],
        b"xxxxxxxxxxxxxxxx",
        b"[]",
        b"null",
        b"{} {}",
    ] {
        let frame = framed(header, b"");
        let decoded = Decoder::new().decode(&frame).map(|frame| frame.code);
        assert!(matches!(decoded, Err(FrameError::Json(_))), "{header:?}");
    }
}

#[test]
fn the_largest_frame_is_sixteen_mebibytes_with_its_length_word() {
    let length = (FRAME_MAX as u32 - 4).to_be_bytes();
    assert_eq!(Decoder::peek(&length), Ok(None));
}

#[test]
fn a_header_over_its_limit_is_refused_before_it_is_read() {
    let mut bytes = (2 * HEADER_MAX as u32).to_be_bytes().to_vec();
    bytes.extend((HEADER_MAX as u32 + 1).to_be_bytes());
    let error = FrameError::HeaderTooLong(HEADER_MAX as u32 + 1);
    assert_eq!(Decoder::peek(&bytes), Err(error));
}

#[test]
fn what_clients_in_cpp_and_go_write_is_read() {
    let header = br#" {"code":30,"extFields":{"topic":"T","queueId":0,"x":true,"y":null,"z":-1.5e3,"o":{"a":["}"]}},
        "flag":0,"language":1,"opaque":-5,"remark":null,"unknownKey":[1,{"a":"\"]"}],"version":"333"}
"#;
    let frame = framed(header, b"");
    let mut decoder = Decoder::new();
    let frame = decoder.decode(&frame).unwrap();
    assert_eq!((frame.code, frame.version, frame.opaque), (30, 333, -5));
    assert_eq!(frame.language, Language::Cpp);
    assert_eq!(frame.remark, None);
    let fields: Vec<_> = frame.ext.iter().collect();
    let expected = [
        ("topic", "T"),
        ("queueId", "0"),
        ("x", "true"),
        ("z", "-1.5e3"),
        ("o", r#"{"a":["}"]}"#),
    ];
    assert_eq!(fields, expected);
}

#[test]
fn missing_fields_null_fields_and_empty_fields_are_told_apart() {
    let cases: [(&[u8], bool); 3] = [
        (br#"{"code":1}"#, true),
        (br#"{"code":1,"extFields":null}"#, true),
        (br#"{"code":1,"extFields":{}}"#, false),
    ];
    for (header, absent) in cases {
        let frame = framed(header, b"");
        let mut decoder = Decoder::new();
        let frame = decoder.decode(&frame).unwrap();
        assert_eq!(frame.ext.is_absent(), absent);
        assert!(frame.ext.is_empty());
    }
}

#[test]
fn escapes_surrogates_and_broken_text_become_what_java_makes_of_them() {
    let mut header = br#"{"extFields":{"a\u0062":"k\u0001v\u0002\n\t\/\\\"","s":"\ud83d\ude00x","lone":"\ud83dx\udc00","raw":""#.to_vec();
    header.extend(b"\xFF\xFE\"},\"remark\":\"\xE6\xB5\x8B\"}");
    let frame = framed(&header, b"");
    let mut decoder = Decoder::new();
    let frame = decoder.decode(&frame).unwrap();
    assert_eq!(frame.ext.get("ab"), Some("k\u{1}v\u{2}\n\t/\\\""));
    assert_eq!(frame.ext.get("s"), Some("😀x"));
    assert_eq!(frame.ext.get("lone"), Some("\u{FFFD}x\u{FFFD}"));
    assert_eq!(frame.ext.get("raw"), Some("\u{FFFD}\u{FFFD}"));
    assert_eq!(frame.remark, Some("测"));
}

#[test]
fn of_duplicate_fields_the_last_one_wins() {
    let frame = framed(br#"{"code":1,"code":2,"extFields":{"a":"1","a":"2"}}"#, b"");
    let mut decoder = Decoder::new();
    let frame = decoder.decode(&frame).unwrap();
    assert_eq!((frame.code, frame.ext.get("a")), (2, Some("2")));
}

#[test]
fn more_fields_than_any_command_has_are_refused() {
    let field = |n: usize| format!("\"f{n}\":\"v\"");
    for (count, good) in [(FIELDS_MAX, true), (FIELDS_MAX + 1, false)] {
        let fields: Vec<String> = (0..count).map(field).collect();
        let header = format!("{{\"extFields\":{{{}}}}}", fields.join(","));
        let frame = framed(header.as_bytes(), b"");
        let decoded = Decoder::new().decode(&frame).map(|frame| frame.ext.len());
        assert_eq!(decoded.is_ok(), good);
    }
}

#[test]
fn a_pop_code_cut_to_sixteen_bits_is_whole_again() {
    for (cut, whole) in [
        (3442, 200_050),
        (3543, 200_151),
        (3447, 200_055),
        (34, 34),
        (3444, 3444),
    ] {
        let mut frame = vec![0, 0, 0, 25, 1, 0, 0, 21];
        frame.extend((cut as i16).to_be_bytes());
        frame.extend([12, 1, 0xDF]);
        frame.extend([0; 16]);
        let mut decoder = Decoder::new();
        assert_eq!(decoder.decode(&frame).unwrap().code, whole);
    }
}

/// One decoder sees frames of both forms in turn; nothing of the last one may shine through.
#[test]
fn a_decoder_forgets_the_frame_before() {
    let mut decoder = Decoder::new();
    let long = framed(
        br#"{"code":1,"remark":"r","extFields":{"a":"\u0001","b":"2"}}"#,
        b"xyz",
    );
    assert_eq!(decoder.decode(&long).unwrap().ext.len(), 2);
    let short = framed(br#"{}"#, b"");
    let frame = decoder.decode(&short).unwrap();
    assert!(frame.ext.is_absent() && frame.remark.is_none() && frame.body.is_empty());
    assert_eq!(frame.ext.get("a"), None);
}
