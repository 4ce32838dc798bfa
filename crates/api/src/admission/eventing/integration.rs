//! IntegrationSource and IntegrationSink. The rules of Knative's `pkg/apis/sources/v1alpha1` and
//! `pkg/apis/sinks/v1alpha1`; the defaults are those of their definitions.

use serde_json::{Value, json};

use super::super::errors::Errors;
use super::super::kinds::Subject;
use super::sources::check_source;

/// A part of the spec and the fields it is filled in with.
type Defaults = (&'static str, &'static [(&'static str, Default)]);

#[derive(Clone, Copy)]
enum Default {
    Text(&'static str),
    Number(i64),
    Yes,
}

const SOURCE: &[Defaults] = &[
    (
        "/timer",
        &[
            ("period", Default::Number(1000)),
            ("contentType", Default::Text("text/plain")),
        ],
    ),
    (
        "/aws/s3",
        &[
            ("deleteAfterRead", Default::Yes),
            ("delay", Default::Number(500)),
            ("maxMessagesPerPoll", Default::Number(10)),
        ],
    ),
    (
        "/aws/sqs",
        &[
            ("deleteAfterRead", Default::Yes),
            ("host", Default::Text("amazonaws.com")),
            ("protocol", Default::Text("https")),
            ("delay", Default::Number(500)),
            ("maxMessagesPerPoll", Default::Number(1)),
        ],
    ),
    (
        "/aws/ddbStreams",
        &[
            ("streamIteratorType", Default::Text("FROM_LATEST")),
            ("delay", Default::Number(500)),
        ],
    ),
];

const SINK: &[Defaults] = &[
    (
        "/log",
        &[
            ("loggerName", Default::Text("log-sink")),
            ("level", Default::Text("INFO")),
            ("showBody", Default::Yes),
            ("showBodyType", Default::Yes),
            ("showExchangePattern", Default::Yes),
            ("showCachedStreams", Default::Yes),
        ],
    ),
    (
        "/aws/sqs",
        &[
            ("host", Default::Text("amazonaws.com")),
            ("protocol", Default::Text("https")),
        ],
    ),
];

pub(super) fn fill_source(subject: &mut Subject<'_>) {
    fill(&mut subject.object["spec"], SOURCE);
    subject.note_user();
}

pub(super) fn fill_sink(subject: &mut Subject<'_>) {
    fill(&mut subject.object["spec"], SINK);
    subject.note_user();
}

fn fill(spec: &mut Value, table: &[Defaults]) {
    for (path, fields) in table {
        let Some(part) = spec.pointer_mut(path).filter(|part| part.is_object()) else {
            continue;
        };
        for (field, default) in *fields {
            if part[*field].is_null() {
                part[*field] = match default {
                    Default::Text(text) => json!(text),
                    Default::Number(number) => json!(number),
                    Default::Yes => json!(true),
                };
            }
        }
    }
}

/// What must be set in each of AWS' parts.
const REQUIRED: [(&str, [&str; 2]); 5] = [
    ("s3", ["arn", "region"]),
    ("sqs", ["arn", "region"]),
    ("sns", ["arn", "region"]),
    ("eventbridge", ["arn", "region"]),
    ("ddbStreams", ["table", "region"]),
];

pub(super) fn check_integration_source(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    check_types(spec, "timer", &["s3", "sqs", "ddbStreams"], "source")
        .also(check_source(subject))
        .via_field("spec")
}

pub(super) fn check_integration_sink(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    check_types(spec, "log", &["s3", "sqs", "sns", "eventbridge"], "sink").via_field("spec")
}

fn check_types(spec: &Value, own: &str, of_aws: &[&str], what: &str) -> Errors {
    let aws = &spec["aws"];
    let set: Vec<&str> = of_aws
        .iter()
        .copied()
        .filter(|part| aws[*part].is_object())
        .collect();
    match set.len() + usize::from(spec[own].is_object()) {
        0 => {
            let message = format!("at least one {what} type must be specified");
            return Errors::new(message, &["spec"]);
        }
        1 => {}
        _ => return Errors::new(format!("only one {what} type can be set"), &["spec"]),
    }
    let mut errors = Errors::NONE;
    for part in set {
        let auth = &aws["auth"];
        let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        if !text(&auth["secret"]["ref"]["name"]) && !text(&auth["serviceAccountName"]) {
            errors.add(Errors::missing(&["aws.auth.secret.ref.name"]));
        }
        let required = REQUIRED.iter().find(|(name, _)| *name == part);
        for field in required.into_iter().flat_map(|(_, fields)| fields) {
            if !text(&aws[part][*field]) {
                errors.add(Errors::missing(&[&format!("aws.{part}.{field}")]));
            }
        }
    }
    errors
}
