use super::*;
use crate::problem::Problem;

fn detail(problem: &Problem) -> (String, String) {
    let shown = problem.to_json(None);
    let error = &shown["errors"][0];
    let text = |name| error[name].as_str().unwrap_or_default().to_owned();
    (text("pointer"), text("detail"))
}

fn wrong(text: impl AsRef<[u8]>) -> (String, String) {
    let problem = parse(text.as_ref()).unwrap_err();
    assert_eq!(problem.kind().slug, "malformed-json");
    detail(&problem)
}

#[test]
fn what_is_wrong_is_named_by_place_and_pointer() {
    for (text, pointer, what) in [
        (
            "",
            "",
            "line 1, column 1: the text ends where a value was expected",
        ),
        (
            "{\"a\":1,}",
            "",
            "line 1, column 8: a name in quotes was expected",
        ),
        (
            "{\"a\":[1,\n2 3]}",
            "/a",
            "line 2, column 3: \",\" or \"]\" was expected",
        ),
        (
            "{\"a\":{\"b\":NaN}}",
            "/a/b",
            "line 1, column 11: a JSON value was expected",
        ),
        (
            "{\"a\":1} x",
            "",
            "line 1, column 9: nothing may follow the value",
        ),
        (
            "{\"a/b\":1,\"a/b\":2}",
            "/a~1b",
            "line 1, column 10: the name is there twice",
        ),
        (
            "{\"a\":1,\"\\u0061\":2}",
            "/a",
            "line 1, column 8: the name is there twice",
        ),
        (
            "\"\\ud800x\"",
            "",
            "line 1, column 8: half of a surrogate pair",
        ),
        (
            "\"a\tb\"",
            "",
            "line 1, column 3: control characters are written as \\u00xx",
        ),
        ("01", "", "line 1, column 2: nothing may follow the value"),
        ("-", "", "line 1, column 2: a digit was expected"),
        ("1.", "", "line 1, column 3: a digit was expected"),
        ("tru", "", "line 1, column 1: a JSON value was expected"),
        (
            "[",
            "/0",
            "line 1, column 2: the text ends where a value was expected",
        ),
        (
            "\"abc",
            "",
            "line 1, column 5: the text ends inside a string",
        ),
        ("\"\\x\"", "", "line 1, column 2: no escape begins so"),
    ] {
        let found = wrong(text);
        assert_eq!(found, (pointer.to_owned(), what.to_owned()), "{text}");
    }
    assert_eq!(wrong(b"\"\xff\"").1, "line 1, column 2: this is not UTF-8");
}

#[test]
fn many_names_are_compared_too() {
    let members: Vec<String> = (0..100).map(|n| format!("\"k{n}\":{n}")).collect();
    let text = format!("{{{}}}", members.join(","));
    assert!(parse(text.as_bytes()).is_ok());
    let text = format!("{{{},\"k7\":0}}", members.join(","));
    assert_eq!(wrong(&text).0, "/k7");
}

#[test]
fn depth_has_an_end() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(nested(DEPTH).as_bytes()).is_ok());
    let (_, what) = wrong(nested(DEPTH + 1));
    assert!(
        what.ends_with("values are nested more than 64 deep"),
        "{what}"
    );
    let (_, what) = wrong("[".repeat(1_000_000));
    assert!(
        what.ends_with("values are nested more than 64 deep"),
        "{what}"
    );
}

#[test]
fn values_are_read_where_they_lie() {
    let text = br#" { "a" : "x\n\u00e4\ud83d\ude00\"" , "b":[1, {"c":[]},"]"] , "n":null,"t":true, "e":{} } "#;
    let root = parse(text).unwrap();
    let members: Vec<_> = root.members().unwrap().collect();
    let names: Vec<_> = members.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["a", "b", "n", "t", "e"]);
    assert_eq!(members[0].1.as_str().unwrap(), "x\nä😀\"");
    let items: Vec<_> = members[1].1.items().unwrap().map(Value::raw).collect();
    assert_eq!(items, ["1", "{\"c\":[]}", "\"]\""]);
    assert_eq!(members[1].1.compact(), "[1,{\"c\":[]},\"]\"]");
    assert_eq!(members[2].1.kind(), Kind::Null);
    assert_eq!(members[3].1.as_bool(), Some(true));
    assert_eq!(members[4].1.members().unwrap().count(), 0);
}

#[test]
fn numbers_that_count_are_whole() {
    for (text, number) in [
        ("7", Some(7)),
        ("18446744073709551615", Some(u64::MAX)),
        ("1.0", Some(1)),
        ("1e3", Some(1_000)),
        ("-1", None),
        ("1.5", None),
        ("1e30", None),
        ("true", None),
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap().as_u64(), number, "{text}");
    }
}

#[test]
fn white_space_inside_strings_stays() {
    let compact = |text: &str| parse(text.as_bytes()).unwrap().compact().into_owned();
    assert_eq!(
        compact("{ \"a b\" : \" \\\" , \" }"),
        "{\"a b\":\" \\\" , \"}"
    );
    assert_eq!(compact("[1,2]"), "[1,2]");
}

#[test]
fn what_takes_long_to_read_is_worth_more_effort() {
    let is_quick = |text: &str| {
        assert!(parse(text.as_bytes()).is_ok());
        is_quick(text.as_bytes())
    };
    let message = format!("{{\"body\":\"{}\",\"tag\":\"paid\"}}", "x".repeat(1024));
    let batch = |count: usize| format!("{{\"messages\":[{}]}}", vec![&*message; count].join(","));
    assert!(is_quick(&batch(100)));
    assert!(!is_quick(&batch(200)));
    let array = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
    for item in ["1", "{}", "\"\"", "[[]]", "{\"a\":null}", " true\n"] {
        assert!(is_quick(&array(item, 100)), "{item}");
        assert!(!is_quick(&array(item, 4_000)), "{item}");
    }
    for (few, many) in [
        (
            format!("\"{}\"", "\\n".repeat(1_000)),
            format!("\"{}\"", "\\n".repeat(40_000)),
        ),
        ("1".repeat(1_000), "1".repeat(40_000)),
        (
            format!("{}1", " ".repeat(1_000)),
            format!("1{}", "\n".repeat(40_000)),
        ),
    ] {
        assert!(is_quick(&few));
        assert!(!is_quick(&many));
    }
    // What is wrong early is told at once, whatever follows.
    assert!(super::is_quick(
        format!("[1,,{}]", "1,".repeat(40_000)).as_bytes()
    ));
}

#[test]
fn what_is_read_on_the_way_is_told_where_it_is_wrong() {
    let read = |text: &str| {
        let mut read = Vec::new();
        let ended = walk(text.as_bytes(), Effort::Any, |walk| {
            walk.members(|walk, name| {
                assert_eq!(walk.kind(), Kind::Array, "{name}");
                walk.items(|walk, place| {
                    read.push(format!("{name} {place} {}", walk.value()?.raw()));
                    Ok(())
                })
            })
        });
        (read, ended.map_err(|problem| detail(&problem)).err())
    };
    let all = ["a 0 1", "a 1 {\"c\":[]}", "b\n 0 \"x\""].map(str::to_owned);
    let (found, wrong) = read(r#"{"a":[1, {"c":[]}],"b\n":["x"]}"#);
    assert_eq!((&found[..], wrong), (&all[..], None));
    let (found, wrong) = read(r#"{"a":[1, {"c":[]}],"b\n":["x"],"a":[}"#);
    assert_eq!(&found[..], &all[..]);
    assert_eq!(
        wrong.unwrap().1,
        "line 1, column 32: the name is there twice"
    );
    let (_, wrong) = read(r#"{"a":[1,{"c":tru}]}"#);
    assert_eq!(wrong.unwrap().0, "/a/1/c");
}

/// Every text of up to five of these pieces: we and serde_json agree on what is JSON and what it means.
#[test]
fn another_parser_agrees() {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"\\u0062\\\\\"",
        "-1.5e-3",
        "0",
        "null",
        " ",
    ];
    let count = pieces.len();
    for mut number in 0..count.pow(5) {
        let mut text = String::new();
        while number > 0 {
            text.push_str(pieces[number % count]);
            number /= count;
        }
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        match (parse(text.as_bytes()), theirs) {
            (Ok(ours), Ok(theirs)) => {
                let again: serde_json::Value = serde_json::from_str(&ours.compact()).unwrap();
                assert_eq!(again, theirs, "{text}");
                if let (Some(items), Some(array)) = (ours.items(), theirs.as_array()) {
                    assert_eq!(items.count(), array.len(), "{text}");
                }
                if let (Some(members), Some(object)) = (ours.members(), theirs.as_object()) {
                    assert_eq!(members.count(), object.len(), "{text}");
                }
            }
            (Err(_), Err(_)) => {}
            (Err(problem), Ok(_)) => {
                assert!(detail(&problem).1.ends_with("twice"), "{text}: {problem:?}");
            }
            (Ok(_), Err(error)) => panic!("{text}: {error}"),
        }
    }
}

#[test]
fn plain_text_ends_at_the_first_byte_that_is_not() {
    for stop in [b'"', b'\\', 0, 0x1f] {
        for at in 0..20 {
            let mut bytes = [0x7f_u8, 0xff, b' ', b'!', b'#', b'[', b']'].repeat(3);
            bytes[at] = stop;
            assert_eq!(plain(&bytes), at, "{stop}");
        }
    }
    assert_eq!(plain(&[0xff; 19]), 19);
    // Long texts are looked at in blocks.
    for length in 0..200 {
        let mut bytes = vec![b' '; length];
        assert_eq!(plain(&bytes), length);
        for at in 0..length {
            bytes[at] = b'"';
            assert_eq!(plain(&bytes), at, "{length}");
            bytes[at] = 0xff;
        }
    }
}

#[test]
fn all_faults_are_told_and_the_worst_names_the_answer() {
    let root = At::Root;
    let mut faults = Faults::default();
    faults.unknown(root, "tga", &["tag", "body"]);
    faults.refuse(&crate::problem::INVALID_TAG, root.member("tag"), "no");
    let shown = faults.problem().unwrap().to_json(None);
    assert_eq!(shown["status"], 400);
    assert_eq!(shown["errors"][0]["pointer"], "/tga");
    assert_eq!(
        shown["errors"][0]["detail"],
        "unknown field; did you mean \"tag\"?"
    );
    assert_eq!(shown["errors"].as_array().unwrap().len(), 2);
    faults.refuse(
        &crate::problem::INVALID_TAG,
        root.item(1).member("tag"),
        "no",
    );
    let shown = faults.problem().unwrap().to_json(None);
    assert_eq!(
        (&shown["status"], &shown["errors"][0]["pointer"]),
        (&422.into(), &"/1/tag".into())
    );
    assert!(faults.problem().is_none());
}

#[test]
fn a_name_far_from_all_is_not_guessed() {
    let known = ["tag", "keys", "message_group"];
    assert_eq!(nearest("kyes", &known), Some("keys"));
    assert_eq!(nearest("message_grup", &known), Some("message_group"));
    assert_eq!(nearest("priority", &known), None);
    assert_eq!(nearest("x", &known), None);
}
