//! What `config.webhook.serving.knative.dev` refuses: an edited `_example` block, and data that
//! does not parse. Called by admission.

use serde_json::Value;

use super::{
    Autoscaler, Certificates, Data, Defaults, Deployment, Domain, Error, Features, Gc,
    LeaderElection, Logging, Network, Observability, data_of,
};
use crate::gotext::quote;
use crate::object::ObjectExt;

/// The key of the commented example.
pub(super) const EXAMPLE_KEY: &str = "_example";
/// The annotation that holds the example's checksum.
pub(super) const CHECKSUM_ANNOTATION: &str = "knative.dev/example-checksum";

/// The checksum of an example: CRC-32 of the text without outer white space, each run of line
/// breaks counted as the two characters `\n`, as knative.dev/pkg computes it.
pub fn checksum(example: &str) -> String {
    let mut normal = String::with_capacity(example.len());
    let mut in_break = false;
    for line in example.trim().split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if in_break && !line.is_empty() {
            normal.push_str("\\n");
        }
        normal.push_str(line);
        in_break = true;
    }
    format!("{:08x}", crc32fast::hash(normal.as_bytes()))
}

/// Whether ConfigMap `object` may be stored.
///
/// # Errors
/// Knative's text of what is wrong.
pub fn validate(object: &Value) -> Result<(), Error> {
    let data = data_of(object);
    check_example(object, &data)?;
    parse_by_name(object.name(), &data)
}

/// Whether the commented example was left alone.
///
/// # Errors
/// It was edited, which has no effect.
pub(super) fn check_example(object: &Value, data: &Data) -> Result<(), Error> {
    if let (Some(example), Some(sum)) = (
        data.get(EXAMPLE_KEY),
        object.annotation(CHECKSUM_ANNOTATION),
    ) && sum != checksum(example)
    {
        return Err(Error(format!(
            "the update modifies a key in {} which is probably not what you want. Instead, copy \
             the respective setting to the top-level of the ConfigMap, directly below \"data\"",
            quote(EXAMPLE_KEY)
        )));
    }
    Ok(())
}

fn parse_by_name(name: &str, data: &Data) -> Result<(), Error> {
    match name {
        Autoscaler::NAME => Autoscaler::parse(data).map(drop),
        Certificates::NAME => Certificates::parse(data).map(drop),
        Defaults::NAME => Defaults::parse(data).map(drop),
        Deployment::NAME => Deployment::parse(data).map(drop),
        Domain::NAME => Domain::parse(data).map(drop),
        Features::NAME => Features::parse(data).map(drop),
        Gc::NAME => Gc::parse(data).map(drop),
        LeaderElection::NAME => LeaderElection::parse(data).map(drop),
        Logging::NAME => Logging::parse(data).map(drop),
        Network::NAME => Network::parse(data).map(drop),
        Observability::NAME => Observability::parse(data).map(drop),
        _ => Ok(()),
    }
}
