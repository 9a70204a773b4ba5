//! Gives every binary and test the run paths of the pinned native libraries, so that no LD_LIBRARY_PATH is needed.

fn main() {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets the manifest folder");
    // Absolute: where clones share a target folder, the run paths of one that is gone must not be another's.
    println!("cargo:rerun-if-changed={root}/build.rs");
    // Installed (bin/ beside lib/bertline/), then built in the clone, then built with another target folder.
    for path in [
        "$ORIGIN/../lib/bertline/libtorch/lib",
        "$ORIGIN/../../.native/libtorch/lib",
        &format!("{root}/.native/libtorch/lib"),
    ] {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{path}");
    }
}
