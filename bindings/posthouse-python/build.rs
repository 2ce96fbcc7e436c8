//! Who links for other systems may name the library that unwinds: see `server/xtask/src/natives.rs`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=POSTHOUSE_UNWINDER");
    if let Ok(library) = std::env::var("POSTHOUSE_UNWINDER") {
        println!("cargo:rustc-cdylib-link-arg={library}");
    }
}
