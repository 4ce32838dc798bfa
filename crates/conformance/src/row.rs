//! One test: what it is called by Knative, what it asserts in our words, and what to run.

use std::pin::Pin;

use anyhow::Result;

use crate::test::Test;

type Run = Box<dyn Fn(Test) -> Pin<Box<dyn Future<Output = Result<()>>>>>;

/// What is done for a row.
pub enum Proof {
    /// Runs each time.
    Short(Run),
    /// Runs when `--long` asks for it.
    Long(Run),
    /// Cannot be asked of this program, and why.
    NotApplicable(&'static str),
    /// Other tests show it: their names.
    Shown(&'static [&'static str]),
}

/// A line of the report.
pub struct Row {
    /// The package of Knative's tests, or the part of the specification.
    pub suite: &'static str,
    /// The test's name there, or the level of the sentence (MUST, SHOULD, MAY).
    pub name: &'static str,
    /// What it asserts.
    pub says: &'static str,
    /// What is done for it.
    pub proof: Proof,
}

fn boxed<F, R>(run: F) -> Run
where
    F: Fn(Test) -> R + 'static,
    R: Future<Output = Result<()>> + 'static,
{
    Box::new(move |test| Box::pin(run(test)))
}

/// A suite's rows, being collected.
pub struct Rows {
    suite: &'static str,
    /// What was collected.
    pub rows: Vec<Row>,
}

impl Rows {
    /// None yet.
    pub fn of(suite: &'static str) -> Self {
        Self {
            suite,
            rows: Vec::new(),
        }
    }

    fn push(mut self, name: &'static str, says: &'static str, proof: Proof) -> Self {
        self.rows.push(Row {
            suite: self.suite,
            name,
            says,
            proof,
        });
        self
    }

    /// A test of a few seconds.
    pub fn test<F, R>(self, name: &'static str, says: &'static str, run: F) -> Self
    where
        F: Fn(Test) -> R + 'static,
        R: Future<Output = Result<()>> + 'static,
    {
        self.push(name, says, Proof::Short(boxed(run)))
    }

    /// A test that takes a minute or more, or much of the machine.
    pub fn long<F, R>(self, name: &'static str, says: &'static str, run: F) -> Self
    where
        F: Fn(Test) -> R + 'static,
        R: Future<Output = Result<()>> + 'static,
    {
        self.push(name, says, Proof::Long(boxed(run)))
    }

    /// A test this program cannot be put to.
    pub fn not_applicable(self, name: &'static str, says: &'static str, why: &'static str) -> Self {
        self.push(name, says, Proof::NotApplicable(why))
    }

    /// A sentence other tests show.
    pub fn shown(
        self,
        level: &'static str,
        says: &'static str,
        by: &'static [&'static str],
    ) -> Self {
        self.push(level, says, Proof::Shown(by))
    }
}
