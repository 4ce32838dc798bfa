//! `rekindle image load|ls|rm`: the node's image store, which may be changed while it runs.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use node::image::ImageStore;

use super::client::Verbs;
use super::output;

/// A verb, and where.
pub(crate) type Flags = Verbs<Verb>;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Load an OCI layout directory, an OCI archive, or what `docker save` writes.
    Load {
        /// The directory or archive.
        path: PathBuf,
        /// What the image is called; needed when the archive does not say.
        #[arg(long)]
        name: Option<String>,
    },
    /// List images.
    Ls,
    /// Remove images by name.
    Rm {
        /// Their names.
        #[arg(required = true)]
        references: Vec<String>,
    },
}

pub(crate) fn run(flags: Flags) -> Result<()> {
    let store = ImageStore::open(&flags.target.data_dir()?)?;
    match flags.verb {
        Verb::Load { path, name } => {
            for reference in store.load(&path, name.as_deref())? {
                output::line(&format!("Loaded image: {reference}"))?;
            }
            Ok(())
        }
        Verb::Ls => {
            let mut rows = vec![["IMAGE", "DIGEST", "SIZE"].map(str::to_owned).to_vec()];
            for image in store.list()? {
                let digest = image.digest.to_string();
                let short = digest.get(..19).unwrap_or(&digest).to_owned();
                rows.push(vec![image.reference, short, human(image.size)]);
            }
            output::print(&output::columns(&rows))
        }
        Verb::Rm { references } => {
            for reference in references {
                store.remove(&reference)?;
                output::line(&format!("Removed image: {reference}"))?;
            }
            Ok(())
        }
    }
}

/// Bytes as people read them.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes}B")
    } else {
        format!("{size:.1}{}", UNITS[unit])
    }
}
