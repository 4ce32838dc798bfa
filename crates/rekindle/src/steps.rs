//! The steps a Build has of its own: this program, run in the Build's Pod under a hidden verb. It
//! writes credentials, fetches the source, and says at the end that all went well.
//!
//! [`program`] tells the node what to run for the images of `build::images`; [`main`] is what runs.

mod program;

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use build::credentials::{self, SECRETS_DIR};
use fetch::archive::{self, Kind};
use fetch::git;
pub(crate) use program::program;

/// The hidden verb.
pub(crate) const VERB: &str = "internal-step";
/// Where a container leaves its last words.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Runs one step; the first word is its name, as its image's.
pub(crate) fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<String> = words.map(|w| w.to_string_lossy().into_owned()).collect();
    let (name, args) = match words.split_first() {
        Some((name, args)) => (name.as_str(), args),
        None => ("", &[][..]),
    };
    let done = match name {
        "creds-init" => creds_init(args),
        "git-init" => git_init(args),
        "gcs-fetcher" => gcs_fetcher(args),
        "nop" => say("Build successful"),
        _ => Err(anyhow::anyhow!("{name:?} is no step of a Build")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}");
            // Nobody is left to tell when neither can be written.
            let _ = writeln!(std::io::stderr(), "{text}");
            let _ = fs::write(TERMINATION_LOG, &text);
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("write to the log")
}

fn home() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(PathBuf::from(home))
}

/// Writes the files the Secrets become. Their content is shown nowhere.
fn creds_init(args: &[String]) -> Result<()> {
    let home = home()?;
    let read = |secret: &str, key: &str| {
        fs::read_to_string(Path::new(SECRETS_DIR).join(secret).join(key)).ok()
    };
    let files = credentials::files(args, &home.to_string_lossy(), &read);
    for file in files.map_err(|bad| anyhow::anyhow!(bad.0))? {
        let path = home.join(&file.path);
        let directory = path.parent().unwrap_or(&home);
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(directory);
        made.with_context(|| format!("make {}", directory.display()))?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&path)
            .and_then(|mut open| open.write_all(file.content.as_bytes()));
        written.with_context(|| format!("write {}", path.display()))?;
        say(&format!("Wrote {}", path.display()))?;
    }
    Ok(())
}

fn git_init(args: &[String]) -> Result<()> {
    let [url, revision, path, commit_file] =
        flags(args, ["url", "revision", "path", "commit-file"])?;
    let here = std::env::current_dir().context("find the working directory")?;
    let source = git::Source {
        url,
        revision,
        directory: here.join(path),
        home: home()?,
    };
    use_rustls();
    let commit = git::fetch(&source, &mut tell)?;
    if !commit_file.is_empty() {
        fs::write(&commit_file, &commit).with_context(|| format!("write {commit_file}"))?;
    }
    let (url, revision) = (fetch::shown(&source.url), &source.revision);
    let path = source.directory.display();
    say(&format!(
        "Successfully cloned {url:?} @ {revision:?} ({commit}) in path \"{path}\""
    ))
}

fn gcs_fetcher(args: &[String]) -> Result<()> {
    let [kind, location, directory] = flags(args, ["type", "location", "dest_dir"])?;
    let kind = Kind::parse(&kind)
        .with_context(|| format!("--type {kind:?} is neither Archive nor Manifest"))?;
    let here = std::env::current_dir().context("find the working directory")?;
    use_rustls();
    archive::fetch(kind, &location, &here.join(directory), &mut tell)?;
    say(&format!(
        "Successfully fetched {:?}",
        fetch::shown(&location)
    ))
}

/// Progress. A log that cannot be written is no reason to stop.
fn tell(text: &str) {
    let _ = say(text);
}

fn use_rustls() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
}

/// The values of these flags in the way of Go's programs: one or two dashes, a space or `=`.
fn flags<const N: usize>(args: &[String], names: [&str; N]) -> Result<[String; N]> {
    let mut values = [const { String::new() }; N];
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let flag = word.trim_start_matches('-');
        let (flag, value) = match flag.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (flag, words.next().cloned()),
        };
        let Some(index) = names.iter().position(|name| *name == flag) else {
            bail!("{word:?} is none of the flags {names:?}");
        };
        values[index] = value.with_context(|| format!("{word} wants a value"))?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::flags;

    #[test]
    fn flags_in_the_way_of_go() {
        let parse = |words: &str| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            flags(&words, ["url", "path"]).map_err(|error| error.to_string())
        };
        let want = Ok(["u".to_owned(), "p".to_owned()]);
        for words in ["-url u -path p", "--path=p --url=u", "-path p --url u"] {
            assert_eq!(parse(words), want, "{words}");
        }
        assert_eq!(parse("-url").unwrap_err(), "-url wants a value");
        assert!(parse("-depth 1").unwrap_err().contains("none of the flags"));
    }
}
