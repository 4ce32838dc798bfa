//! Printing: the one place that writes to standard output.

use std::io::{ErrorKind, Write};

use anyhow::{Context, Result};
use serde_json::Value;

/// Spaces between two columns, as kubectl has them.
const COLUMN_GAP: usize = 3;

/// Whoever read standard output has seen enough, as `head` has.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(crate) struct ReaderGone;

/// Writes `text` to standard output.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        written => written.context("write to standard output"),
    }
}

/// Writes one line to standard output.
pub(crate) fn line(text: &str) -> Result<()> {
    print(&format!("{text}\n"))
}

/// Columns aligned under their headers.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter()
            .filter_map(|row| row.get(at))
            .map(|s| s.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..count)
        .map(|at| width(at).unwrap_or(0) + COLUMN_GAP)
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

/// The rows of a `meta.k8s.io` Table; columns of a priority above 0 only when `wide`.
pub(crate) fn table(table: &Value, wide: bool, with_namespace: bool) -> Vec<Vec<String>> {
    let definitions: Vec<&Value> = table["columnDefinitions"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let shown = |at: usize| wide || definitions[at]["priority"].as_i64().unwrap_or(0) == 0;
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let mut head: Vec<String> = (0..definitions.len())
        .filter(|at| shown(*at))
        .map(|at| text(&definitions[at]["name"]).to_uppercase())
        .collect();
    if with_namespace {
        head.insert(0, "NAMESPACE".to_owned());
    }
    let mut rows = vec![head];
    for row in table["rows"].as_array().into_iter().flatten() {
        let cells = row["cells"].as_array().into_iter().flatten().enumerate();
        let mut cells: Vec<String> = cells
            .filter(|(at, _)| shown(*at))
            .map(|(_, cell)| text(cell))
            .collect();
        if with_namespace {
            cells.insert(0, text(&row["object"]["metadata"]["namespace"]));
        }
        rows.push(cells);
    }
    rows
}
