use super::*;
use crate::code::request;
use crate::{Command, Decoder};

fn send() -> SendHeader<'static> {
    SendHeader {
        producer_group: "p",
        topic: "t",
        default_topic: "TBW102",
        default_topic_queues: 4,
        queue_id: -1,
        sys_flag: 0,
        born_at: 1,
        flag: 0,
        properties: Some("K\u{1}v\u{2}"),
        reconsume_times: Some(0),
        unit_mode: false,
        max_reconsume_times: None,
        batch: false,
        broker_name: None,
        durability: None,
    }
}

fn read_send(command: &Command) -> Result<Option<String>, HeaderError> {
    let bytes = command.to_bytes();
    let mut decoder = Decoder::new();
    let frame = decoder.decode(&bytes).unwrap();
    let header = SendHeader::read(&frame);
    assert_eq!(header, SendHeader::read_letters(&frame));
    let header = header?;
    assert_eq!(header.topic, "t");
    Ok(header.properties.map(str::to_owned))
}

#[test]
fn a_send_is_read_by_letters_and_by_long_names() {
    let letters = send().fill_letters(Command::request(request::SEND_MESSAGE_V2));
    assert_eq!(letters.field("b"), Some("t"));
    assert_eq!(letters.field("topic"), None);
    let long = send().fill(Command::request(request::SEND_MESSAGE));
    assert_eq!(long.field("topic"), Some("t"));
    for command in [letters, long] {
        assert_eq!(read_send(&command), Ok(Some("K\u{1}v\u{2}".to_owned())));
    }
}

#[test]
fn an_error_names_the_field() {
    let mut command = send().fill_letters(Command::request(request::SEND_MESSAGE_V2));
    command.ext.iter_mut().flatten().for_each(|(name, value)| {
        if name == "e" {
            *value = "abc".to_owned();
        }
    });
    let error = read_send(&command).unwrap_err();
    assert_eq!(error.field(), "queueId");
    assert!(
        error
            .to_string()
            .starts_with("java.lang.NumberFormatException: For input string: \"abc\"")
    );
    command
        .ext
        .iter_mut()
        .for_each(|fields| fields.retain(|(name, _)| name != "g" && name != "e"));
    command = command.with("e", 0);
    let error = read_send(&command).unwrap_err();
    assert_eq!(
        error,
        HeaderError::Missing {
            field: "bornTimestamp"
        }
    );
    assert!(
        error
            .to_string()
            .ends_with("the custom field <bornTimestamp> is null")
    );
}

#[test]
fn numbers_are_what_parse_long_takes() {
    let cases: [(&[u8], Option<i64>); 12] = [
        (b"0", Some(0)),
        (b"-1", Some(-1)),
        (b"+7", Some(7)),
        (b"0012", Some(12)),
        (b"9223372036854775807", Some(i64::MAX)),
        (b"-9223372036854775808", Some(i64::MIN)),
        (b"9223372036854775808", None),
        (b"", None),
        (b"-", None),
        (b" 1", None),
        (b"1.0", None),
        (b"null", None),
    ];
    for (text, number) in cases {
        assert_eq!(decimal(text), number, "{}", String::from_utf8_lossy(text));
    }
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..20_000 {
        let number = rng.i64(..) >> rng.u32(..64);
        assert_eq!(decimal(number.to_string().as_bytes()), Some(number));
        let mut text: Vec<u8> = (0..rng.usize(1..20)).map(|_| rng.u8(b'0'..=b'9')).collect();
        let at = rng.usize(..text.len());
        text[at] = rng.u8(..);
        let plain = str::from_utf8(&text)
            .ok()
            .and_then(|text| text.parse().ok());
        assert_eq!(decimal(&text), plain, "{text:?}");
    }
    let too_large = i32::read("queueId", Some(b"2147483648"));
    assert_eq!(too_large.unwrap_err().field(), "queueId");
}

#[test]
fn only_true_is_true() {
    for (text, truth) in [("true", true), ("TRUE", true), ("1", false), ("yes", false)] {
        assert_eq!(bool::read("order", Some(text.as_bytes())), Ok(truth));
    }
    assert_eq!(bool::read("order", None), Ok(false));
    assert_eq!(Option::<bool>::read("order", None), Ok(None));
}

#[test]
fn an_end_of_a_transaction_is_read_without_its_topic() {
    let header = EndTransactionHeader {
        producer_group: "p",
        queue_offset: 3,
        log_offset: 14_695,
        decision: 8,
        from_check: true,
        msg_id: Some("7F00"),
        transaction_id: None,
    };
    let command = header.fill(Command::request(request::END_TRANSACTION));
    assert_eq!(command.field("commitOrRollback"), Some("8"));
    let bytes = command.to_bytes();
    let mut decoder = Decoder::new();
    let frame = decoder.decode(&bytes).unwrap();
    assert_eq!(EndTransactionHeader::read(&frame), Ok(header));
}
