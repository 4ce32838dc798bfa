//! `docs/conformance.md`: a table of what holds, made by the `conformance` command.

use std::fmt::Write as _;
use std::time::Duration;

use crate::row::{Proof, Row};
use crate::run::Outcome;

const HEAD: &str = "# Conformance\n\n\
    Made by `conformance --report docs/conformance.md` (`crates/conformance`): one row for each of \
    Knative Serving's own conformance and end-to-end tests, then one for each sentence of Knative's \
    specifications, in our words. Each is run against the real binary, with containers, as a black \
    box; what fails beside all the others is asked again alone.\n";

/// How many passed, failed, do not apply, were not run.
pub fn count(outcomes: &[(Outcome, Duration)]) -> [usize; 4] {
    let of = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|(outcome, _)| is(outcome)).count();
    [
        of(|outcome| *outcome == Outcome::Passed),
        of(|outcome| matches!(outcome, Outcome::Failed(_))),
        of(|outcome| matches!(outcome, Outcome::NotApplicable(_))),
        of(|outcome| *outcome == Outcome::NotRun),
    ]
}

/// The report as Markdown.
pub fn markdown(rows: &[Row], outcomes: &[(Outcome, Duration)]) -> String {
    let [passed, failed, not_applicable, not_run] = count(outcomes);
    let mut page = String::from(HEAD);
    let _ = writeln!(
        page,
        "\n{passed} passed, {failed} failed, {not_applicable} not applicable, {not_run} not run."
    );
    let mut suite = "";
    for (row, (outcome, _)) in rows.iter().zip(outcomes) {
        if row.suite != suite {
            suite = row.suite;
            let head = "| name | asserts | outcome |\n|---|---|---|";
            let _ = writeln!(page, "\n## {suite}\n\n{head}");
        }
        let _ = writeln!(
            page,
            "| {} | {} | {} |",
            row.name,
            row.says,
            cell(row, outcome)
        );
    }
    page
}

fn cell(row: &Row, outcome: &Outcome) -> String {
    let by = match row.proof {
        Proof::Shown(by) => format!(" ({})", by.join(", ")),
        _ => String::new(),
    };
    let said = match outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed(why) => format!("**failed**: {}", one_line(why)),
        Outcome::NotApplicable(why) => format!("not applicable: {}", one_line(why)),
        Outcome::NotRun => "not run".to_owned(),
    };
    said + &by
}

fn one_line(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.replace('|', "\\|");
    line.chars().take(300).collect()
}
