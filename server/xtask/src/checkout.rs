//! What somebody does with a checkout, or with the sdist alone: the packages are installed into empty places and built by
//! this machine's own tools. Here that is done without optimisation, in a target folder that all of them share: these
//! builds show that it works; what is tested and measured is what [`crate::natives`] builds.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::parts::target;
use crate::python::{FOLDER, environment};
use crate::report::Report;

/// Sends one message to a server in the process.
const START: &str = "import posthouse\n\
    with posthouse.Server.embedded() as server, server.client() as client:\n    \
    print(posthouse.__version__, client.producer().send('t', b'one').status)";

/// Installs the Python package from the folder, and from the sdist that maturin makes of it.
pub fn python(report: &mut Report, tools: &Path) {
    let sdists = target().join("checkout/sdists");
    let _ = std::fs::remove_dir_all(&sdists);
    starts(report, "Python: pip install ./python", FOLDER.as_ref());
    let mut sdist = Command::new(tools.join("bin/maturin"));
    sdist.args(["sdist", "--out"]).arg(&sdists);
    if report.run("Python: the sdist", sdist.current_dir(FOLDER)) {
        let files = std::fs::read_dir(&sdists).into_iter().flatten();
        for file in files.flatten() {
            let path = file.path();
            starts(report, "Python: pip install of the sdist", path.as_ref());
        }
    }
}

/// Installs what lies somewhere, and sends a message.
fn starts(report: &mut Report, name: &'static str, package: &OsStr) {
    let empty = target().join("checkout/python");
    if report.run(name, plainly(&mut environment(&empty, &[package]))) {
        let mut start = Command::new(empty.join("bin/python"));
        // From elsewhere: nothing of the sources is in reach.
        start.args(["-c", START]).current_dir(&empty);
        report.run("Python: it starts", &mut start);
    }
}

/// Has a command, or what it starts, build without optimisation.
pub fn plainly(command: &mut Command) -> &mut Command {
    command
        .env("CARGO_TARGET_DIR", target().join("checkout/target"))
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "none")
}
