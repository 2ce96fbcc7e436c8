//! The Python package as its users get it: one wheel around the native part that [`natives`] built, installed into an
//! empty environment, and tested there, with nothing of the source tree in reach but the tests.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::checkout;
use crate::natives;
use crate::parts::target;
use crate::report::Report;

/// What judges; the package itself needs nothing.
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

/// The part alone, with the native part that it needs.
pub fn alone(report: &mut Report) {
    if natives::build(report) {
        test(report);
    }
}

/// Makes the wheel and installs it into an empty environment; that one's interpreter. Every step that fails is
/// a failure.
pub fn installed(report: &mut Report) -> Option<PathBuf> {
    let work = target().join("python");
    let clean = work.join("clean");
    let wheels = wheels();
    let steps = wheel(report, &work.join("wheel"), &wheels)
        && report.run("Python: its size, 12 MB at most", &mut size(&wheels))
        && report.run(
            "Python: an empty environment",
            &mut environment(&clean, &JUDGE),
        )
        && report.run("Python: installed", &mut install(&clean));
    steps.then(interpreter)
}

/// Installs and tests.
pub fn test(report: &mut Report) {
    checkout::python(report, &natives::tools());
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

/// Lays out what a wheel holds and packs it: maturin says what the package is, and compiles nothing again.
fn wheel(report: &mut Report, tree: &Path, wheels: &Path) -> bool {
    // Only the newest wheel is meant; one from an earlier run would do no harm but confuse.
    let fresh = |folder: &Path| {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)
    };
    if let Err(error) = fresh(tree).and_then(|()| fresh(wheels)) {
        println!("no folder for the wheel: {error}");
    }
    let tools = natives::tools().join("bin");
    let mut describe = Command::new(tools.join("maturin"));
    describe.args(["pep517", "write-dist-info", "--interpreter"]);
    describe.arg(tools.join("python"));
    describe.arg("--metadata-directory").arg(tree);
    // There lies the pyproject.toml that says what the wheel is.
    describe.current_dir(FOLDER);
    let mut pack = Command::new(tools.join("python"));
    pack.args(["-m", "wheel", "pack", "--dest-dir"]);
    report.run("Python: what the wheel is", &mut describe)
        && report.check("Python: what the wheel holds", || {
            lay_out(tree).map_err(|error| error.to_string())
        })
        && report.run("Python: the wheel", pack.arg(wheels).arg(tree))
}

/// Puts the package's own files, the native part, and the names of the systems that it is for into a wheel's tree.
fn lay_out(tree: &Path) -> std::io::Result<()> {
    let package = tree.join("posthouse");
    copy(&Path::new(FOLDER).join("src/posthouse"), &package)?;
    std::fs::copy(natives::python(), package.join("_native.abi3.so"))?;
    for entry in std::fs::read_dir(tree)? {
        let about = entry?.path().join("WHEEL");
        if about.exists() {
            let text = std::fs::read_to_string(&about)?;
            let lines = text.lines().filter(|line| !line.is_empty());
            let lines = lines.map(|line| match line.rsplit_once('-') {
                Some((tag, _)) if line.starts_with("Tag: ") => natives::WHEEL_TAGS
                    .map(|system| format!("{tag}-{system}"))
                    .join("\n"),
                _ => line.to_owned(),
            });
            std::fs::write(&about, lines.collect::<Vec<_>>().join("\n") + "\n")?;
        }
    }
    Ok(())
}

/// A folder of sources, without what running them leaves there.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        if path.is_dir() && name != "__pycache__" {
            copy(&path, &to.join(name))?;
        } else if path.is_file() && path.extension() != Some("so".as_ref()) {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
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

/// Puts the wheel that was made into an environment.
pub fn install(environment: &Path) -> Command {
    let script = "exec \"$0\" install --quiet --no-index --no-deps \"$1\"/*.whl";
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .arg(environment.join("bin/pip"))
        .arg(wheels());
    command
}
