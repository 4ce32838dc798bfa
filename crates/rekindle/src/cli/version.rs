//! `rekindle version`: kn's verb of the same name, with what is known of this program.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::output;

/// How it is printed.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// json or yaml.
    #[arg(long, short)]
    output: Option<String>,
}

/// The versions of Knative's APIs that kn names, by part.
const APIS: [(&str, &[&str]); 2] = [
    ("serving", &["serving.knative.dev/v1"]),
    (
        "eventing",
        &["sources.knative.dev/v1", "eventing.knative.dev/v1"],
    ),
];

pub(crate) fn run(flags: &Flags) -> Result<()> {
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    let supported = |(part, versions): &(&str, &[&str])| {
        let of = |api: &&str| format!("{api} (knative-{part} {version})");
        let all: Value = versions.iter().map(of).collect();
        ((*part).to_owned(), all)
    };
    // Nothing that changes from build to build is in the program.
    let told = json!({
        "Version": version,
        "BuildDate": "",
        "GitRevision": "",
        "SupportedAPIs": APIS.iter().map(supported).collect::<Value>(),
    });
    match flags.output.as_deref().map(str::to_lowercase).as_deref() {
        Some("json") => return output::line(&serde_json::to_string_pretty(&told)?),
        Some("yaml") => return output::print(&serde_saphyr::to_string(&told)?),
        Some(_) => bail!("invalid value for output flag, choose one among 'json' or 'yaml'"),
        None => {}
    }
    let mut text = format!("Version:      {version}\nSupported APIs:\n");
    for (title, (part, _)) in ["Serving", "Eventing"].iter().zip(APIS) {
        text.push_str(&format!("* {title}\n"));
        let apis = told["SupportedAPIs"][part].as_array();
        for api in apis.into_iter().flatten().filter_map(Value::as_str) {
            text.push_str(&format!("  - {api}\n"));
        }
    }
    output::print(&text)
}
