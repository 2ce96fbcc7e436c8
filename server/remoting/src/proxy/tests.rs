use super::{Greeting, Malformed, SIGNATURE, parse};

fn proxied(address: &str) -> Greeting {
    Greeting::Proxied(Some(address.parse().unwrap()))
}

#[test]
fn version_1_names_the_client() {
    let line = b"PROXY TCP4 10.1.2.3 127.0.0.1 40000 10911\r\nrest";
    assert_eq!(
        parse(line),
        Ok(Some((proxied("10.1.2.3:40000"), line.len() - 4)))
    );
    let line = b"PROXY TCP6 2001:db8::1 ::1 40000 10911\r\n";
    assert_eq!(
        parse(line),
        Ok(Some((proxied("[2001:db8::1]:40000"), line.len())))
    );
    let line = b"PROXY UNKNOWN\r\n";
    assert_eq!(parse(line), Ok(Some((Greeting::Proxied(None), line.len()))));
}

#[test]
fn version_1_needs_its_whole_line_but_not_forever() {
    assert_eq!(parse(b"PROXY TCP4 10.1.2.3"), Ok(None));
    let mut long = b"PROXY TCP4 ".to_vec();
    long.resize(107, b'1');
    assert_eq!(parse(&long), Err(Malformed));
    assert_eq!(
        parse(b"PROXY TCP4 nowhere 127.0.0.1 1 2\r\n"),
        Err(Malformed)
    );
    assert_eq!(
        parse(b"PROXY TCP6 10.1.2.3 127.0.0.1 1 2\r\n"),
        Err(Malformed)
    );
}

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend((block.len() as u16).to_be_bytes());
    bytes.extend(block);
    bytes
}

#[test]
fn version_2_names_the_client_and_skips_what_it_adds() {
    let mut block = vec![10, 1, 2, 3, 127, 0, 0, 1, 0x9C, 0x40, 0x2A, 0x9F];
    block.extend(b"\x04\0\x03abc");
    let bytes = v2(0x21, 0x11, &block);
    assert_eq!(
        parse(&bytes),
        Ok(Some((proxied("10.1.2.3:40000"), bytes.len())))
    );
    let mut block = [0u8; 36];
    block[15] = 1;
    block[33] = 9;
    let bytes = v2(0x21, 0x21, &block);
    assert_eq!(parse(&bytes), Ok(Some((proxied("[::1]:9"), bytes.len()))));
    let bytes = v2(0x20, 0, b"");
    assert_eq!(
        parse(&bytes),
        Ok(Some((Greeting::Proxied(None), bytes.len())))
    );
}

#[test]
fn version_2_is_not_believed_when_it_is_cut_or_odd() {
    let whole = v2(0x21, 0x11, &[0; 12]);
    for length in 12..whole.len() {
        assert_eq!(parse(&whole[..length]), Ok(None));
    }
    assert_eq!(parse(&v2(0x21, 0x11, &[0; 4])), Err(Malformed));
    assert_eq!(parse(&v2(0x31, 0x11, &[0; 12])), Err(Malformed));
    assert_eq!(parse(&v2(0x22, 0x11, &[0; 12])), Err(Malformed));
    assert_eq!(parse(&v2(0x21, 0x11, &[0; 5000])), Err(Malformed));
}

#[test]
fn nothing_is_judged_before_twelve_bytes() {
    assert_eq!(parse(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"), Ok(None));
    assert_eq!(
        parse(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\x01"),
        Err(Malformed)
    );
    assert_eq!(
        parse(b"\0\0\0\x20\0\0\0\x0a{}ab"),
        Ok(Some((Greeting::Plain, 0)))
    );
}
