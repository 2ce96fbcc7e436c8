//! The contract judged by a stranger: Schemathesis makes requests out of `openapi/openapi.yaml`, good and bad ones,
//! and holds the answers of a real standalone against it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::parts::{server, target};
use crate::python::environment;
use crate::report::Report;
use crate::standalone::Standalone;

/// What takes away what the other operations look at: it has a server of its own.
const APART: &str = "purgeDeadLetters";

/// The part alone, with what it needs of the server.
pub fn alone(report: &mut Report) {
    if server(report) {
        test(report);
    }
}

/// Runs the part.
pub fn test(report: &mut Report) {
    let work = target().join("schemathesis");
    let tools = work.join("tools");
    let requirements = folder().join("requirements.txt");
    let words = ["-r".into(), requirements.display().to_string()];
    if !report.run(
        "Schemathesis: environment",
        &mut environment(&tools, &words),
    ) {
        return;
    }
    let alone = "examples,coverage,fuzzing";
    let linked = "examples,coverage,fuzzing,stateful";
    for (name, choice, phases) in [
        (
            "Schemathesis: the contract",
            "--exclude-operation-id",
            linked,
        ),
        (
            "Schemathesis: purging, apart",
            "--include-operation-id",
            alone,
        ),
    ] {
        let data = work.join(format!("data-{}", std::process::id()));
        // Whom webhooks may call: nobody who is there.
        let settings = work.join(format!("settings-{}.conf", std::process::id()));
        let trusts = "http.webhook.trustedHosts=receiver.invalid\n";
        if let Err(error) = std::fs::write(&settings, trusts) {
            println!("no settings for a standalone: {error}");
        }
        let path = settings.display().to_string();
        let words = ["--http-addr", "127.0.0.1:0", "-c", &path];
        let started = Standalone::start(&data, &words);
        let started = started.and_then(|server| {
            let base = server.place("HTTP")?.to_owned();
            Ok((server, base))
        });
        match started {
            Ok((_server, base)) => {
                let mut judge = Command::new(tools.join("bin/st"));
                judge.args(["--no-color", "--config-file", "schemathesis.toml", "run"]);
                judge.args(["openapi.yaml", "--url", &base, choice, APART]);
                judge.args(["--phases", phases]);
                // Nothing is left behind in the tree.
                judge.env("PYTHONDONTWRITEBYTECODE", "1");
                report.run(name, judge.current_dir(folder()));
            }
            Err(why) => {
                println!("no standalone to judge: {why}");
                report.run(name, &mut Command::new("false"));
            }
        }
        let _ = std::fs::remove_dir_all(&data);
        let _ = std::fs::remove_file(&settings);
    }
}

fn folder() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi")).to_owned()
}
