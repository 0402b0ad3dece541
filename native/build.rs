//! How the NIF library is linked.
//!
//! It builds nothing: `native/build` calls cargo and puts the library where Erlang looks for it.

#[expect(
    clippy::disallowed_methods,
    reason = "cargo says by the environment what it builds for"
)]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        // Erlang unmaps a library when its module is purged and no object of it is left. Our threads
        // may be on their last instructions then, so it stays mapped.
        Ok("linux" | "android" | "freebsd") => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
        }
        // The functions of the VM are found when it loads the library. Elsewhere linkers allow that
        // unasked.
        Ok("macos") => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-undefined,dynamic_lookup");
        }
        _ => {}
    }
}
