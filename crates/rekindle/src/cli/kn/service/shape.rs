//! The flags that shape a Service, and what they make of it.

use anyhow::{Context, Result, bail};
use clap::Args;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};

use super::super::container::Container;
use super::super::container::shape::{add_containers, apply, change, split};
use super::waiting::Waiting;

/// The label that keeps a Service inside the cluster.
const VISIBILITY: &str = "networking.knative.dev/visibility";

/// The flags of kn.
#[derive(Args, Debug)]
pub(crate) struct Spec {
    /// The Service's name.
    pub(super) name: Option<String>,
    /// A file with the Service; the flags change what it says.
    #[arg(long, short)]
    pub(super) filename: Option<String>,
    /// A directory or a git URL with a Dockerfile: build the image from it first.
    #[arg(long, conflicts_with = "image")]
    pub(super) source: Option<String>,
    #[command(flatten)]
    pub(super) container: Container,
    /// NAME=`config-map:NAME`, `secret:NAME`, `emptyDir:NAME:size=1Gi,type=Memory` or `pvc:NAME`:
    /// a volume for `--mount`; NAME- takes it away. May be repeated.
    #[arg(long)]
    volume: Vec<String>,
    /// `strict`: no rights, not root; `none`: what the image says.
    #[arg(long)]
    security_context: Option<String>,
    /// KEY=VALUE on the Service and its template; KEY- takes one away. May be repeated.
    #[arg(long, short)]
    label: Vec<String>,
    /// The same on the Service alone. May be repeated.
    #[arg(long)]
    label_service: Vec<String>,
    /// The same on the template alone. May be repeated.
    #[arg(long)]
    label_revision: Vec<String>,
    /// KEY=VALUE on the Service and its template, those of the autoscaler on the template alone;
    /// KEY- takes one away. May be repeated.
    #[arg(long, short)]
    annotation: Vec<String>,
    /// The same on the Service alone. May be repeated.
    #[arg(long)]
    annotation_service: Vec<String>,
    /// The same on the template alone. May be repeated.
    #[arg(long)]
    annotation_revision: Vec<String>,
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
    /// How much of that the autoscaler lets Pods be used, in percent.
    #[arg(long)]
    scale_utilization: Option<u32>,
    /// Fewest Pods when there are any.
    #[arg(long)]
    scale_activation: Option<u32>,
    /// Requests one Pod may serve at once.
    #[arg(long)]
    concurrency_limit: Option<u32>,
    /// Seconds a request may take.
    #[arg(long)]
    timeout: Option<u32>,
    /// Only to be called from within the cluster.
    #[arg(long, conflicts_with = "no_cluster_local")]
    cluster_local: bool,
    /// To be called from everywhere.
    #[arg(long)]
    no_cluster_local: bool,
    /// The name of the Revision; `{{.Service}}` is the Service's, `{{.Generation}}` its generation,
    /// `{{.Random 5}}` five letters.
    #[arg(long)]
    revision_name: Option<String>,
    /// REVISION=PERCENT; `@latest` is the newest ready one. May be repeated.
    #[arg(long, value_delimiter = ',')]
    traffic: Vec<String>,
    /// REVISION=TAG. May be repeated.
    #[arg(long, value_delimiter = ',')]
    tag: Vec<String>,
    /// A tag to take away. May be repeated.
    #[arg(long, value_delimiter = ',')]
    untag: Vec<String>,
    /// New Revisions run the image that the last one was found to be, until another is asked for.
    #[arg(long, conflicts_with = "no_lock_to_digest")]
    pub(super) lock_to_digest: bool,
    /// New Revisions look for the image anew.
    #[arg(long)]
    pub(super) no_lock_to_digest: bool,
    /// Replace the Service if it is there.
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) waiting: Waiting,
}

/// Writes the flags into the object.
pub(super) fn shape(service: &mut Value, spec: &Spec) -> Result<()> {
    describe(service, spec)?;
    if spec.cluster_local || spec.no_cluster_local {
        let value = spec.cluster_local.then_some("cluster-local");
        change(&mut service["metadata"]["labels"], (VISIBILITY, value));
    }
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let generation = service["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
    let revision = spec.revision_name.as_ref();
    let revision = revision.map(|revision| revision_name(revision, name, generation));
    let revision = revision.transpose()?;
    let template = &mut service["spec"]["template"];
    if let Some(revision) = revision.filter(|revision| !revision.is_empty()) {
        template["metadata"]["name"] = json!(revision);
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
    apply(pod, &spec.container, &spec.volume)?;
    if let Some(context) = &spec.security_context {
        secure(&mut pod["containers"][0], context, spec.container.user())?;
    }
    add_containers(pod, &spec.container)?;
    if !spec.traffic.is_empty() || !spec.tag.is_empty() || !spec.untag.is_empty() {
        service["spec"]["traffic"] = traffic(&service["spec"]["traffic"], spec)?;
    }
    Ok(())
}

/// Labels and annotations. The autoscaler's are refused on a Service, and stand on its template.
fn describe(service: &mut Value, spec: &Spec) -> Result<()> {
    let scaling = scaling(spec)?;
    let stays_below = |word: &&String| word.starts_with("autoscaling.knative.dev/");
    for (field, both, above, below) in [
        (
            "labels",
            &spec.label,
            &spec.label_service,
            [&spec.label_revision, &Vec::new()],
        ),
        (
            "annotations",
            &spec.annotation,
            &spec.annotation_service,
            [&spec.annotation_revision, &scaling],
        ),
    ] {
        for word in both.iter().filter(|word| !stays_below(word)).chain(above) {
            change(&mut service["metadata"][field], split(word)?);
        }
        for word in both.iter().chain(below.into_iter().flatten()) {
            let template = &mut service["spec"]["template"];
            change(&mut template["metadata"][field], split(word)?);
        }
    }
    Ok(())
}

/// The name of a Revision by kn's template.
fn revision_name(template: &str, service: &str, generation: u64) -> Result<String> {
    const CONSONANTS: &[u8] = b"bcdfghjklmnpqrstvwxyz";
    let (mut name, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) = after
            .split_once("}}")
            .with_context(|| format!("--revision-name {template}: a {{{{ is not closed"))?;
        name.push_str(before);
        let words: Vec<&str> = action.split_whitespace().collect();
        match words[..] {
            [".Service"] => name.push_str(service),
            [".Generation"] => name.push_str(&generation.to_string()),
            [".Random", count] => {
                let count: usize = count
                    .parse()
                    .with_context(|| format!("--revision-name {template}"))?;
                let mut rng = rand::rng();
                let letters = std::iter::repeat_with(|| CONSONANTS.choose(&mut rng));
                name.extend(
                    letters
                        .flatten()
                        .map(|letter| char::from(*letter))
                        .take(count),
                );
            }
            _ => bail!(
                "--revision-name {template}: it may have {{{{.Service}}}}, {{{{.Generation}}}} and \
                 {{{{.Random N}}}}"
            ),
        }
        rest = after;
    }
    name.push_str(rest);
    Ok(name)
}

/// `--security-context`; the user of `--user` stays.
fn secure(container: &mut Value, word: &str, user: Option<i64>) -> Result<()> {
    let mut context = match word {
        "strict" => json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"},
        }),
        "none" => json!({}),
        _ => bail!("--security-context {word}: strict or none"),
    };
    if let Some(user) = user {
        context["runAsUser"] = json!(user);
    }
    container["securityContext"] = context;
    Ok(())
}

/// The flags of the autoscaler as annotations of the template.
fn scaling(spec: &Spec) -> Result<Vec<String>> {
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
    let mut annotations = Vec::new();
    for (key, value) in [
        ("min-scale", least),
        ("max-scale", most),
        ("initial-scale", number(spec.scale_init)),
        ("window", spec.scale_window.clone()),
        ("target", number(spec.scale_target)),
        ("metric", spec.scale_metric.clone()),
        (
            "target-utilization-percentage",
            number(spec.scale_utilization),
        ),
        ("activation-scale", number(spec.scale_activation)),
    ] {
        annotations.extend(value.map(|value| format!("autoscaling.knative.dev/{key}={value}")));
    }
    Ok(annotations)
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

    #[test]
    fn labels_and_annotations_go_where_the_flags_say() {
        let line = "x hello -l a=1 --label-service b=2 --label-revision c=3 -a d=4 \
                    -a autoscaling.knative.dev/window=10s --annotation-service e=5 \
                    --annotation-revision f=6 --scale-utilization 80 --cluster-local";
        let spec = Line::try_parse_from(line.split_whitespace()).unwrap().spec;
        let mut service = hello();
        shape(&mut service, &spec).unwrap();
        let expected = json!({
            "name": "hello",
            "labels": {"a": "1", "b": "2", VISIBILITY: "cluster-local"},
            "annotations": {"d": "4", "e": "5"},
        });
        assert_eq!(service["metadata"], expected);
        let expected = json!({
            "labels": {"a": "1", "c": "3"},
            "annotations": {
                "autoscaling.knative.dev/target-utilization-percentage": "80",
                "autoscaling.knative.dev/window": "10s",
                "d": "4",
                "f": "6",
            },
        });
        assert_eq!(service["spec"]["template"]["metadata"], expected);
    }

    #[test]
    fn revisions_are_named_by_a_template() {
        let name = |template| revision_name(template, "hello", 7).map_err(|e| e.to_string());
        assert_eq!(
            name("{{.Service}}-a{{ .Generation }}"),
            Ok("hello-a7".into())
        );
        let random = name("{{.Service}}-{{.Random 5}}").unwrap();
        assert_eq!(random.len(), "hello-".len() + 5, "{random}");
        for bad in ["{{.Name}}", "{{.Random x}}", "{{.Service"] {
            assert!(name(bad).unwrap_err().contains("--revision-name"), "{bad}");
        }
    }

    #[test]
    fn a_strict_container_keeps_its_user() {
        let mut container = json!({});
        secure(&mut container, "strict", Some(7)).unwrap();
        assert_eq!(container["securityContext"]["runAsUser"], 7);
        assert_eq!(container["securityContext"]["runAsNonRoot"], true);
        assert!(secure(&mut container, "loose", None).is_err());
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
