//! mqadmin's commands, and what of their output is compared.
//!
//! `testdata/mqadmin/<release>/<name>.txt` is what a command printed against Apache 5.3.3, masked; it is written anew
//! with `CONFORMANCE_TARGET=apache CONFORMANCE_RECORD=1`. Where Posthouse prints something else on purpose, its own text
//! is in `<name>.posthouse.txt`, and `testdata/deviations.md` says why; `CONFORMANCE_RECORD=1` alone writes these anew.

mod commands;

use std::collections::BTreeSet;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::clients::Client;
use crate::servers::{Server, apache_stands_in};
use crate::toolchain::Release;
use crate::{home, workshop};

use Compare::{Keys, Lines, Shape, Sorted, SortedShape};
use commands::{COMMANDS, NOT_RUN};

/// How much of a command's output counts.
#[derive(Clone, Copy, PartialEq)]
enum Compare {
    /// Every line, with times, addresses, ids and sizes masked.
    Lines,
    /// The same, in any order behind the first line: Apache prints hash tables.
    Sorted,
    /// The shape alone: every number is masked.
    Shape,
    /// The same, in any order behind the first line.
    SortedShape,
    /// The names in front of a colon or an equals sign, in any order.
    Keys,
}

/// What `updateTopicList` and `updateSubGroupList` read.
const TOPICS: &str = r#"[{"topicName":"AdmListed","readQueueNums":2,"writeQueueNums":3,"perm":6,"topicFilterType":"SINGLE_TAG","attributes":{"+message.type":"DELAY"}}]"#;
const GROUPS: &str = r#"[{"groupName":"AdmListedGroup","consumeEnable":true,"consumeBroadcastEnable":false,"retryQueueNums":2,"retryMaxTimes":3}]"#;

/// Runs all commands and returns the names of those whose output is not as recorded, with both texts.
pub fn differences(server: &Server, release: Release, tool: &Client) -> Vec<String> {
    let target = if apache_stands_in() {
        "apache"
    } else {
        "posthouse"
    };
    let sent = tool.play("holder", &[("target", target)]);
    let third = sent.iter().find(|event| event["n"] == 2).unwrap();
    let offset_id = third["offsetMsgId"].as_str().unwrap();
    let nothing = format!("{}{}", &offset_id[..24], "FFFFFFFF");
    let file = |name: &str, text: &str| {
        let path = workshop().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (topics, groups) = (file("topics.json", TOPICS), file("groups.json", GROUPS));
    let mut different = Vec::new();
    for &(name, arguments, compare, only_5) in COMMANDS {
        if only_5 && release == Release::V4 {
            continue;
        }
        let arguments = match release {
            // The 4.9 tool finds the topic in the id, and ends its JVM at an option that it does not know.
            Release::V4 if name.starts_with("queryMsgById") => {
                arguments.replace("-t AdminTopic ", "")
            }
            _ => arguments.to_owned(),
        };
        let words = arguments.split(' ').map(|word| match word {
            "NS" => server.namesrv.as_str(),
            "BROKER" => server.broker.as_deref().unwrap(),
            "UNIQUE" => third["msgId"].as_str().unwrap(),
            "OFFSET" => offset_id,
            "NONE" => &nothing,
            "TOPICS" => &topics,
            "GROUPS" => &groups,
            word => word,
        });
        let output = run(tool, &words.collect::<Vec<_>>().join("\n"));
        different.extend(judge(release, name, &masked(&output, compare)));
    }
    different
}

/// Runs one command; its words are separated by line breaks.
fn run(tool: &Client, words: &str) -> String {
    let events = tool.play("mqadmin", &[("arguments", &BASE64_STANDARD.encode(words))]);
    let text = events.iter().find_map(|event| event["text"].as_str());
    text.unwrap().to_owned()
}

/// The commands that a tool lists, and that are neither run nor have a reason why not.
pub fn forgotten(tool: &Client) -> Vec<String> {
    let run_here: BTreeSet<&str> = (COMMANDS.iter())
        .map(|&(_, arguments, ..)| arguments.split(' ').next().unwrap())
        .chain(NOT_RUN.iter().map(|&(name, _)| name))
        .collect();
    let printed = run(tool, "");
    // `The most commonly used mqadmin commands are:`, then one a line, indented.
    let listed = printed.lines().filter(|line| line.starts_with("   "));
    let names: Vec<&str> = listed
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(
        names.contains(&"topicList"),
        "no list of commands: {printed}"
    );
    let names = names.into_iter().filter(|name| !run_here.contains(name));
    names.map(str::to_owned).collect()
}

fn judge(release: Release, name: &str, printed: &str) -> Option<String> {
    let folder = home().join("testdata/mqadmin").join(release.version());
    let apache = folder.join(format!("{name}.txt"));
    if std::env::var_os("CONFORMANCE_RECORD").is_some() && apache_stands_in() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&apache, printed).unwrap();
        return None;
    }
    let own = folder.join(format!("{name}.posthouse.txt"));
    if std::env::var_os("CONFORMANCE_RECORD").is_some() {
        let _ = std::fs::remove_file(&own);
        if std::fs::read_to_string(&apache).unwrap_or_default() != printed {
            std::fs::write(&own, printed).unwrap();
        }
        return None;
    }
    let expected = if own.exists() && !apache_stands_in() {
        &own
    } else {
        &apache
    };
    let expected = std::fs::read_to_string(expected).unwrap_or_default();
    (expected != printed)
        .then(|| format!("=== {name}\n--- expected\n{expected}\n--- printed\n{printed}"))
}

/// The commands whose text is not Apache's, as the files in `testdata` say.
pub fn deviating() -> Vec<String> {
    let files = |release: Release| -> Vec<PathBuf> {
        let folder = home().join("testdata/mqadmin").join(release.version());
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    };
    let all = files(Release::V4).into_iter().chain(files(Release::V5));
    all.filter_map(|file| {
        let name = file.file_name()?.to_str()?.strip_suffix(".posthouse.txt")?;
        Some(name.to_owned())
    })
    .collect()
}

fn masked(output: &str, compare: Compare) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in output.lines() {
        // Frames of a stack trace say where in mqadmin, not what.
        if line.starts_with("\tat ") || line.starts_with("\t... ") {
            continue;
        }
        // A retry queue's offset is committed when its first held pull ends, 15 s after the start: there or not.
        if line.starts_with("%RETRY%") && line.contains(" N/A") {
            continue;
        }
        let mut line = mask(line);
        match compare {
            Keys => line = keys(&line),
            Shape | SortedShape => {
                line = line
                    .replace(|c: char| c.is_ascii_digit(), "9")
                    .replace("99", "9")
                    .replace("99", "9")
            }
            Lines | Sorted => {}
        }
        lines.push(with_sorted_properties(
            &line.split_whitespace().collect::<Vec<_>>().join(" "),
        ));
    }
    if matches!(compare, Sorted | SortedShape | Keys) && lines.len() > 1 {
        lines[1..].sort();
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.join("\n") + "\n"
}

/// Properties are a hash table: one more of them may print all in another order.
fn with_sorted_properties(line: &str) -> String {
    let Some(from) = ["properties={", "Properties: {"]
        .iter()
        .find_map(|name| Some(line.find(name)? + name.len()))
    else {
        return line.to_owned();
    };
    let to = line[from..]
        .find('}')
        .map_or(line.len(), |length| from + length);
    let mut properties: Vec<&str> = line[from..to].split(", ").collect();
    properties.sort_unstable();
    format!("{}{}{}", &line[..from], properties.join(", "), &line[to..])
}

/// `key : value` without the value; a store's path in a key is masked.
fn keys(line: &str) -> String {
    let key = line.split_once(": ").or_else(|| line.split_once("=  "));
    let key = key.map_or(line, |(key, _)| key);
    match key.find("_/") {
        Some(path) => format!("{}_<path>", &key[..path]),
        None => key.trim().to_owned(),
    }
}

/// Numbers that differ from run to run although nothing else does; each is masked behind its name.
const VOLATILE: [&str; 6] = [
    "originalMsgId=",
    "storeSize=",
    "commitLogOffset=",
    "bodyCRC=",
    "CommitLog Offset: ",
    "Message Body Path: ",
];

/// Replaces times, addresses, ids and sizes; takes out the checksum property, which Apache writes only if told to.
fn mask(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    'next: while let Some(first) = rest.chars().next() {
        // An object of a JVM: its class says what it is, what follows says where.
        if let Some(word) = object(rest) {
            let (class, _) = word.split_once(['@', '/']).unwrap_or((word, ""));
            out.push_str(class.trim_end_matches(|c: char| c.is_ascii_digit()));
            out.push_str("@<object>");
            rest = &rest[word.len()..];
            continue;
        }
        for name in VOLATILE {
            if let Some(value) = rest.strip_prefix(name) {
                let value = value.trim_start();
                let end = value.find([',', ' ']).unwrap_or(value.len());
                out.push_str(name);
                out.push_str("<n>");
                rest = &value[end..];
                continue 'next;
            }
        }
        if let Some(value) = rest.strip_prefix("__CRC32#=") {
            let end = value.find([',', '}']).unwrap_or(value.len());
            rest = value[end..].strip_prefix(", ").unwrap_or(&value[end..]);
            if rest.starts_with('}') && out.ends_with(", ") {
                out.truncate(out.len() - 2);
            }
            continue;
        }
        if let Some(length) = date_time(rest) {
            out.push_str("<time>");
            rest = &rest[length..];
            continue;
        }
        let word = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || ".:".contains(c)))
            .unwrap_or(rest.len());
        if word == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.push_str(class(&rest[..word]));
            rest = &rest[word..];
        }
    }
    out
}

/// A leading `package.Class@1f2e`, or the name of a lambda.
fn object(text: &str) -> Option<&str> {
    let word = text.split([' ', ',', ']']).next()?;
    let (class, place) = word.split_once('@')?;
    let hex = !place.is_empty() && place.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && (class.contains('.') || class.contains('$'))).then_some(word)
}

/// What stands for a word: itself, unless it is volatile.
fn class(word: &str) -> &str {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let upper_hex = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
    };
    match word {
        _ if word.starts_with("127.0.0.1:") => "<address>",
        _ if (word.len() == 32 || word.len() == 56) && upper_hex(word) => "<id>",
        _ if word.len() == 13 && digits(word) => "<ms>",
        _ if word.split_once('.').is_some_and(|(a, b)| {
            digits(a) && b.bytes().all(|b| b.is_ascii_digit() || b == b'E')
        }) =>
        {
            "<f>"
        }
        _ => word,
    }
}

/// The length of a leading `2026-11-24 13:59:27`, and of `,214` behind it.
fn date_time(text: &str) -> Option<usize> {
    const PATTERN: &[u8] = b"dddd-dd-dd dd:dd:dd";
    let matches = |pattern: &[u8], text: &[u8]| {
        text.len() >= pattern.len()
            && pattern.iter().zip(text).all(|(p, b)| {
                if *p == b'd' {
                    b.is_ascii_digit()
                } else {
                    p == b
                }
            })
    };
    let bytes = text.as_bytes();
    if !matches(PATTERN, bytes) {
        return None;
    }
    let with_millis = matches(b",ddd", &bytes[PATTERN.len()..]);
    Some(PATTERN.len() + if with_millis { 4 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_from_run_to_run_is_masked() {
        let line = "broker-a   0     2   2026-11-24 13:59:27,223 at 127.0.0.1:10911";
        assert_eq!(masked(line, Lines), "broker-a 0 2 <time> at <address>\n");
        let line =
            "[storeSize=257, queueOffset=1, commitLogOffset=88, bornTimestamp=1795528767226]";
        assert_eq!(
            masked(line, Lines),
            "[storeSize=<n>, queueOffset=1, commitLogOffset=<n>, bornTimestamp=<ms>]\n"
        );
        assert_eq!(masked("{A=1, __CRC32#=77, B=2}", Lines), "{A=1, B=2}\n");
        assert_eq!(masked("{A=1, __CRC32#=77}", Lines), "{A=1}\n");
        assert_eq!(
            masked("x properties={B=1, A=2}, y", Lines),
            "x properties={A=2, B=1}, y\n"
        );
        assert_eq!(masked("getTps : 0.1 0.2", Keys), "getTps\n");
        assert_eq!(masked("a 0.45 117 x", Shape), masked("a 7.10 3 x", Shape));
    }
}
