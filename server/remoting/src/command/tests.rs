use super::*;
use crate::code::request;

/// A JSON frame and a binary one, computed by hand from the formats' descriptions.
#[test]
fn the_vectors_of_the_protocol_document_hold() {
    let header = br#"{"code":105,"extFields":{"topic":"T"},"flag":0,"language":"JAVA","opaque":7,"serializeTypeCurrentRPC":"JSON","version":409}"#;
    assert_eq!(header.len(), 123);
    let mut frame = vec![0, 0, 0, 0x7f, 0, 0, 0, 0x7b];
    frame.extend(header);
    let command = Command::decode(&frame).unwrap();
    let mut route = Command::request(request::GET_ROUTEINFO_BY_TOPIC).with("topic", "T");
    (route.opaque, route.version) = (7, 409);
    assert_eq!(command, route);
    assert_eq!(Command::decode(&route.to_bytes()).unwrap(), route);

    let binary = b"\x00\x00\x00\x25\x01\x00\x00\x21\x00\x22\x00\x01\x99\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0c\x00\x05topic\x00\x00\x00\x01T";
    let mut heartbeat = Command::request(request::HEART_BEAT).with("topic", "T");
    (heartbeat.opaque, heartbeat.version) = (7, 409);
    heartbeat.serialize = Serialize::Binary;
    assert_eq!(heartbeat.to_bytes(), binary);
    assert_eq!(Command::decode(binary).unwrap(), heartbeat);
}

#[test]
fn an_owned_command_survives_both_forms() {
    for serialize in [Serialize::Json, Serialize::Binary] {
        let command = Command {
            code: -3,
            language: Language::NodeJs,
            version: 317,
            opaque: i32::MIN,
            flag: 2,
            remark: Some("nein\u{7}, \"ä\"".to_owned()),
            ext: Some(vec![("k\"\\".to_owned(), "v\u{0}\u{1f}".to_owned())]),
            body: vec![0, 1, 2],
            serialize,
        };
        assert_eq!(Command::decode(&command.to_bytes()).unwrap(), command);
    }
}

#[test]
fn a_oneway_request_says_so() {
    let command = Command::request(15).oneway();
    let mut decoder = Decoder::new();
    let bytes = command.to_bytes();
    let frame = decoder.decode(&bytes).unwrap();
    assert!(frame.is_oneway() && !frame.is_response());
    assert!(Command::response(3, 0).is_response());
}
