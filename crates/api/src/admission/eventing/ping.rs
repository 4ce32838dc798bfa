//! PingSource. The rules of Knative's `pkg/apis/sources/v1/ping_{defaults,validation}.go`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::errors::Errors;
use super::super::kinds::Subject;
use super::sources::check_source;
use crate::cron::{self, Schedule};

const JSON: &str = "application/json";

pub(super) fn fill(subject: &mut Subject<'_>) {
    let spec = &mut subject.object["spec"];
    if spec["schedule"].is_null() {
        spec["schedule"] = json!("* * * * *");
    }
    subject.note_user();
}

pub(super) fn check(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    check_schedule(spec)
        .also(check_source(subject))
        .also(check_data(spec, subject.configs.eventing.ping.data_max))
        .via_field("spec")
}

fn check_schedule(spec: &Value) -> Errors {
    let text = |field: &str| spec[field].as_str().unwrap_or_default();
    let (schedule, zone) = (text("schedule"), text("timezone"));
    if schedule.contains("@every") {
        return Errors::invalid("unsupported descriptor @every", "schedule");
    }
    match Schedule::parse(schedule, zone) {
        Ok(_) => Errors::NONE,
        Err(error @ cron::Error::Location(_)) => Errors::invalid(error, "timezone"),
        Err(error @ cron::Error::Schedule(_)) => Errors::invalid(error, "schedule"),
    }
}

fn check_data(spec: &Value, most: i64) -> Errors {
    let is_json = spec["contentType"] == JSON;
    let (field, text) = match (spec["data"].as_str(), spec["dataBase64"].as_str()) {
        (Some(_), Some(_)) => return Errors::several_of(&["data", "dataBase64"]),
        (None, None) => return Errors::NONE,
        (Some(text), None) => ("data", text),
        (None, Some(text)) => ("dataBase64", text),
    };
    let mut errors = Errors::NONE;
    let size = i64::try_from(text.len()).unwrap_or(i64::MAX);
    if most > -1 && size > most {
        let why = format!("the {field} length of {size} bytes exceeds limit set at {most}.");
        errors.add(Errors::invalid(why, field));
    }
    let bytes = if field == "data" {
        text.as_bytes().to_vec()
    } else {
        match STANDARD.decode(text) {
            Ok(bytes) => bytes,
            Err(_) => return errors.also(Errors::invalid(base64_error(text), field)),
        }
    };
    if is_json && let Err(error) = serde_json::from_slice::<Map<String, Value>>(&bytes) {
        errors.add(Errors::invalid(json_error(&error, &bytes), field));
    }
    errors
}

/// As Go's `encoding/base64` words it, which tells of the first byte that cannot be.
fn base64_error(text: &str) -> String {
    let is_digit = |b: u8| b.is_ascii_alphanumeric() || b"+/".contains(&b);
    let end = text.trim_end_matches('=').len();
    let wrong = text.bytes().take(end).position(|b| !is_digit(b));
    format!("illegal base64 data at input byte {}", wrong.unwrap_or(end))
}

/// The commonest mistakes as Go's `encoding/json` words them.
fn json_error(error: &serde_json::Error, bytes: &[u8]) -> String {
    let start = bytes.iter().find(|b| !b.is_ascii_whitespace());
    let (kind, go) = match start {
        None => return "unexpected end of JSON input".to_owned(),
        Some(b'{') if error.is_eof() => return "unexpected end of JSON input".to_owned(),
        Some(b'[') => ("array", "map[string]interface {}"),
        Some(b'"') => ("string", "map[string]interface {}"),
        Some(b't' | b'f') if matches!(bytes.trim_ascii(), b"true" | b"false") => {
            ("bool", "map[string]interface {}")
        }
        Some(b'0'..=b'9' | b'-') => ("number", "map[string]interface {}"),
        Some(b'{') => return error.to_string(),
        Some(other) => {
            let other = char::from(*other);
            return format!("invalid character '{other}' looking for beginning of value");
        }
    };
    format!("json: cannot unmarshal {kind} into Go value of type {go}")
}
