//! Kubernetes' own Go client: its library and a Go toolchain as Debian packages them, unpacked from
//! the machine's package mirror without being installed, and a program of the fixtures built with
//! both. Kept in the user's cache directory between runs.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::debian::{cache, succeed};

/// The first Debian release that has the library.
const SUITE: &str = "trixie";
const PACKAGES: [&str; 2] = ["golang-k8s-client-go-dev", "golang-go"];
/// Of what these need, all else is on the machine: the toolchain is linked with nothing.
const WANTED: &str = "golang-";
/// Go's tools beside the toolchain; 45 MB that building does without.
const LEFT_OUT: &str = "golang-golang-x-tools_";
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/go/main.go");

/// The program of `fixtures/go`, built. The first time takes minutes.
pub fn go_client() -> Result<PathBuf> {
    let source = fs::read(SOURCE).context("read the program's source")?;
    let mut hash = DefaultHasher::new();
    source.hash(&mut hash);
    let program = cache()?.join(format!("go-client-{:016x}", hash.finish()));
    if program.exists() {
        return Ok(program);
    }
    let scratch = tempfile::tempdir()?;
    let root = scratch.path().join("root");
    unpack(scratch.path(), &root)?;
    let partial = program.with_extension("partial");
    build(scratch.path(), &root, &partial)?;
    fs::rename(&partial, &program).context("keep the program")?;
    Ok(program)
}

/// Downloads the packages and what they need, and unpacks them into `root`.
fn unpack(scratch: &Path, root: &Path) -> Result<()> {
    for dir in ["state/lists/partial", "cache/archives/partial", "debs"] {
        fs::create_dir_all(scratch.join(dir))?;
    }
    let list = scratch.join("sources.list");
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let mirror = mirror()?;
    fs::write(
        &list,
        format!("deb [signed-by={keys}] {mirror} {SUITE} main\n"),
    )?;
    let apt = |args: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.arg("-qq").args(["-o", "Dir::Etc::SourceParts=-"]);
        for (name, place) in [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::State", "state"),
            ("Dir::Cache", "cache"),
        ] {
            apt.arg("-o")
                .arg(format!("{name}={}", scratch.join(place).display()));
        }
        apt.args(["-o", "Dir::State::status=/dev/null"]);
        apt.args(["-o", "APT::Sandbox::User=root"]).args(args);
        apt
    };
    succeed(&mut apt(&["update"]))?;
    let mut ask = apt(&["install", "--no-install-recommends", "--print-uris"]);
    let output = ask.args(PACKAGES).output().context("start apt-get")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // Lines: 'URI' file size digest.
    let fields = said.lines().map(|line| line.split_whitespace());
    let files: Vec<(&str, &str)> = fields
        .filter_map(|mut line| Some((line.next()?.trim_matches('\''), line.next()?)))
        .filter(|(_, file)| file.starts_with(WANTED) && !file.starts_with(LEFT_OUT))
        .collect();
    ensure!(!files.is_empty(), "apt-get knows no {PACKAGES:?}: {said}");
    let debs = scratch.join("debs");
    let mut fetch = Command::new("curl");
    fetch.args(["-sSf", "--retry", "3", "--remote-name-all"]);
    succeed(
        fetch
            .args(files.iter().map(|(uri, _)| uri))
            .current_dir(&debs),
    )?;
    for deb in fs::read_dir(&debs)? {
        succeed(Command::new("dpkg").arg("-x").arg(deb?.path()).arg(root))?;
    }
    Ok(())
}

/// Where this machine has its packages from.
fn mirror() -> Result<String> {
    let mut ask = Command::new("apt-get");
    ask.args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"]);
    ask.args(["Created-By: Packages", "Component: main"]);
    let output = ask.output().context("start apt-get")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let uris = said
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let mirror = uris
        .map(|uri| uri.trim_end_matches('/'))
        .find(|uri| uri.ends_with("/debian"));
    Ok(mirror
        .with_context(|| format!("no mirror of Debian in: {said}"))?
        .to_owned())
}

fn build(scratch: &Path, root: &Path, program: &Path) -> Result<()> {
    let gopath = root.join("usr/share/gocode");
    let package = gopath.join("src/client");
    fs::create_dir_all(&package)?;
    fs::copy(SOURCE, package.join("main.go"))?;
    let goroot = root.join("usr/lib/go");
    let mut build = Command::new(goroot.join("bin/go"));
    build.args(["build", "-o"]).arg(program).arg("client");
    build.envs([
        ("GO111MODULE", "off"),
        ("CGO_ENABLED", "0"),
        ("GOFLAGS", "-p=2"),
    ]);
    build.envs([("GOPATH", &gopath), ("GOROOT", &goroot)]);
    succeed(build.env("GOCACHE", scratch.join("gocache")))
}
