//! Builds the demo's application as a static binary and hands its path to the crate, and writes
//! down the version that `rekindle --version` and the API server's `/version` report.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=demo/hello.rs");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("hello");
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let status = Command::new(rustc)
        .args([
            "--edition",
            "2024",
            "--crate-name",
            "hello",
            "demo/hello.rs",
            "-O",
        ])
        .args([
            "-C",
            "target-feature=+crt-static",
            "-C",
            "panic=abort",
            "-C",
            "strip=symbols",
        ])
        .arg("-o")
        .arg(&out)
        .status();
    if !status.is_ok_and(|status| status.success()) {
        println!("cargo::warning=no static C library here: `rekindle demo` has no application");
        fs::write(&out, b"").expect("OUT_DIR is writable");
    }
}
