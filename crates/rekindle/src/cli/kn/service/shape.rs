//! The flags that shape a Service, and what they make of it.

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

/// How long `create`, `update` and `apply` wait for Ready unless told otherwise, in seconds; as in
/// kn.
const WAIT_SECONDS: u64 = 600;
/// The label that keeps a Service inside the cluster.
const VISIBILITY: &str = "networking.knative.dev/visibility";

/// The flags of kn.
#[derive(Args, Debug)]
pub(super) struct Spec {
    /// The Service's name.
    pub(super) name: Option<String>,
    /// A file with the Service; the flags change what it says.
    #[arg(long, short)]
    pub(super) filename: Option<String>,
    /// The image to run.
    #[arg(long)]
    pub(super) image: Option<String>,
    /// A directory or a git URL with a Dockerfile: build the image from it first.
    #[arg(long, conflicts_with = "image")]
    pub(super) source: Option<String>,
    /// NAME=VALUE in the environment; NAME- takes one away. May be repeated.
    #[arg(long, short)]
    env: Vec<String>,
    /// The environment from `config-map:NAME` or `secret:NAME`. May be repeated.
    #[arg(long)]
    env_from: Vec<String>,
    /// The program instead of the image's. May be repeated, a word each.
    #[arg(long)]
    cmd: Vec<String>,
    /// Its arguments. May be repeated.
    #[arg(long, allow_hyphen_values = true)]
    arg: Vec<String>,
    /// The container's port, or PROTOCOL:PORT (`h2c:8080`).
    #[arg(long, short)]
    port: Option<String>,
    /// KEY=VALUE on the Service and its template; KEY- takes one away. May be repeated.
    #[arg(long, short)]
    label: Vec<String>,
    /// KEY=VALUE on the template; KEY- takes one away. May be repeated.
    #[arg(long, short)]
    annotation: Vec<String>,
    /// Fewest Pods.
    #[arg(long)]
    scale_min: Option<u32>,
    /// Most Pods.
    #[arg(long)]
    scale_max: Option<u32>,
    /// How many Pods a new Revision begins with.
    #[arg(long)]
    scale_init: Option<u32>,
    /// Fewest and most Pods at once: N, or MIN..MAX.
    #[arg(long)]
    scale: Option<String>,
    /// Over how long the autoscaler looks: 10s to 1h.
    #[arg(long)]
    scale_window: Option<String>,
    /// What the autoscaler aims for: requests at once, or a second.
    #[arg(long)]
    scale_target: Option<u32>,
    /// What it counts: concurrency, rps, cpu or memory.
    #[arg(long)]
    scale_metric: Option<String>,
    /// Requests one Pod may serve at once.
    #[arg(long)]
    concurrency_limit: Option<u32>,
    /// Seconds a request may take.
    #[arg(long)]
    timeout: Option<u32>,
    /// `cpu=100m` and the like, asked for. May be repeated.
    #[arg(long)]
    request: Vec<String>,
    /// `memory=1Gi` and the like, at most. May be repeated.
    #[arg(long)]
    limit: Vec<String>,
    /// The ServiceAccount it runs as.
    #[arg(long)]
    service_account: Option<String>,
    /// The Secret to pull its image with.
    #[arg(long)]
    pull_secret: Option<String>,
    /// Only to be called from within the cluster.
    #[arg(long)]
    cluster_local: bool,
    /// The name of the Revision; `{{.Service}}` is the Service's.
    #[arg(long)]
    revision_name: Option<String>,
    /// REVISION=PERCENT; `@latest` is the newest ready one. May be repeated.
    #[arg(long)]
    traffic: Vec<String>,
    /// REVISION=TAG. May be repeated.
    #[arg(long)]
    tag: Vec<String>,
    /// A tag to take away. May be repeated.
    #[arg(long)]
    untag: Vec<String>,
    /// Replace the Service if it is there.
    #[arg(long)]
    pub(super) force: bool,
    /// Wait until it is Ready, which is what happens anyway.
    #[arg(long, conflicts_with = "no_wait")]
    wait: bool,
    /// Do not wait until it is Ready.
    #[arg(long)]
    pub(super) no_wait: bool,
    /// How many seconds to wait.
    #[arg(long, default_value_t = WAIT_SECONDS)]
    pub(super) wait_timeout: u64,
}

/// Writes the flags into the object.
pub(super) fn shape(service: &mut Value, spec: &Spec) -> Result<()> {
    for word in &spec.label {
        let word = split(word)?;
        change(&mut service["metadata"]["labels"], word);
        change(&mut service["spec"]["template"]["metadata"]["labels"], word);
    }
    if spec.cluster_local {
        change(
            &mut service["metadata"]["labels"],
            (VISIBILITY, Some("cluster-local")),
        );
    }
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let revision = spec.revision_name.as_ref();
    let revision = revision.map(|revision| revision.replace("{{.Service}}", name));
    let template = &mut service["spec"]["template"];
    if let Some(revision) = revision.filter(|revision| !revision.is_empty()) {
        template["metadata"]["name"] = json!(revision);
    }
    for word in annotations(spec)? {
        change(&mut template["metadata"]["annotations"], split(&word)?);
    }
    let pod = &mut template["spec"];
    for (field, value) in [
        ("containerConcurrency", spec.concurrency_limit),
        ("timeoutSeconds", spec.timeout),
    ] {
        if let Some(value) = value {
            pod[field] = json!(value);
        }
    }
    if let Some(account) = &spec.service_account {
        pod["serviceAccountName"] = json!(account);
    }
    if let Some(secret) = &spec.pull_secret {
        pod["imagePullSecrets"] = json!([{"name": secret}]);
    }
    container(&mut pod["containers"][0], spec)?;
    if !spec.traffic.is_empty() || !spec.tag.is_empty() || !spec.untag.is_empty() {
        service["spec"]["traffic"] = traffic(&service["spec"]["traffic"], spec)?;
    }
    Ok(())
}

/// Those of the template, the flags of the autoscaler among them.
fn annotations(spec: &Spec) -> Result<Vec<String>> {
    let number = |value: Option<u32>| value.map(|value| value.to_string());
    let (mut least, mut most) = (number(spec.scale_min), number(spec.scale_max));
    if let Some(scale) = &spec.scale {
        let (min, max) = scale.split_once("..").unwrap_or((scale, scale));
        for (text, bound) in [(min, &mut least), (max, &mut most)] {
            if !text.is_empty() {
                let count: u32 = text.parse().with_context(|| format!("--scale {scale}"))?;
                *bound = Some(count.to_string());
            }
        }
    }
    let mut annotations = spec.annotation.clone();
    for (key, value) in [
        ("min-scale", least),
        ("max-scale", most),
        ("initial-scale", number(spec.scale_init)),
        ("window", spec.scale_window.clone()),
        ("target", number(spec.scale_target)),
        ("metric", spec.scale_metric.clone()),
    ] {
        annotations.extend(value.map(|value| format!("autoscaling.knative.dev/{key}={value}")));
    }
    Ok(annotations)
}

fn container(container: &mut Value, spec: &Spec) -> Result<()> {
    if let Some(image) = &spec.image {
        container["image"] = json!(image);
    }
    if let Some(port) = &spec.port {
        let (name, number) = port.split_once(':').unwrap_or(("", port));
        let number: u16 = number.parse().with_context(|| format!("--port {port}"))?;
        container["ports"] = json!([{"name": name, "containerPort": number}]);
    }
    for (field, words) in [("command", &spec.cmd), ("args", &spec.arg)] {
        if !words.is_empty() {
            container[field] = json!(words);
        }
    }
    for word in &spec.env {
        set_env(container, split(word)?);
    }
    for word in &spec.env_from {
        let (kind, name) = word.split_once(':').unwrap_or_default();
        let field = match kind {
            "config-map" | "cm" => "configMapRef",
            "secret" | "sc" => "secretRef",
            _ => bail!("--env-from {word}: config-map:NAME or secret:NAME"),
        };
        let mut from = container["envFrom"].as_array().cloned().unwrap_or_default();
        from.push(json!({field: {"name": name}}));
        container["envFrom"] = from.into();
    }
    for (field, words) in [("requests", &spec.request), ("limits", &spec.limit)] {
        for word in words {
            change(&mut container["resources"][field], split(word)?);
        }
    }
    Ok(())
}

/// `KEY=VALUE`, or `KEY-` for taking away.
fn split(word: &str) -> Result<(&str, Option<&str>)> {
    match (word.split_once('='), word.strip_suffix('-')) {
        (Some((key, value)), _) => Ok((key, Some(value))),
        (None, Some(key)) => Ok((key, None)),
        (None, None) => bail!("{word:?} is neither NAME=VALUE nor NAME-"),
    }
}

/// Sets or takes away an entry of a map.
fn change(map: &mut Value, (key, value): (&str, Option<&str>)) {
    if !map.is_object() {
        *map = Value::Object(Map::new());
    }
    match value {
        Some(value) => map[key] = json!(value),
        None => {
            if let Some(map) = map.as_object_mut() {
                map.remove(key);
            }
        }
    }
}

fn set_env(container: &mut Value, (name, value): (&str, Option<&str>)) {
    let mut env = container["env"].as_array().cloned().unwrap_or_default();
    env.retain(|entry| entry["name"] != name);
    env.extend(value.map(|value| json!({"name": name, "value": value})));
    container["env"] = Value::Array(env);
}

fn traffic(current: &Value, spec: &Spec) -> Result<Value> {
    let mut targets: Vec<Value> = current.as_array().cloned().unwrap_or_default();
    for tag in &spec.untag {
        let mut tagged = targets.iter_mut().filter(|target| target["tag"] == **tag);
        let target = tagged
            .next()
            .with_context(|| format!("--untag {tag}: no target has that tag"))?;
        if let Some(fields) = target.as_object_mut() {
            fields.remove("tag");
        }
    }
    let same = |target: &Value, revision: &str| match revision {
        "@latest" => target["latestRevision"] == true,
        name => target["revisionName"] == name,
    };
    let of = |revision: &str| match revision {
        "@latest" => json!({"latestRevision": true}),
        name => json!({"revisionName": name, "latestRevision": false}),
    };
    if !spec.traffic.is_empty() {
        targets
            .iter_mut()
            .for_each(|target| target["percent"] = json!(0));
    }
    let mut set = |word: &str, key: &str, value: Value| {
        let at = targets.iter().position(|target| same(target, word));
        let at = at.unwrap_or_else(|| {
            targets.push(of(word));
            targets.len() - 1
        });
        targets[at][key] = value;
    };
    let mut sum = 0;
    for word in &spec.traffic {
        let (revision, percent) = word
            .split_once('=')
            .with_context(|| format!("--traffic {word}: REVISION=PERCENT"))?;
        let percent: u8 = percent
            .parse()
            .with_context(|| format!("--traffic {word}"))?;
        sum += u32::from(percent);
        set(revision, "percent", json!(percent));
    }
    if !spec.traffic.is_empty() && sum != 100 {
        bail!("given traffic percents sum to {sum}, want 100");
    }
    for word in &spec.tag {
        let (revision, tag) = word
            .split_once('=')
            .with_context(|| format!("--tag {word}: REVISION=TAG"))?;
        set(revision, "tag", json!(tag));
    }
    let is_used =
        |target: &Value| target["percent"].as_i64().unwrap_or(0) != 0 || target["tag"].is_string();
    targets.retain(is_used);
    Ok(Value::Array(targets))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        spec: Spec,
    }

    /// A Service after the flags.
    #[track_caller]
    fn check(flags: &str, service: Value, expected: Result<Value, &str>) {
        let words = ["x"].into_iter().chain(flags.split_whitespace());
        let spec = Line::try_parse_from(words).unwrap().spec;
        let mut service = service;
        match (shape(&mut service, &spec), expected) {
            (Ok(()), Ok(expected)) => assert_eq!(service["spec"], expected),
            (Err(error), Err(expected)) => {
                let text = format!("{error:#}");
                assert!(text.contains(expected), "{text}");
            }
            (answer, expected) => panic!("{answer:?}, not {expected:?}"),
        }
    }

    fn hello() -> Value {
        json!({
            "metadata": {"name": "hello"},
            "spec": {"template": {"spec": {"containers": [{"image": "x", "env": [{"name": "A", "value": "1"}]}]}}},
        })
    }

    #[test]
    fn flags_shape_the_container_and_its_template() {
        check(
            "hello --image y --env A- --env B=2 --port h2c:9000 --arg --fast --limit memory=1Gi \
             --scale 1..3 --scale-window 30s --timeout 10 --revision-name {{.Service}}-a",
            hello(),
            Ok(json!({"template": {
                "metadata": {
                    "name": "hello-a",
                    "annotations": {
                        "autoscaling.knative.dev/min-scale": "1",
                        "autoscaling.knative.dev/max-scale": "3",
                        "autoscaling.knative.dev/window": "30s",
                    },
                },
                "spec": {
                    "timeoutSeconds": 10,
                    "containers": [{
                        "image": "y",
                        "args": ["--fast"],
                        "env": [{"name": "B", "value": "2"}],
                        "ports": [{"name": "h2c", "containerPort": 9000}],
                        "resources": {"limits": {"memory": "1Gi"}},
                    }],
                },
            }})),
        );
        check(
            "hello --env A",
            hello(),
            Err("neither NAME=VALUE nor NAME-"),
        );
        check("hello --scale x", hello(), Err("--scale x"));
    }

    #[test]
    fn traffic_and_tags() {
        let mut split = hello();
        split["spec"]["traffic"] = json!([{"revisionName": "a", "percent": 100, "tag": "old"}, {"latestRevision": true, "tag": "new"}]);
        let mut expected = split["spec"].clone();
        expected["traffic"] = json!([
            {"latestRevision": true, "tag": "new", "percent": 75},
            {"revisionName": "b", "latestRevision": false, "percent": 25, "tag": "next"},
        ]);
        check(
            "hello --traffic @latest=75 --traffic b=25 --tag b=next --untag old",
            split.clone(),
            Ok(expected),
        );
        check(
            "hello --traffic b=25",
            split.clone(),
            Err("sum to 25, want 100"),
        );
        check("hello --untag none", split, Err("no target has that tag"));
    }
}
