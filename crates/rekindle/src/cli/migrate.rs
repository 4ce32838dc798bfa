//! `rekindle migrate -f FILE`: prints manifests of earlier years as manifests of today. What they
//! become is `history`'s to say; here are the files.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use history::migrate::{Catalog, Migrated};

use super::output;

#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// A file or a folder with .yaml, .yml and .json files; `-` reads standard input. May be
    /// repeated: what one file says may tell what another means.
    #[arg(long, short, required = true)]
    filename: Vec<String>,
    /// Folders within folders too.
    #[arg(long, short = 'R')]
    recursive: bool,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// With comments on what changed.
    Yaml,
    /// Nothing but how many documents changed.
    Summary,
}

/// Files that hold manifests.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Prints all of them; what has no equivalent is printed as a comment, told on standard error and
/// makes the verb fail in the end.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let texts = read(flags)?;
    let mut catalog = Catalog::default();
    for (name, text) in &texts {
        let invalid = |why| anyhow!("{name} is not valid YAML: {why}");
        catalog.add(text).map_err(invalid)?;
    }
    let mut all = Migrated::default();
    let mut parts = Vec::new();
    for (name, text) in &texts {
        let migrated = catalog
            .migrate(text)
            .map_err(|why| anyhow!("{name}: {why}"))?;
        all.changed += migrated.changed;
        let told = migrated.refused.iter().map(|why| format!("{name}: {why}"));
        all.refused.extend(told);
        if !migrated.text.is_empty() {
            parts.push(migrated.text);
        }
    }
    match flags.output {
        Format::Yaml => output::print(&parts.join("---\n"))?,
        Format::Summary => output::line(&format!(
            "{} documents changed, {} have no equivalent",
            all.changed,
            all.refused.len()
        ))?,
    }
    for why in &all.refused {
        super::complain(why);
    }
    if !all.refused.is_empty() {
        bail!("{} documents have no equivalent", all.refused.len());
    }
    Ok(())
}

/// Names and texts, in order.
fn read(flags: &Flags) -> Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for name in &flags.filename {
        if name == "-" {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("read standard input")?;
            texts.push(("standard input".to_owned(), text));
            continue;
        }
        for path in files(Path::new(name), flags.recursive)? {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {name}"))?;
            texts.push((name, text));
        }
    }
    Ok(texts)
}

/// The file itself, or the manifests of a folder in the order of their names.
fn files(path: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let list = std::fs::read_dir(path).with_context(|| format!("list {}", path.display()))?;
    let mut entries = Vec::new();
    for entry in list {
        entries.push(entry.context("list")?.path());
    }
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let extension = entry.extension().and_then(|extension| extension.to_str());
        if entry.is_dir() {
            if recursive {
                found.extend(files(&entry, true)?);
            }
        } else if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
            found.push(entry);
        }
    }
    Ok(found)
}
