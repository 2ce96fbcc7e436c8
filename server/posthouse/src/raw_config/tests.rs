use super::*;

fn raw(text: &str) -> Result<RawConfig, Error> {
    RawConfig::parse(text.as_bytes(), "broker.conf", false)
}

fn problem(text: &str) -> String {
    raw(text).unwrap_err().to_string()
}

#[test]
fn an_unknown_key_names_the_nearest() {
    assert_eq!(
        problem("brokerNam=a"),
        "broker.conf:1: there is no key brokerNam; the nearest is brokerName"
    );
}

#[test]
fn an_unknown_key_is_a_note_when_lenient() {
    let raw = RawConfig::parse(b"brokerNam=a", "broker.conf", true).unwrap();
    assert_eq!(
        raw.notes,
        ["broker.conf:1: there is no key brokerNam; the nearest is brokerName; ignored"]
    );
}

#[test]
fn a_wrong_value_says_what_is_allowed() {
    for (text, what) in [
        (
            "brokerRole=SYNC_MASTR",
            "allowed are ASYNC_MASTER, SYNC_MASTER, SLAVE",
        ),
        ("autoCreateTopicEnable=yes", "allowed are true and false"),
        (
            "fileReservedTime=two",
            "allowed are whole numbers from 1 to 876000",
        ),
        (
            "listenPort=70000",
            "allowed are whole numbers from 0 to 65535",
        ),
        (
            "deleteWhen=4am",
            "allowed are hours from 00 to 23, separated by ;",
        ),
        (
            "brokerIP1=here",
            "allowed is an IP address, such as 192.168.0.10",
        ),
        (
            "namesrvAddr=a:1;b",
            "b is not host:port; allowed are addresses separated by ;",
        ),
        (
            "sendMessageThreadPoolNums=many",
            "allowed are whole numbers from -2147483648 to 2147483647",
        ),
    ] {
        assert_eq!(problem(text), format!("broker.conf:1: {text}: {what}"));
    }
    assert!(problem("brokerName=a.example.com").contains("not a name that topics may contain"));
}

#[test]
fn all_problems_are_told_at_once() {
    assert_eq!(
        problem("a=1\nbrokerName=ok\nflushDiskType=x")
            .lines()
            .count(),
        2
    );
}

#[test]
fn a_key_without_effect_is_accepted_with_one_line() {
    let raw = raw("sendMessageThreadPoolNums=128").unwrap();
    assert_eq!(
        raw.notes,
        [
            "broker.conf:1: sendMessageThreadPoolNums has no effect: there are no thread pools here; see ioThreads"
        ]
    );
    assert_eq!(
        raw.quiet().collect::<Vec<_>>(),
        [("sendMessageThreadPoolNums", "128")]
    );
}

#[test]
fn a_protection_that_does_not_exist_is_never_accepted_in_silence() {
    for text in [
        "aclEnable=true",
        "authenticationEnabled=TRUE",
        "enableDLegerCommitLog=true",
        "minInSyncReplicas=2",
    ] {
        assert!(raw(text).is_err(), "{text}");
    }
    assert!(raw("aclEnable=false\nminInSyncReplicas=1").is_ok());
}

#[test]
fn blanks_around_numbers_do_not_matter() {
    assert_eq!(
        raw("fileReservedTime = 48 ")
            .unwrap()
            .number("fileReservedTime"),
        48
    );
}

#[test]
fn an_old_spelling_sets_the_proper_key() {
    let raw = raw("mapedFileSizeCommitLog=1048576").unwrap();
    assert_eq!(raw.number("mappedFileSizeCommitLog"), 1_048_576);
}

#[test]
fn every_default_is_a_value_its_kind_allows() {
    for key in keys::EFFECTIVE {
        let may_be_unset = key.default.is_empty();
        assert!(
            may_be_unset || check(key.kind, key.default).is_ok(),
            "{}",
            key.name
        );
    }
}

#[test]
fn every_key_of_apaches_classes_is_accepted_with_its_own_default() {
    let table = include_str!("../../testdata/apache-keys.tsv");
    for row in table.lines().filter(|row| !row.starts_with('#')) {
        let cells: Vec<&str> = row.split('\t').collect();
        let default = cells[3..].iter().rev().find(|cell| **cell != "-").unwrap();
        let found_at_start = default.starts_with('<') || *default == "\"\"";
        let foreign_port = cells[1] == "listenPort" || cells[1] == "bindAddress";
        if found_at_start || foreign_port {
            continue;
        }
        let text = properties::write(cells[1], default);
        assert!(raw(&text).is_ok(), "{text}: {}", problem(&text));
    }
}

/// Fuzz function: any bytes give a configuration or an error that names a place.
fn fuzz_config(bytes: &[u8]) {
    if let Err(error) = RawConfig::parse(bytes, "f", false) {
        assert!(error.to_string().starts_with("f:"), "{error}");
    }
}

#[test]
fn any_file_is_read_or_refused_with_a_place() {
    let mut rng = fastrand::Rng::with_seed(5);
    let words: Vec<&str> = keys::names()
        .chain([
            "=",
            ":",
            "\n",
            "\\\n",
            " ",
            "true",
            "-1",
            "\\u00",
            "é",
            "#",
            "99999999999999999999",
        ])
        .collect();
    for _ in 0..400 {
        let mut file = Vec::new();
        for _ in 0..rng.usize(0..12) {
            file.extend_from_slice(words[rng.usize(..words.len())].as_bytes());
            if rng.u8(..8) == 0 {
                file.push(rng.u8(..));
            }
        }
        fuzz_config(&file);
    }
}

#[test]
fn a_secret_is_not_shown() {
    let file = b"accessKey=somebody\nsecretKey=tell-nobody";
    let config = RawConfig::parse(file, "f", false).unwrap();
    assert_eq!(config.written("secretKey"), Some("tell-nobody"));
    let shown = format!("{config:?}");
    assert!(
        shown.contains("somebody") && !shown.contains("tell-nobody"),
        "{shown}"
    );
}
