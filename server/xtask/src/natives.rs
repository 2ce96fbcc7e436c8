//! The native parts of both packages: linked once, by zig, for systems as old as glibc 2.17. These are the files that
//! the wheel and the tarball of the platform hold, and that every runner tests and measures. Who installs a package from
//! a checkout has it built with the machine's own tools instead: see [`crate::checkout`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::parts::target;
use crate::python::environment;
use crate::report::Report;

/// What they are for, and the oldest glibc.
const SYSTEM: &str = "x86_64-unknown-linux-gnu";
const GLIBC: (u32, u32) = (2, 17);

/// Names of a wheel for such systems.
pub const WHEEL_TAGS: [&str; 2] = ["manylinux_2_17_x86_64", "manylinux2014_x86_64"];

/// What both packages are built with, named to the byte.
const REQUIREMENTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../bindings/requirements.txt"
);

/// Builds both; whether that worked, and they are what old systems can load.
pub fn build(report: &mut Report) -> bool {
    tooled(report)
        && report.run(
            "Python and Node: their native parts",
            &mut zigbuild(&["posthouse-python", "posthouse-node"]),
        )
        && report.check("Python and Node: glibc 2.17 is enough", || {
            [python(), node()]
                .iter()
                .try_for_each(|path| portable(path))
        })
}

/// Makes the environment of what builds packages, unless it is there as it is named now: it is large.
fn tooled(report: &mut Report) -> bool {
    let (named, made) = (read(REQUIREMENTS), tools().join("requirements.txt"));
    if !named.is_empty() && read(&made) == named {
        return true;
    }
    let pinned = ["--require-hashes", "-r", REQUIREMENTS];
    let name = "Python and Node: what builds them";
    report.run(name, &mut environment(&tools(), &pinned)) && std::fs::write(made, named).is_ok()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// What `import posthouse` loads.
pub fn python() -> PathBuf {
    built("libposthouse_python.so")
}

/// What `require('posthouse')` loads.
pub fn node() -> PathBuf {
    built("libposthouse_node.so")
}

/// The environment of what builds packages.
pub fn tools() -> PathBuf {
    target().join("packages/tools")
}

fn built(name: &str) -> PathBuf {
    target().join(SYSTEM).join("release").join(name)
}

fn zigbuild(packages: &[&str]) -> Command {
    let tools = tools().join("bin");
    let mut command = Command::new(tools.join("cargo-zigbuild"));
    command.args(["zigbuild", "--release", "--locked", "--target"]);
    command.arg(format!("{SYSTEM}.{}.{}", GLIBC.0, GLIBC.1));
    for package in packages {
        command.args(["--package", package]);
    }
    // Zig is a module of the Python that is found first.
    let mut path = OsString::from(&tools);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    command.env("PATH", path);
    for (cache, folder) in [
        ("CARGO_ZIGBUILD_CACHE_DIR", "cargo-zigbuild"),
        ("ZIG_GLOBAL_CACHE_DIR", "zig"),
    ] {
        command.env(cache, target().join("packages").join(folder));
    }
    // One file for every Python from 3.11 on, whose functions are those of the process that loads it.
    command.env("PYO3_NO_PYTHON", "1");
    command.env("PYO3_BUILD_EXTENSION_MODULE", "1");
    if let Some(library) = unwinder() {
        command.env("POSTHOUSE_UNWINDER", library);
    }
    command
}

/// GCC's library that unwinds. Zig would put LLVM's into the file instead, and then threads crash that Python ends while
/// they are in native code: glibc unwinds them with GCC's, whose state LLVM's functions take for their own.
fn unwinder() -> Option<PathBuf> {
    let mut ask = Command::new("cc");
    let said = ask.arg("-print-file-name=libgcc_s.so.1").output().ok()?;
    std::fs::canonicalize(String::from_utf8(said.stdout).ok()?.trim()).ok()
}

/// Whether systems with the oldest glibc have all that a library asks of theirs.
fn portable(library: &Path) -> Result<(), String> {
    let bytes =
        std::fs::read(library).map_err(|error| format!("{}: {error}", library.display()))?;
    if !bytes.windows(14).any(|name| name == b"libgcc_s.so.1\0") {
        return Err(format!("{} unwinds by itself", library.display()));
    }
    let asked = glibc_versions(&bytes);
    let newest = asked.iter().max();
    println!("{}: glibc {newest:?} at most", library.display());
    match newest {
        Some(&newest) if newest <= GLIBC => Ok(()),
        _ => Err(format!("{} asks for glibc {asked:?}", library.display())),
    }
}

/// The versions of glibc that a library names among its strings, as the dynamic linker looks for them.
fn glibc_versions(library: &[u8]) -> Vec<(u32, u32)> {
    let mut versions: Vec<_> = library
        .split(|&byte| byte == 0)
        .filter_map(|string| {
            let version = std::str::from_utf8(string.strip_prefix(b"GLIBC_")?).ok()?;
            let mut numbers = version.split('.').map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        })
        .collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_that_a_library_asks_for_are_found() {
        let strings = b"\x7fELF\0libc.so.6\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.17\0GLIBC_PRIVATE\0GLIBC_2.17\0xGLIBC_2.99\0";
        assert_eq!(glibc_versions(strings), [(2, 2), (2, 17), (2, 34)]);
    }
}
