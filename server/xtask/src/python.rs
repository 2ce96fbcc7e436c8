//! The Python package as its users get it: one wheel, built, installed into an empty environment, and tested
//! there, with nothing of the source tree in reach but the tests.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::parts::target;
use crate::report::Report;

/// What builds and what judges; the package itself needs nothing.
const BUILD: [&str; 1] = ["maturin>=1.16,<2"];
const JUDGE: [&str; 6] = [
    "pytest>=9,<10",
    "pytest-asyncio>=1.5,<2",
    "mypy>=2.4,<3",
    // With a Node of its own: the machine may have none.
    "pyright[nodejs]>=1.1.400,<2",
    "uvloop",
    // What `posthouse[otel]` makes spans with, and what shows them.
    "opentelemetry-sdk>=1.27,<2",
];

/// Where the package lies.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python");

/// The interpreter of the environment that [`installed`] makes.
pub fn interpreter() -> PathBuf {
    target().join("python/clean/bin/python")
}

/// Builds the package and installs it into an empty environment; that one's interpreter. Every step that fails is
/// a failure.
pub fn installed(report: &mut Report) -> Option<PathBuf> {
    let work = target().join("python");
    let (build, clean) = (work.join("build"), work.join("clean"));
    let wheels = wheels();
    // Only the newest wheel is meant below; one from an earlier run would do no harm but confuse.
    let _ = std::fs::remove_dir_all(&wheels);
    let steps = report.run("Python: environments", &mut environment(&build, &BUILD))
        && report.run(
            "Python: the wheel",
            &mut wheel(&build, Path::new(FOLDER), &wheels),
        )
        && report.run("Python: its size, 12 MB at most", &mut size(&wheels))
        && report.run(
            "Python: an empty environment",
            &mut environment(&clean, &JUDGE),
        )
        && report.run("Python: installed", &mut install(&clean));
    steps.then(interpreter)
}

/// Builds, installs and tests.
pub fn test(report: &mut Report) {
    let Some(python) = installed(report) else {
        return;
    };
    let (work, folder) = (target().join("python"), Path::new(FOLDER));
    report.tests(
        "Python",
        Command::new(&python)
            .args(["-X", "dev", "-m", "pytest", "-p", "no:cacheprovider", "-c"])
            .arg(folder.join("pyproject.toml"))
            .arg(folder.join("tests"))
            .current_dir(&work),
    );
    report.run(
        "Python: types",
        Command::new(&python)
            .args(["-m", "mypy", "--strict", "--cache-dir"])
            .arg(work.join("mypy"))
            .args(["-p", "posthouse"])
            .current_dir(&work),
    );
    report.run(
        "Python: types, by pyright",
        Command::new(&python)
            .args(["-m", "pyright", "--pythonpath"])
            .arg(&python)
            .arg(folder.join("src")),
    );
    report.run(
        "Python: stubs",
        Command::new(&python)
            .args(["-m", "mypy.stubtest", "posthouse", "--ignore-missing-stub"])
            .arg("--allowlist")
            .arg(folder.join("tests/stubtest.allow"))
            .current_dir(&work),
    );
}

/// A new environment with some packages, by the registry that pip is configured for.
pub fn environment(at: &Path, packages: &[impl AsRef<OsStr>]) -> Command {
    let script = "python3 -m venv --clear \"$0\" && exec \"$0/bin/pip\" install --quiet \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(at).args(packages);
    command
}

fn wheel(build: &Path, folder: &Path, wheels: &Path) -> Command {
    let mut command = Command::new(build.join("bin/maturin"));
    command.args(["build", "--release", "--locked", "--out"]);
    // There lies the pyproject.toml that says what the wheel is.
    command.arg(wheels).current_dir(folder);
    command
}

fn size(wheels: &Path) -> Command {
    let script = "wc -c \"$0\"/*.whl && test $(cat \"$0\"/*.whl | wc -c) -le 12000000";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(wheels);
    command
}

fn wheels() -> PathBuf {
    target().join("python/wheels")
}

/// Puts the wheel that [`installed`] made into an environment.
pub fn install(environment: &Path) -> Command {
    let script = "exec \"$0\" install --quiet --no-index --no-deps \"$1\"/*.whl";
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .arg(environment.join("bin/pip"))
        .arg(wheels());
    command
}
