//! Texts of several YAML documents: taken apart, and printed with comments.

use api::object::ObjectExt;
use serde_json::Value;

/// Columns a comment may take.
const WIDTH: usize = 96;

/// One document of a text.
pub(super) struct Document<'a> {
    text: &'a str,
}

/// The documents of a text, in their order.
pub(super) fn split(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        if bare == "---" || bare.starts_with("--- ") || bare == "..." {
            documents.push(Document {
                text: &text[start..at],
            });
            start = at + line.len();
        }
        at += line.len();
    }
    documents.push(Document {
        text: &text[start..],
    });
    documents.retain(|document| !document.text.trim().is_empty());
    documents
}

impl Document<'_> {
    /// The object; `None` for comments alone.
    pub(super) fn object(&self) -> Result<Option<Value>, String> {
        let value: Option<Value> =
            serde_saphyr::from_str(self.text).map_err(|error| error.to_string())?;
        Ok(value.filter(|value| value["kind"].is_string()))
    }

    /// The text as it is.
    pub(super) fn as_written(&self) -> String {
        let mut text = self.text.to_owned();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }

    /// The comments before the first field.
    fn head(&self) -> String {
        let lines = self.text.lines();
        let lines = lines.take_while(|line| line.starts_with('#') || line.trim().is_empty());
        lines
            .filter(|line| !line.is_empty())
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// Objects in the place of the document.
    pub(super) fn changed(&self, objects: &[Value], notes: &[String]) -> Result<String, String> {
        let mut text = self.head();
        for note in notes {
            text.push_str(&comment(note));
        }
        for (index, object) in objects.iter().enumerate() {
            if index > 0 {
                text.push_str("---\n");
            }
            let yaml = serde_saphyr::to_string(object).map_err(|error| error.to_string())?;
            text.push_str(yaml.trim_end());
            text.push('\n');
        }
        Ok(text)
    }

    /// A comment in the place of the document.
    pub(super) fn gone(&self, object: &Value, notes: &[String]) -> String {
        let mut text = self.head();
        let name = format!("{} {:?} is left out", super::kind(object), object.name());
        text.push_str(&comment(&name));
        for note in notes {
            text.push_str(&comment(note));
        }
        text
    }

    /// The document as a comment, and why.
    pub(super) fn refused(&self, name: &str, why: &str) -> String {
        let mut text = comment(&format!("{name} has no equivalent: {why}"));
        for line in self.text.lines() {
            text.push_str(format!("# {line}").trim_end());
            text.push('\n');
        }
        text
    }
}

/// A sentence as a comment, in lines that fit a screen.
fn comment(text: &str) -> String {
    let mut out = String::new();
    let mut line = "# migrate:".to_owned();
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            "#  ".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
    out
}
