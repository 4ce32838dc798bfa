//! Knative's own answers (`golden/admission.json`) against ours.

use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::config::{Autoscaler, Data, Defaults, Features};

#[derive(Deserialize)]
struct Case {
    name: String,
    op: String,
    object: Value,
    old: Option<Value>,
    features: Data,
    defaults: Data,
    autoscaler: Data,
    user: String,
    defaulted: Value,
    error: String,
    warning: String,
}

impl Case {
    fn configs(&self) -> Configs {
        Configs {
            features: Features::parse(&self.features).unwrap(),
            defaults: Defaults::parse(&self.defaults).unwrap(),
            autoscaler: Autoscaler::parse(&self.autoscaler).unwrap(),
            ..Configs::default()
        }
    }

    /// The defaulted object, the error text and the warning text.
    fn answer(&self) -> (Value, String, String) {
        let configs = self.configs();
        let asked = Review {
            operation: if self.op == "create" {
                Operation::Create
            } else {
                Operation::Update
            },
            object: &self.object,
            old: self.old.as_ref(),
            user: &self.user,
        };
        let filled = fill(&asked, &configs).unwrap_or_else(Value::String);
        match review(&asked, &configs) {
            Ok(admitted) => {
                assert_eq!(
                    admitted.object, filled,
                    "{}: fill and review differ",
                    self.name
                );
                (filled, String::new(), admitted.warnings.join("\n"))
            }
            Err(denied) => (filled, denied.mistakes, denied.warnings.join("\n")),
        }
    }
}

#[test]
fn golden_admission() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
    let folder = std::env::var("REKINDLE_GOLDEN").unwrap_or_else(|_| default.to_owned());
    let path = std::path::Path::new(&folder).join("admission.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    let mut failures = Vec::new();
    for case in &cases {
        let (object, error, warning) = case.answer();
        let mut told = String::new();
        if object != case.defaulted {
            told = format!("{told}\n  object: {object}\n     not: {}", case.defaulted);
        }
        for (what, got, want) in [
            ("error", error, &case.error),
            ("warning", warning, &case.warning),
        ] {
            if got != *want {
                told = format!("{told}\n  {what}: {got:?}\n     not: {want:?}");
            }
        }
        if !told.is_empty() {
            failures.push(format!("{}:{told}", case.name));
        }
    }
    println!(
        "golden_admission: {} cases, {} failed",
        cases.len(),
        failures.len()
    );
    assert!(!cases.is_empty(), "no cases");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
