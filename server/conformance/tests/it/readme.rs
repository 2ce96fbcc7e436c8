//! The front page's own words: its Java program runs with both clients, and its commands run as they stand.
#![allow(clippy::unwrap_used)] // a test stops at the first surprise

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use conformance::process::Process;
use conformance::toolchain::{self, Release};
use conformance::{servers, workshop};

use crate::{shared, skipped};

/// The fenced blocks of one language, in order.
fn blocks(language: &str) -> Vec<String> {
    let page = std::fs::read_to_string(conformance::home().join("../../README.md")).unwrap();
    let opening = format!("\n```{language}\n");
    let starts = page.split(&opening).skip(1);
    starts
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

fn run_hello(release: Release) {
    if skipped(&["java", "mvn"]) {
        return;
    }
    let folder = workshop().join(format!("readme-{}", release.version()));
    std::fs::create_dir_all(&folder).unwrap();
    let source = folder.join("Hello.java");
    let [program] = &blocks("java")[..] else {
        panic!("one Java program is expected on the front page");
    };
    std::fs::write(&source, program).unwrap();
    // A source file given to `java` is compiled in memory.
    let output = Command::new("java")
        .args(["-XX:TieredStopAtLevel=1", "-cp", &toolchain::java(release)])
        .arg(&source)
        .arg(&shared().namesrv)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.contains(&"SEND_OK"), "{said}{errors}");
    assert!(lines.contains(&"hello"), "{said}{errors}");
}

#[test]
fn the_java_program_greets_with_client_4_9_7() {
    run_hello(Release::V4);
}

#[test]
fn the_java_program_greets_with_client_5_3_3() {
    run_hello(Release::V5);
}

/// Runs the block of `posthouse` commands in order, in a folder of its own, with ports that are free.
#[test]
fn the_commands_run_as_they_stand() {
    if servers::apache_stands_in() {
        return;
    }
    let folder = tempfile::tempdir_in(workshop()).unwrap();
    let (namesrv, broker) = (servers::free_ports(1), servers::free_ports(4) + 2);
    let config = format!("brokerName=broker-a\nlistenPort={broker}\n");
    std::fs::write(folder.path().join("broker.conf"), config).unwrap();

    let commands = blocks("sh").concat();
    let commands = commands
        .lines()
        .filter_map(|line| line.strip_prefix("posthouse "));
    let mut running = Vec::new();
    let mut count = 0;
    for command in commands {
        let command = command.replace(":9876", &format!(":{namesrv}"));
        let stays = ["namesrv ", "broker ", "gateway "]
            .iter()
            .any(|role| command.starts_with(role))
            && !command.ends_with(" -p");
        if stays {
            running.push(start(folder.path(), &command));
        } else {
            run(folder.path(), &command);
        }
        count += 1;
    }
    assert_eq!(
        (count, running.len()),
        (6, 3),
        "the front page has other commands than before"
    );
}

fn posthouse(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(servers::binary());
    command.args(arguments.split(' ')).current_dir(folder);
    command
}

/// Starts one that stays, and waits for its banner.
fn start(folder: &Path, arguments: &str) -> Process {
    let binary = servers::binary();
    let line = format!(
        "cd {} && POSTHOUSE_HTTP_ADDR=127.0.0.1:0 POSTHOUSE_METRICS_ADDR=127.0.0.1:0 exec {} {arguments}",
        folder.display(),
        binary.display()
    );
    let process = Process::hold(Path::new("sh"), &["-c".into(), line], None);
    let banner = process.line(Duration::from_secs(60), |line| {
        line.contains("process").then_some(())
    });
    banner.unwrap_or_else(|why| panic!("posthouse {arguments}: {why}"));
    process
}

fn run(folder: &Path, arguments: &str) {
    let output = posthouse(folder, arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "posthouse {arguments}: {errors}");
}
