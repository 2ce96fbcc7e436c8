//! House rules that a compiler cannot see.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // asks cargo for its metadata; a broken tree may panic

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which of our crates a crate may use. What is not listed may use none.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("remoting", &["model"]),
    ("store", &["model"]),
    ("broker", &["store", "model"]),
    ("endpoint", &["broker", "remoting", "model"]),
    ("namesrv", &["remoting", "model"]),
    (
        "posthouse",
        &[
            "endpoint",
            "namesrv",
            "http-door",
            "posthouse-client",
            "broker",
            "store",
            "remoting",
            "model",
        ],
    ),
    ("http-door", &["posthouse-client", "model"]),
    ("posthouse-client", &["remoting", "model"]),
    ("ffi", &["posthouse-client", "posthouse"]),
    ("posthouse-node", &["ffi", "posthouse-client"]),
    ("posthouse-python", &["ffi", "posthouse-client"]),
    ("bench", &["remoting", "model"]),
    ("conformance", &[]),
    ("xtask", &[]),
];

/// Licences that permit what we do with them.
const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
    "CC0-1.0",
];

/// Crates that may be locked in more than one version, because others disagree about them: `syn` at build
/// time only, `getrandom` because ring still asks for 0.2 and others for 0.3.
const TWICE: [&str; 2] = ["syn", "getrandom"];

/// The most packages the lock file may hold.
const PACKAGES: usize = 320;

/// Where `unsafe` may stand: maps of files, and buffers of Python.
const UNSAFE: [&str; 2] = [
    "server/store/src/disk/sys.rs",
    "bindings/posthouse-python/src/view.rs",
];

/// What stands at the top of the repository.
const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "server",
    "bindings",
    "node",
    "openapi",
    "python",
];

#[test]
fn arrows_between_crates_point_one_way() {
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let metadata = metadata();
    for package in members(&metadata) {
        let name = text(&package["name"]);
        let may = allowed
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no row in ARROWS"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let uses = text(&dependency["name"]);
            let ours = dependency["path"].is_string();
            let only_tests = dependency["kind"] == "dev";
            assert!(
                !ours || only_tests || may.contains(&uses),
                "{name} may not use {uses}: see the arrows in ARCHITECTURE.md"
            );
        }
    }
}

/// What is packed without the rest of the repository, as Python's sdist is, builds there only if this holds.
#[test]
fn what_the_packages_hold_includes_no_file_outside_its_crate() {
    let mut seen = 0;
    for folder in reachable() {
        let packed = packed(&folder);
        for file in rust_files(&folder.join("src")) {
            let parts = || file.components().map(|part| part.as_os_str());
            if parts().any(|part| part == "tests" || part == "tests.rs") {
                continue;
            }
            let code = std::fs::read_to_string(&file).unwrap();
            for after in code.split("include_").skip(1) {
                let name = after.split(['(', ' ']).next();
                if !matches!(name, Some("str!" | "bytes!")) {
                    continue;
                }
                let named = file
                    .parent()
                    .unwrap()
                    .join(after.split('"').nth(1).unwrap());
                let included = named.canonicalize().unwrap();
                assert!(
                    included.starts_with(&folder),
                    "{} includes {}",
                    file.display(),
                    included.display()
                );
                let inside = included.strip_prefix(&folder).unwrap();
                assert!(
                    is_test(&code, after) || packed.contains(inside),
                    "{} is not packed, and {} includes it",
                    included.display(),
                    file.display()
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 0, "this looks for the wrong words");
}

/// Whether what follows in a file stands behind the opening of its tests.
fn is_test(code: &str, after: &str) -> bool {
    code[..code.len() - after.len()].contains("#[cfg(test)]")
}

/// What a crate is packed with, by its `exclude`.
fn packed(folder: &Path) -> BTreeSet<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(folder)
        .output()
        .unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    listed.lines().map(PathBuf::from).collect()
}

/// The folders of our crates that the Python and the Node package are made of, with the features that they ask for.
fn reachable() -> Vec<PathBuf> {
    let words = "tree --locked --edges normal,build --prefix none --format {p}";
    let output = Command::new(env!("CARGO"))
        .args(words.split(' '))
        .args([
            "--package",
            "posthouse-python",
            "--package",
            "posthouse-node",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let of_path = |line: &str| Some(line.split_once('(')?.1.split_once(')')?.0.to_owned());
    let folders: BTreeSet<_> = listed
        .lines()
        .filter_map(of_path)
        .filter(|path| Path::new(path).is_absolute())
        .map(|path| Path::new(&path).canonicalize().unwrap())
        .collect();
    assert!(
        folders.contains(&root().join("bindings/ffi"))
            && folders.contains(&root().join("server/posthouse")),
        "{folders:?}"
    );
    folders.into_iter().collect()
}

#[test]
fn dependencies_come_from_the_registry_under_licences_we_accept() {
    for package in metadata()["packages"].as_array().unwrap() {
        let name = text(&package["name"]);
        let Some(source) = package["source"].as_str() else {
            continue; // our own
        };
        assert!(
            source.starts_with("registry+"),
            "{name} comes from {source}"
        );
        let licence = package["license"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} names no licence"));
        assert!(acceptable(licence), "{name} has the licence {licence}");
    }
}

/// An SPDX expression is acceptable if one of its `OR` branches consists of accepted licences.
fn acceptable(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" OR ").any(|branch| {
        branch
            .split(" AND ")
            .all(|licence| LICENCES.contains(&licence.trim()))
    })
}

#[test]
fn a_licence_expression_needs_one_acceptable_branch() {
    assert!(acceptable("MIT/Apache-2.0"));
    assert!(acceptable("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(acceptable("GPL-3.0 OR MIT"));
    assert!(!acceptable("GPL-3.0"));
    assert!(!acceptable("MIT AND GPL-3.0"));
}

#[test]
fn the_lock_file_is_small_and_holds_each_crate_once() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let names: Vec<&str> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("name = "))
        .collect();
    assert!(
        names.len() <= PACKAGES,
        "{} packages are locked",
        names.len()
    );
    let mut seen = BTreeSet::new();
    let twice: Vec<_> = names
        .iter()
        .map(|name| name.trim_matches('"'))
        .filter(|name| !seen.insert(*name) && !TWICE.contains(name))
        .filter(|name| !PLATFORM.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    assert!(twice.is_empty(), "locked in several versions: {twice:?}");
}

/// Crates that only other platforms build.
const PLATFORM: [&str; 3] = ["windows", "wasi", "r-efi"];

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for package in members(&metadata()) {
        let manifest = std::fs::read_to_string(text(&package["manifest_path"])).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{}",
            package["name"]
        );
    }
}

#[test]
fn unsafe_stands_in_two_files() {
    for file in sources() {
        let code = std::fs::read_to_string(&file).unwrap();
        let allows = code.contains(concat!("allow(unsafe", "_code)"));
        let here = file
            .strip_prefix(root())
            .unwrap()
            .to_string_lossy()
            .into_owned();
        assert!(
            !allows || UNSAFE.contains(&&*here),
            "{here} allows unsafe code"
        );
    }
}

#[test]
fn files_are_short_enough_to_be_one_subject() {
    for file in sources() {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(
            lines <= 700,
            "{} has {lines} lines: which two subjects is it?",
            file.display()
        );
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for file in sources() {
        let code = std::fs::read_to_string(&file).unwrap();
        let test = file.components().any(|part| part.as_os_str() == "tests.rs");
        // What is included into an example takes no inner comment.
        let included = file.ends_with("tests/doc/example.rs") && code.starts_with("// ");
        assert!(
            test || included || code.starts_with("//!"),
            "{} opens without a //! sentence",
            file.display()
        );
    }
}

#[test]
fn nothing_else_lies_at_the_top() {
    let listed = Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let top: BTreeSet<&str> = listed
        .lines()
        .map(|path| path.split('/').next().unwrap())
        .collect();
    let surplus: Vec<_> = top.iter().filter(|name| !TOP.contains(name)).collect();
    assert!(surplus.is_empty(), "at the top: {surplus:?}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn members(metadata: &Value) -> Vec<Value> {
    let ids: BTreeSet<&str> = metadata["workspace_members"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    let all = metadata["packages"].as_array().unwrap();
    all.iter()
        .filter(|package| ids.contains(text(&package["id"])))
        .cloned()
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Every Rust file of the project.
fn sources() -> Vec<PathBuf> {
    ["server", "bindings"]
        .iter()
        .flat_map(|folder| rust_files(&root().join(folder)))
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(path);
            }
        }
    }
    found
}
