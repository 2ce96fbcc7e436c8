//! Gets the clients' libraries through Maven and Go's own client, and compiles the runners; once, then from the cache.
//!
//! A machine without Java, Maven or Go cannot run their tests: they report themselves as skipped, with the reason. A
//! machine that has them must succeed: anything that goes wrong from there on fails the tests.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

use crate::{home, workshop};

/// A release of Apache's clients and servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Release {
    /// 4.9.7
    V4,
    /// 5.3.3
    V5,
}

impl Release {
    /// As Maven writes it.
    pub fn version(self) -> &'static str {
        match self {
            Release::V4 => "4.9.7",
            Release::V5 => "5.3.3",
        }
    }
}

/// Why the tests of a language cannot run on this machine.
pub fn missing(programs: &[&str]) -> Option<String> {
    let missing = programs.iter().find(|program| !present(program))?;
    Some(format!("no `{missing}` on this machine"))
}

/// Whether it is there at all: one that is and does not work must fail its tests, not skip them.
fn present(program: &str) -> bool {
    let argument = match program {
        "go" => "version",
        "node" | "npm" | "chromium" | "curl" => "--version",
        _ => "-version",
    };
    let mut command = Command::new(program);
    command
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_or_else(|error| error.kind() != ErrorKind::NotFound, |_| true)
}

/// The class path of the Java runner of a release, built if need be.
pub fn java(release: Release) -> String {
    static BUILT: [OnceLock<String>; 2] = [OnceLock::new(), OnceLock::new()];
    // One build at a time: both use the same local repository.
    static BUILDING: Mutex<()> = Mutex::new(());
    let slot = &BUILT[usize::from(release == Release::V5)];
    slot.get_or_init(|| {
        let _one = BUILDING.lock();
        build_java(release)
    })
    .clone()
}

fn build_java(release: Release) -> String {
    let folder = workshop().join(release.version());
    let (jars, classes) = (folder.join("lib"), folder.join("classes"));
    let wanted = format!("-Drocketmq.version={}", release.version());
    maven(&jars, &home().join("java/pom.xml"), &[wanted]);
    let dialect = match release {
        Release::V4 => "v4",
        Release::V5 => "v5",
    };
    let kinds = ["common", dialect, "servers"];
    let sources: Vec<PathBuf> = kinds
        .iter()
        .flat_map(|kind| files(&home().join("java").join(kind)))
        .collect();
    javac(&classes, &sources, &jars);
    format!("{}:{}/*", classes.display(), jars.display())
}

/// The class path of the program that lets the SDK of CloudEvents judge HTTP, built if need be.
pub fn events() -> String {
    let folder = workshop().join("events");
    let (jars, classes) = (folder.join("lib"), folder.join("classes"));
    let home = home().join("java/events");
    maven(&jars, &home.join("pom.xml"), &[]);
    javac(&classes, &[home.join("Events.java")], &jars);
    format!("{}:{}/*", classes.display(), jars.display())
}

/// Fills a folder with the libraries that a project names.
fn maven(jars: &Path, pom: &Path, options: &[String]) {
    cached(jars, &[pom], || {
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", "-f"]).arg(pom).args(options);
        maven
            .arg("dependency:copy-dependencies")
            .arg(format!("-DoutputDirectory={}", jars.display()));
        maven
    });
}

/// Compiles into a folder.
fn javac(classes: &Path, sources: &[PathBuf], jars: &Path) {
    let inputs: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    cached(classes, &inputs, || {
        let mut javac = Command::new("javac");
        javac
            .args(["-nowarn", "-encoding", "UTF-8", "-cp"])
            .arg(jars.join("*"));
        javac.arg("-d").arg(classes).args(sources);
        javac
    });
}

/// The Go runner, built if need be.
pub fn go() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let folder = workshop().join("go");
            let sources = files(&home().join("go"));
            let inputs: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
            cached(&folder, &inputs, || {
                let mut go = Command::new("go");
                go.current_dir(home().join("go"));
                go.args(["build", "-o"]).arg(folder.join("runner")).arg(".");
                go
            });
            folder.join("runner")
        })
        .clone()
}

/// The folder of the Node packages that judge HTTP, installed if need be.
pub fn node() -> PathBuf {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    let install = || {
        let folder = workshop().join("node");
        let package = home().join("node/package.json");
        cached(&folder, &[&package], || {
            std::fs::copy(&package, folder.join("package.json")).unwrap();
            let mut npm = Command::new("npm");
            npm.args([
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
            ]);
            npm.arg(&folder);
            npm
        });
        folder.join("node_modules")
    };
    INSTALLED.get_or_init(install).clone()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|file| file.is_file());
    files.sort();
    files
}

/// Runs the command that fills `folder` unless it ran to its end for the same inputs.
fn cached(folder: &Path, inputs: &[&Path], command: impl Fn() -> Command) {
    let mut hasher = DefaultHasher::new();
    for input in inputs {
        (input, std::fs::read(input).unwrap()).hash(&mut hasher);
    }
    let wanted = format!("{:016x}", hasher.finish());
    let stamp = folder.with_extension("stamp");
    if std::fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == wanted) {
        return;
    }
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).unwrap();
    let mut command = command();
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::write(stamp, wanted).unwrap();
}
