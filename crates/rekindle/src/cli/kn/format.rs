//! `-o` of `list` and `describe`: objects as they are, or what a JSONPath template finds in them. The
//! templates are kubectl's: text, `{.path}`, `{"text"}`, `{range .path}…{end}`. Go's own are
//! `api::gotext`'s.

use std::fs;

use anyhow::{Context, Result, bail};
use api::gotext::Template;
use api::object::ObjectExt;
use apiserver::jsonpath;
use clap::Args;
use serde_json::Value;

use super::super::output;

/// How objects are printed.
#[derive(Args, Debug, Default)]
pub(crate) struct Format {
    /// json, yaml, name, url, jsonpath=TEMPLATE, jsonpath-as-json=TEMPLATE, jsonpath-file=FILE,
    /// go-template=TEMPLATE, go-template-file=FILE.
    #[arg(long, short)]
    output: Option<String>,
    /// The template of `-o jsonpath` or `-o go-template`, or the file of those that take one.
    #[arg(long)]
    template: Option<String>,
}

impl Format {
    /// Prints an object or a list of them; false, with nothing done, where no format is asked for.
    pub(super) fn print(&self, object: &Value) -> Result<bool> {
        let Some(output) = &self.output else {
            return Ok(false);
        };
        let (format, given) = output.split_once('=').unwrap_or((output, ""));
        let template = || match (given, &self.template) {
            ("", Some(template)) => Ok(template.as_str()),
            ("", None) => bail!("-o {format} needs a template: -o {format}=TEMPLATE"),
            (given, _) => Ok(given),
        };
        match format {
            "json" => output::line(&serde_json::to_string_pretty(object)?)?,
            "yaml" => output::print(&serde_saphyr::to_string(object)?)?,
            "name" => names(object)?,
            "url" => {
                let own = &object["status"]["url"];
                let address = &object["status"]["address"]["url"];
                let url = own.as_str().or(address.as_str());
                output::line(url.unwrap_or_default())?;
            }
            "jsonpath" => output::print(&render(template()?, object)?)?,
            "jsonpath-as-json" => {
                let found = Value::Array(expressions(template()?, object)?);
                output::line(&serde_json::to_string_pretty(&found)?)?;
            }
            "jsonpath-file" => output::print(&render(&file(template()?)?, object)?)?,
            "go-template" | "template" => output::print(&filled(template()?, object)?)?,
            "go-template-file" | "templatefile" => {
                output::print(&filled(&file(template()?)?, object)?)?;
            }
            other => bail!(
                "-o {other}: one of json, yaml, name, url, jsonpath, jsonpath-as-json, \
                 jsonpath-file, go-template, go-template-file"
            ),
        }
        Ok(true)
    }
}

fn file(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {path}"))
}

/// A template of Go's.
fn filled(template: &str, object: &Value) -> Result<String> {
    let filled = Template::parse("output", template).and_then(|template| template.print(object));
    filled.map_err(anyhow::Error::msg)
}

/// `service.serving.knative.dev/hello`, one for each object.
fn names(object: &Value) -> Result<()> {
    let one = [object.clone()];
    for object in object["items"].as_array().map_or(&one[..], Vec::as_slice) {
        let group = object.api_version().split('/').next().unwrap_or_default();
        let kind = object.kind().to_lowercase();
        output::line(&format!("{kind}.{group}/{}", object.name()))?;
    }
    Ok(())
}

/// A piece of a template.
#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Text(String),
    Path(&'a str),
    Range(&'a str),
    End,
}

fn pieces(template: &str) -> Result<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        if start > 0 {
            pieces.push(Piece::Text(rest[..start].to_owned()));
        }
        let behind = &rest[start + 1..];
        let end = closing(behind).with_context(|| format!("{template}: a brace is not closed"))?;
        let inner = behind[..end].trim();
        pieces.push(match inner {
            "end" => Piece::End,
            _ if inner.starts_with(['"', '\'']) => Piece::Text(unquoted(inner)),
            _ => match inner.strip_prefix("range ") {
                Some(path) => Piece::Range(path.trim()),
                None => Piece::Path(inner),
            },
        });
        rest = &behind[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// Where the brace is closed, text in quotes skipped.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (None, '}') => return Some(at),
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => {}
        }
    }
    None
}

fn unquoted(text: &str) -> String {
    let inner = text.trim_matches(['"', '\'']);
    inner.replace("\\n", "\n").replace("\\t", "\t")
}

/// Paths of kubectl's: with `$`, `@` or nothing in front of the first dot.
fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    jsonpath::find(object, path.trim_start_matches(['@', '$']))
}

fn render(template: &str, object: &Value) -> Result<String> {
    let pieces = pieces(template)?;
    let mut text = String::new();
    let used = fill(&pieces, object, &mut text);
    if used < pieces.len() {
        bail!("{template}: {{end}} without {{range}}");
    }
    Ok(text)
}

/// Fills pieces in up to the end of a range; gives how many there were.
fn fill(pieces: &[Piece<'_>], object: &Value, text: &mut String) -> usize {
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        match piece {
            Piece::End => return at,
            Piece::Text(literal) => text.push_str(literal),
            Piece::Path(path) => {
                let found = find(object, path);
                let shown: Vec<String> = found.into_iter().map(jsonpath::show).collect();
                text.push_str(&shown.join(" "));
            }
            Piece::Range(path) => {
                let inside = &pieces[at + 1..];
                for one in find(object, path) {
                    fill(inside, one, text);
                }
                // What is inside is skipped the same way where nothing was found.
                at += 1 + fill(inside, &Value::Null, &mut String::new());
            }
        }
        at += 1;
    }
    at
}

/// What the paths of a template find.
fn expressions(template: &str, object: &Value) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for piece in pieces(template)? {
        if let Piece::Path(path) = piece {
            found.extend(find(object, path).into_iter().cloned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_of_kubectl() {
        let list = json!({"items": [
            {"metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            {"metadata": {"name": "b"}},
        ]});
        for (template, expected) in [
            ("{.items[*].metadata.name}", "a b"),
            ("{range .items[*]}{.metadata.name}{\"\\n\"}{end}", "a\nb\n"),
            ("<{.items[0].metadata.name}>", "<a>"),
            (
                "{range .items[*]}{.status.conditions[?(@.type==\"Ready\")].status},{end}",
                "True,,",
            ),
            ("{range .none[*]}x{end}y", "y"),
            ("{.none}", ""),
        ] {
            assert_eq!(
                render(template, &list).ok().as_deref(),
                Some(expected),
                "{template}"
            );
        }
        assert!(render("{.a", &list).is_err());
        assert!(render("{end}", &list).is_err());
        let found = expressions("{.items[*].metadata.name}", &list).ok();
        assert_eq!(found, Some(vec![json!("a"), json!("b")]));
    }
}
