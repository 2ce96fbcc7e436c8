//! The key-value table and its file: what lasts, what is put aside, what is read leniently.

use super::*;

#[test]
fn what_was_persisted_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("namesrv/kvConfig.json");
    let kv = Kv::open(Some(path.clone()));
    kv.put(ORDER_TOPIC_CONFIG, "T", "broker-a:4;broker-b:4")
        .unwrap();
    kv.put("N", "k", "\"v\"\n").unwrap();
    kv.put("N", "gone", "x").unwrap();
    kv.delete("N", "gone");
    kv.persist();
    assert_eq!(kv.trouble(), None);
    let kv = Kv::open(Some(path.clone()));
    assert_eq!(
        kv.find(ORDER_TOPIC_CONFIG, "T").unwrap(),
        "broker-a:4;broker-b:4"
    );
    assert_eq!(kv.find("N", "k").unwrap(), "\"v\"\n");
    assert_eq!(kv.find("N", "gone"), None);
    assert!(!file::with_suffix(&path, ".tmp").exists());
}

#[test]
fn the_file_and_the_answer_have_apaches_shape() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kvConfig.json");
    let kv = Kv::open(Some(path.clone()));
    kv.put("N", "k", "v").unwrap();
    kv.persist();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, r#"{"configTable":{"N":{"k":"v"}}}"#);
    assert_eq!(kv.list("N").unwrap(), br#"{"table":{"k":"v"}}"#);
    kv.delete("N", "k");
    assert_eq!(kv.list("N").unwrap(), br#"{"table":{}}"#);
    assert_eq!(kv.list("M"), None);
}

#[test]
fn a_broken_file_is_put_aside_and_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kvConfig.json");
    std::fs::write(&path, "{\"configTable\":{\"N\":{\"k\"").unwrap();
    let kv = Kv::open(Some(path.clone()));
    assert_eq!(kv.find("N", "k"), None);
    kv.put("N", "k", "new").unwrap();
    kv.persist();
    let aside = std::fs::read_to_string(file::with_suffix(&path, ".bad")).unwrap();
    assert!(aside.starts_with("{\"configTable\""));
    assert_eq!(Kv::open(Some(path)).find("N", "k").unwrap(), "new");
}

#[test]
fn a_table_that_cannot_be_written_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let blocker = folder.path().join("file");
    std::fs::write(&blocker, "").unwrap();
    let kv = Kv::open(Some(blocker.join("kvConfig.json")));
    kv.put("N", "k", "v").unwrap();
    kv.persist();
    assert!(kv.trouble().unwrap().contains("kvConfig.json"));
    assert_eq!(kv.find("N", "k").unwrap(), "v");
}

#[test]
fn a_file_is_read_leniently() {
    let kept = br#"{"configTable":{"N":{"a":1,"b":true,"c":null,"d":"x"},"M":7},"more":0}"#;
    let table = read(kept).unwrap();
    let keys: Vec<_> = table["N"].iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(keys, ["a=1", "b=true", "d=x"]);
    assert!(table["M"].is_empty());
    assert_eq!(read(b" \n"), Some(Table::new()));
    assert_eq!(read(b"[]"), None);
}

/// Whatever lies in the file, reading it ends, and what is understood is written in the same form.
#[test]
fn fuzz_any_file_is_read_or_put_aside() {
    let good = br#"{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"broker-a:4"},"N":{"a":"\u0041"}}}"#;
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut understood, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = good.to_vec();
        for _ in 0..rng.usize(0..4) {
            let at = rng.usize(..bytes.len());
            match rng.u8(0..3) {
                0 => bytes[at] = rng.u8(..),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, rng.choice(*b"{}[]\",:0\\").unwrap()),
            }
        }
        match read(&bytes) {
            Some(table) => {
                let again = serde_json::to_vec(&Kept {
                    config_table: table.clone(),
                })
                .unwrap();
                assert_eq!(read(&again), Some(table));
                understood += 1;
            }
            None => refused += 1,
        }
    }
    assert!(
        understood > 1000 && refused > 1000,
        "{understood} {refused}"
    );
}

#[test]
fn a_full_table_takes_no_more_and_keeps_what_it_has() {
    let kv = Kv::open(None);
    let large = "v".repeat(MAX_BYTES / 2);
    kv.put("N", "one", &large).unwrap();
    assert_eq!(kv.put("N", "two", &large), Err(Full));
    assert_eq!(kv.find("N", "two"), None);
    kv.delete("N", "one");
    kv.put("N", "two", &large).unwrap();
}
