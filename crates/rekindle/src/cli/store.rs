//! `rekindle store repair`: the store of an instance that does not run.

use anyhow::Result;
use apiserver::store;
use clap::Subcommand;

use super::client::Verbs;
use super::output;

/// A verb, and where.
pub(crate) type Flags = Verbs<Verb>;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Make a damaged store usable again from what can be read of it, and say what is lost. The
    /// files as they were are kept. The instance must not run.
    Repair {
        /// Only say what is lost, and change nothing.
        #[arg(long)]
        look_only: bool,
    },
}

pub(crate) fn run(flags: Flags) -> Result<()> {
    let Verb::Repair { look_only } = flags.verb;
    let dir = flags.target.data_dir()?.join("store");
    anyhow::ensure!(dir.is_dir(), "{} is not there", dir.display());
    let found = store::repair(&dir, look_only)?;
    if found.lost.is_empty() {
        return output::line(&format!("The store is whole: {} objects.", found.objects));
    }
    for loss in &found.lost {
        let store::Loss {
            path,
            from,
            to,
            why,
        } = loss;
        let path = path.display();
        output::line(&format!("{path}: bytes {from} to {to} are lost: {why}"))?;
    }
    match found.kept {
        Some(kept) => output::line(&format!(
            "The store has {} objects. Its files as they were are in {}; delete them when you are \
             content.",
            found.objects,
            kept.display()
        )),
        None => output::line(&format!(
            "{} objects can be read. Nothing was changed.",
            found.objects
        )),
    }
}
