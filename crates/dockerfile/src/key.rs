//! Names of what steps make: the same base, step and content give the same key, whatever else has
//! changed in the Dockerfile. The builder's cache of layers goes by them.
//!
//! As with BuildKit, times of files do not count, nor do labels and other parts of the
//! configuration that a step cannot see.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::plan::Step;

/// Changes when the same step would make something else than before.
const FORMAT: u32 = 1;

/// One file or directory that goes into a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// Where it is in the source, or what was fetched.
    pub path: String,
    /// Type and permission bits.
    pub mode: u32,
    /// Digest of its content; of a symbolic link, its target.
    pub content: String,
}

/// The key of a step on top of these layers (their DiffIDs, the lowest first).
pub fn of_step(layers: &[String], step: &Step, inputs: &[Input]) -> String {
    #[derive(Serialize)]
    struct Key<'a> {
        format: u32,
        layers: &'a [String],
        step: &'a Step,
        inputs: &'a [Input],
    }
    let key = Key {
        format: FORMAT,
        layers,
        step,
        inputs,
    };
    let bytes = serde_json::to_vec(&key).unwrap_or_default();
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_counts_changes_the_key() {
        let step = |path: &str| Step::Workdir(path.to_owned());
        let input = |content: &str| Input {
            path: "a".to_owned(),
            mode: 0o644,
            content: content.to_owned(),
        };
        let base = ["x".to_owned()];
        let keys = [
            of_step(&base, &step("/a"), &[]),
            of_step(&base, &step("/b"), &[]),
            of_step(&[], &step("/a"), &[]),
            of_step(&base, &step("/a"), &[input("1")]),
            of_step(&base, &step("/a"), &[input("2")]),
        ];
        let different: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
        assert_eq!(keys[0], of_step(&base, &step("/a"), &[]));
    }
}
