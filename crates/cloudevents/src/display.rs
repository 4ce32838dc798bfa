//! An event as Knative's `event_display` prints it, which is the Go SDK's `Event.String()`.
//! Called by the built-in `event_display` container and `rekindle event tail`.

use std::fmt::Write;

use crate::event::{Event, SpecVersion, Value};

/// Which generation of the image is imitated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Current releases: no line about validity.
    Current,
    /// `knative/eventing-sources` and `knative/eventing-contrib` of 2019 to 2021, which the
    /// tutorials show: `Validation: valid` comes first.
    Validated,
}

/// The text of one event, with its heading and a line break at the end.
pub fn display(event: &Event, style: Style) -> String {
    let mut out = String::from("☁️  cloudevents.Event\n");
    if style == Style::Validated {
        out.push_str("Validation: valid\n");
    }
    out.push_str("Context Attributes,\n");
    line(&mut out, "specversion", event.version.as_str());
    let schema = match event.version {
        SpecVersion::V03 => "schemaurl",
        SpecVersion::V1 => "dataschema",
    };
    for name in [
        "type",
        "source",
        "subject",
        "id",
        "time",
        schema,
        "datacontenttype",
    ] {
        if let Some(text) = event.get(name).and_then(Value::as_str) {
            match name {
                "time" => line(&mut out, name, &utc(text)),
                _ => line(&mut out, name, text),
            }
        }
    }
    if let (SpecVersion::V03, Some(coding)) = (event.version, event.get("datacontentencoding")) {
        line(&mut out, "datacontentencoding", &coding.as_text());
    }
    let mut extensions: Vec<_> = event.extensions().collect();
    extensions.sort_by(|a, b| a.name.cmp(&b.name));
    if !extensions.is_empty() {
        out.push_str("Extensions,\n");
    }
    for extension in extensions {
        line(&mut out, &extension.name, &extension.value.as_text());
    }
    data(&mut out, event);
    out
}

fn line(out: &mut String, name: &str, value: &str) {
    writeln!(out, "  {name}: {value}").expect("writing to a String cannot fail");
}

fn data(out: &mut String, event: &Event) {
    let Some(data) = event.data() else { return };
    out.push_str(if event.is_base64() {
        "Data (binary),\n  "
    } else {
        "Data,\n  "
    });
    let text = String::from_utf8_lossy(data);
    let media_type = event.data_content_type().unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let is_json = media_type.eq_ignore_ascii_case("application/json")
        && serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok();
    if is_json {
        indent(out, &text);
    } else {
        out.push_str(&text);
    }
    out.push('\n');
}

/// RFC 3339 in UTC with as many digits as it takes, as Go writes timestamps.
pub(crate) fn utc(time: &str) -> String {
    time.parse::<jiff::Timestamp>()
        .map_or_else(|_| time.to_owned(), |time| time.to_string())
}

/// Go's `json.Indent` with prefix and step of two spaces: the order of members, numbers and strings
/// stay as they are. `json` is valid.
fn indent(out: &mut String, json: &str) {
    let mut depth = 0usize;
    let (mut in_string, mut escaped) = (false, false);
    let mut opened = false;
    let line_break = |out: &mut String, depth: usize| {
        out.push_str("\n  ");
        for _ in 0..depth {
            out.push_str("  ");
        }
    };
    for letter in json.trim().chars() {
        if in_string {
            out.push(letter);
            in_string = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
            continue;
        }
        if letter.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(letter, '}' | ']');
        if opened && !closes {
            depth += 1;
            line_break(out, depth);
        }
        if closes && !opened {
            depth = depth.saturating_sub(1);
            line_break(out, depth);
        }
        opened = matches!(letter, '{' | '[');
        out.push(letter);
        match letter {
            '"' => in_string = true,
            ',' => line_break(out, depth),
            ':' => out.push(' '),
            _ => {}
        }
    }
}
