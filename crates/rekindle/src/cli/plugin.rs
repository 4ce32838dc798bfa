//! `rekindle plugin list`: which plugins of kn are installed. They are kn's to run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};

use super::output;

/// How the file of a plugin begins.
const PREFIX: &str = "kn-";

/// A verb.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List plugins: executable files kn-… in kn's own directory and in $PATH.
    #[command(visible_alias = "ls")]
    List {
        /// Say where they are.
        #[arg(long)]
        verbose: bool,
    },
}

pub(crate) fn run(flags: &Flags) -> Result<()> {
    let Verb::List { verbose } = flags.verb;
    let own = own_directory();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = find(
        [own.clone()]
            .into_iter()
            .chain(std::env::split_paths(&path)),
    );
    let mut text = String::new();
    if verbose {
        let missing = if own.exists() {
            ""
        } else {
            " (does not exist)"
        };
        text.push_str(&format!(
            "The following plugins are available, using options:\n  plugins dir: '{}'{missing}\n  \
             lookup plugins in $PATH: true\n\n",
            own.display()
        ));
    }
    if found.is_empty() {
        text.push_str("No plugins found.\n");
    }
    for (name, path) in &found {
        text.push_str(&format!("- {name}"));
        if verbose {
            text.push_str(&format!("  ({})", path.display()));
        }
        text.push('\n');
    }
    output::print(&text)
}

/// Where kn keeps plugins.
fn own_directory() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".config");
    let config = std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty());
    config
        .map_or_else(home, PathBuf::from)
        .join("kn")
        .join("plugins")
}

/// Plugins by name; the first directory that has one counts.
fn find(directories: impl Iterator<Item = PathBuf>) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for directory in directories {
        // One that cannot be read holds nothing that could be run.
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if let Some(name) = plugin(&path) {
                found.entry(name).or_insert(path);
            }
        }
    }
    found
}

fn plugin(path: &Path) -> Option<String> {
    let name = path.file_name().and_then(OsStr::to_str)?;
    let metadata = fs::metadata(path).ok()?;
    let is_executable = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
    (is_executable && name.starts_with(PREFIX)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_files_by_name_the_first_counts() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (dir, name, mode) in [
            (&a, "kn-two", 0o755),
            (&b, "kn-two", 0o755),
            (&b, "kn-one", 0o700),
            (&b, "kn-data", 0o644),
            (&b, "other", 0o755),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let none = a.path().join("none");
        let found = find([none, a.path().into(), b.path().into()].into_iter());
        let expected = [("kn-one", b.path()), ("kn-two", a.path())];
        let expected = expected.map(|(name, dir)| (name.to_owned(), dir.join(name)));
        assert_eq!(found, BTreeMap::from(expected));
    }
}
