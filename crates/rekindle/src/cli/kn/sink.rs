//! `--sink`: `ksvc:NAME`, `svc:NAME`, `broker:NAME`, `channel:NAME`, `GROUP/VERSION/KIND:NAME`, each
//! with `:NAMESPACE` behind it if need be, a URL, or a bare name for a Knative Service.

use anyhow::{Result, bail};
use serde_json::{Value, json};

/// The destination a person means.
pub(super) fn parse(text: &str, namespace: &str) -> Result<Value> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(json!({"uri": text}));
    }
    let mut parts = text.split(':');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let (kind, name) = match second {
        Some(name) => (first, name),
        None => ("ksvc", first),
    };
    let namespace = parts.next().unwrap_or(namespace);
    if name.is_empty() || parts.next().is_some() {
        bail!("--sink {text}: use KIND:NAME, KIND:NAME:NAMESPACE or a URL");
    }
    let (version, kind) = match kind {
        "ksvc" | "service" => ("serving.knative.dev/v1", "Service"),
        "svc" => ("v1", "Service"),
        "broker" => ("eventing.knative.dev/v1", "Broker"),
        "channel" => ("messaging.knative.dev/v1", "Channel"),
        other => match other.rsplit_once('/') {
            Some((version, kind)) => (version, kind),
            None => bail!(
                "--sink {text}: {other:?} is none of ksvc, svc, broker, channel and GROUP/VERSION/KIND"
            ),
        },
    };
    Ok(json!({"ref": {
        "apiVersion": version, "kind": kind, "name": name, "namespace": namespace,
    }}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_are_written_as_for_kn() {
        for (text, sink) in [
            ("hello", "serving.knative.dev/v1 Service hello here"),
            (
                "ksvc:hello:there",
                "serving.knative.dev/v1 Service hello there",
            ),
            ("svc:hello", "v1 Service hello here"),
            (
                "broker:default",
                "eventing.knative.dev/v1 Broker default here",
            ),
            (
                "flows.knative.dev/v1/Sequence:s",
                "flows.knative.dev/v1 Sequence s here",
            ),
        ] {
            let parsed = parse(text, "here").expect("valid");
            let field = |name: &str| parsed["ref"][name].as_str().unwrap_or("-").to_owned();
            let said = ["apiVersion", "kind", "name", "namespace"]
                .map(field)
                .join(" ");
            assert_eq!(said, sink, "{text}");
        }
        assert_eq!(
            parse("http://a/b", "x").expect("valid")["uri"],
            "http://a/b"
        );
        for wrong in ["", "pod:x", "ksvc:", "a:b:c:d"] {
            assert!(parse(wrong, "x").is_err(), "{wrong}");
        }
    }
}
