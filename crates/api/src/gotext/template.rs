//! Go's `text/template`, as far as Knative's ConfigMaps use it: domain, tag and container-name
//! templates, the request log and the revision's log URL, and as kubectl and kn print objects with it.
//! Data is a JSON value; a field is a key.
//!
//! Read: text, `{{.A.B}}`, `$`, strings, numbers, `true`/`false`/`nil`, pipelines, parentheses,
//! `if`/`else if`/`else`/`end`, `with`, `range`, comments, trim markers, and the functions of [`call`].
//! Not read: `define`, `template`, `block`, `break`, `continue`, variables other than `$`.

mod eval;
mod lex;
mod parse;

use eval::Scope;
use serde_json::Value;

/// A parsed template.
#[derive(Clone, PartialEq, Debug)]
pub struct Template {
    name: String,
    source: String,
    nodes: Vec<parse::Node>,
}

impl Template {
    /// Parses `source`; `name` appears in errors.
    ///
    /// # Errors
    /// A sentence of the form `template: NAME:LINE: what is wrong`.
    pub fn parse(name: &str, source: &str) -> Result<Self, String> {
        let tokens = lex::lex(source).map_err(|error| located(name, &error))?;
        let nodes = parse::parse(&tokens).map_err(|error| located(name, &error))?;
        Ok(Self {
            name: name.to_owned(),
            source: source.to_owned(),
            nodes,
        })
    }

    /// What it was parsed from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Fills it in with `data`.
    ///
    /// # Errors
    /// A sentence of the form `template: NAME:LINE: what is wrong`.
    pub fn execute(&self, data: &Value) -> Result<String, String> {
        self.fill(data, false)
    }

    /// Fills it in with maps, as `-o go-template` does with objects: a key that is not there is no
    /// mistake and prints as `<no value>`.
    ///
    /// # Errors
    /// As [`Template::execute`].
    pub fn print(&self, data: &Value) -> Result<String, String> {
        self.fill(data, true)
    }

    fn fill(&self, root: &Value, of_maps: bool) -> Result<String, String> {
        let mut out = String::new();
        eval::run(&self.nodes, Scope { root, of_maps }, root, &mut out)
            .map_err(|error| located(&self.name, &error))?;
        Ok(out)
    }
}

/// What is wrong in which line.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Error {
    line: usize,
    text: String,
}

fn located(name: &str, error: &Error) -> String {
    format!("template: {name}:{}: {}", error.line, error.text)
}

#[cfg(test)]
mod tests;
