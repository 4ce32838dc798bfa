//! `feeds.knative.dev`: which source of today makes the events that a Feed asks for.
//!
//! A Feed names an EventType, which names an EventSource, whose image was run as a Job to set the
//! feed up. Those images are gone; the sources they set up are kinds of `sources.knative.dev` now.

use api::object::ObjectExt;
use api::world::{API_SERVER_SOURCE, GITHUB_SOURCE, Kind, PING_SOURCE};
use serde_json::{Value, json};

use crate::channels::metadata;
use crate::text;

/// The event type a Feed or Flow names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeName<'a> {
    /// The name of the EventType or ClusterEventType.
    pub name: &'a str,
    /// Whether it is a ClusterEventType.
    pub is_cluster: bool,
}

impl<'a> TypeName<'a> {
    /// The one `spec.trigger` names.
    pub fn of(trigger: &'a Value) -> Option<Self> {
        let named = |field: &str, is_cluster| {
            let name = text(trigger, field);
            (!name.is_empty()).then_some(TypeName { name, is_cluster })
        };
        named("eventType", false).or_else(|| named("clusterEventType", true))
    }
}

/// A kind of source that makes the events of a Feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Kubernetes' own Events.
    K8sEvents,
    /// What happens in a GitHub repository.
    GitHub,
    /// A schedule.
    Cron,
}

/// A source that nothing here stands in for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoSource {
    /// The name the Feed gives it.
    pub name: String,
}

impl NoSource {
    /// What to do instead, in a sentence.
    pub fn advice(&self) -> String {
        let name = &self.name;
        let known = [
            ("gcppubsub", "Google Cloud Pub/Sub"),
            ("pubsub", "Google Cloud Pub/Sub"),
            ("aws-sqs", "Amazon SQS"),
            ("slack", "Slack"),
        ];
        let what = known.iter().find(|(word, _)| name.contains(word));
        let what = what.map_or_else(|| format!("{name:?}"), |(_, what)| (*what).to_owned());
        format!(
            "event source {name:?} is not built in: use a ContainerSource \
             (sources.knative.dev/v1) with an image that reads {what} and posts to $K_SINK"
        )
    }
}

/// Which source is meant. `words` are all that name it: the trigger's `service`, the event type,
/// the EventSource and what its spec says.
///
/// # Errors
/// None that is built in.
pub fn source<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Source, NoSource> {
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let found = words.iter().find_map(|word| {
        let word = word.to_ascii_lowercase();
        let is = |known: &[&str]| known.iter().any(|known| word == *known);
        if is(&["k8sevents", "k8s-events"]) || word.starts_with("dev.knative.k8s.event") {
            return Some(Source::K8sEvents);
        }
        if is(&["github", "github.com", "pullrequest"]) || word.starts_with("dev.knative.github") {
            return Some(Source::GitHub);
        }
        let cron = ["cron", "cronjob", "cronjobsource", "timer"];
        (is(&cron) || word.starts_with("dev.knative.cronjob")).then_some(Source::Cron)
    });
    found.ok_or_else(|| NoSource {
        name: words.first().copied().unwrap_or("unknown").to_owned(),
    })
}

/// What an EventSource or ClusterEventSource is called by.
pub fn words(source: &Value) -> [&str; 4] {
    let spec = &source["spec"];
    let image = text(spec, "image");
    let image = image.rsplit('/').next().unwrap_or_default();
    let image = image.split([':', '@']).next().unwrap_or_default();
    [
        source.name(),
        text(spec, "type"),
        text(spec, "source"),
        image,
    ]
}

/// Where the tokens of a GitHub Feed are: name and key of a Secret that holds both as JSON.
pub fn github_secret(feed: &Value) -> Option<(&str, &str)> {
    let trigger = &feed["spec"]["trigger"];
    let mut sources = trigger["parametersFrom"].as_array().into_iter().flatten();
    let reference = sources.find_map(|from| from["secretKeyRef"].as_object())?;
    let part = |key: &str| reference.get(key).and_then(Value::as_str);
    Some((part("name")?, part("key")?))
}

impl Source {
    /// The kind of today.
    pub fn kind(self) -> Kind {
        match self {
            Self::K8sEvents => API_SERVER_SOURCE,
            Self::GitHub => GITHUB_SOURCE,
            Self::Cron => PING_SOURCE,
        }
    }

    /// The source of today that a Feed stands for, with `sink` as its sink.
    ///
    /// # Errors
    /// What the Feed lacks, in a sentence.
    pub fn translate(self, feed: &Value, sink: &Value) -> Result<Value, String> {
        let kind = self.kind();
        let trigger = &feed["spec"]["trigger"];
        let mut spec = match self {
            Self::K8sEvents => k8s_events(feed, trigger),
            Self::GitHub => github(feed, trigger)?,
            Self::Cron => cron(trigger)?,
        };
        let account = text(&feed["spec"], "serviceAccountName");
        if self != Self::Cron && !account.is_empty() {
            spec["serviceAccountName"] = json!(account);
        }
        spec["sink"] = sink.clone();
        Ok(json!({
            "apiVersion": kind.api_version(),
            "kind": kind.kind,
            "metadata": metadata(feed),
            "spec": spec,
        }))
    }
}

/// Events of a namespace, the Feed's own unless its parameters say otherwise.
fn k8s_events(feed: &Value, trigger: &Value) -> Value {
    let mut spec = json!({
        "mode": "Resource",
        "resources": [{"apiVersion": "v1", "kind": "Event"}],
    });
    let namespace = text(&trigger["parameters"], "namespace");
    if !namespace.is_empty() && namespace != feed.namespace() {
        spec["namespaceSelector"] =
            json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    }
    spec
}

fn github(feed: &Value, trigger: &Value) -> Result<Value, String> {
    let repository = text(trigger, "resource");
    if repository.is_empty() {
        return Err("spec.trigger.resource is empty: write OWNER/REPOSITORY".to_owned());
    }
    let Some((name, key)) = github_secret(feed) else {
        return Err(
            "spec.trigger.parametersFrom names no secretKeyRef with the tokens for GitHub"
                .to_owned(),
        );
    };
    let token = json!({"secretKeyRef": {"name": name, "key": key}});
    let event = TypeName::of(trigger).map_or("", |event| event.name);
    Ok(json!({
        "ownerAndRepository": repository,
        "eventTypes": [github_event(event)],
        "accessToken": token,
        "secretToken": token,
    }))
}

/// GitHub's name of an event: `dev.knative.github.pullrequest` is `pull_request`.
fn github_event(event: &str) -> &str {
    let last = event.rsplit('.').next().unwrap_or_default();
    let squeezed = |name: &str| name.replace('_', "");
    let mut known = api::crds::GITHUB_EVENTS.iter();
    known
        .find(|known| squeezed(known) == last)
        .copied()
        .unwrap_or("push")
}

fn cron(trigger: &Value) -> Result<Value, String> {
    let parameters = &trigger["parameters"];
    let schedule = match text(parameters, "schedule") {
        "" => text(trigger, "resource"),
        schedule => schedule,
    };
    if schedule.split_whitespace().count() < 5 && !schedule.starts_with('@') {
        return Err(format!(
            "spec.trigger.parameters.schedule is {schedule:?}: write a schedule like \"*/2 * * * *\""
        ));
    }
    let mut spec = json!({"schedule": schedule});
    let data = &parameters["data"];
    match data {
        Value::Null => {}
        Value::String(data) => spec["data"] = json!(data),
        data => spec["data"] = json!(data.to_string()),
    }
    if serde_json::from_str::<Value>(text(&spec, "data")).is_ok() {
        spec["contentType"] = json!("application/json");
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_known_by_any_of_its_names() {
        #[track_caller]
        fn check(words: &[&str], expected: Result<Source, &str>) {
            let found = source(words.iter().copied()).map_err(|none| none.name);
            assert_eq!(found, expected.map_err(str::to_owned));
        }
        check(&["k8sevents", "receiveevent"], Ok(Source::K8sEvents));
        check(&["", "dev.knative.k8s.event"], Ok(Source::K8sEvents));
        check(&["pullrequest"], Ok(Source::GitHub));
        check(&["", "dev.knative.github.pullrequest"], Ok(Source::GitHub));
        check(&["", "tick", "cron"], Ok(Source::Cron));
        check(&["gcppubsub", "receive"], Err("gcppubsub"));
        let advice = source(["gcppubsub"]).unwrap_err().advice();
        assert!(advice.contains("ContainerSource"), "{advice}");
        assert!(advice.contains("Google Cloud Pub/Sub"), "{advice}");
    }

    #[test]
    fn an_event_source_is_called_by_its_image_too() {
        let source = json!({
            "metadata": {"name": "mine"},
            "spec": {"image": "gcr.io/x/pkg/sources/k8sevents@sha256:12"},
        });
        assert_eq!(words(&source), ["mine", "", "", "k8sevents"]);
    }

    fn feed(trigger: Value) -> Value {
        json!({
            "apiVersion": "feeds.knative.dev/v1alpha1",
            "kind": "Feed",
            "metadata": {"name": "f", "namespace": "ns"},
            "spec": {"trigger": trigger, "serviceAccountName": "feed-sa"},
        })
    }

    #[track_caller]
    fn check(source: Source, trigger: Value, expected: &Value) {
        let new = source.translate(&feed(trigger), &json!({"uri": "http://x/"}));
        assert_eq!(&new.unwrap()["spec"], expected);
    }

    #[test]
    fn feeds_of_kubernetes_events() {
        let expected = json!({
            "mode": "Resource",
            "resources": [{"apiVersion": "v1", "kind": "Event"}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}},
            "serviceAccountName": "feed-sa",
            "sink": {"uri": "http://x/"},
        });
        let trigger = json!({
            "eventType": "dev.knative.k8s.event",
            "resource": "k8sevents/events",
            "parameters": {"namespace": "other"},
        });
        check(Source::K8sEvents, trigger, &expected);
    }

    #[test]
    fn feeds_of_github() {
        let expected = json!({
            "ownerAndRepository": "acme/anvil",
            "eventTypes": ["pull_request"],
            "accessToken": {"secretKeyRef": {"name": "s", "key": "k"}},
            "secretToken": {"secretKeyRef": {"name": "s", "key": "k"}},
            "serviceAccountName": "feed-sa",
            "sink": {"uri": "http://x/"},
        });
        let trigger = json!({
            "eventType": "dev.knative.github.pullrequest",
            "resource": "acme/anvil",
            "parametersFrom": [{"secretKeyRef": {"name": "s", "key": "k"}}],
        });
        check(Source::GitHub, trigger, &expected);
        let bare = feed(json!({"eventType": "pullrequest", "resource": "acme/anvil"}));
        let error = Source::GitHub.translate(&bare, &Value::Null).unwrap_err();
        assert!(error.contains("parametersFrom"), "{error}");
    }

    #[test]
    fn feeds_of_a_schedule() {
        let expected = json!({
            "schedule": "*/2 * * * *",
            "data": "{\"a\":1}",
            "contentType": "application/json",
            "sink": {"uri": "http://x/"},
        });
        let trigger = json!({
            "eventType": "cron",
            "resource": "*/2 * * * *",
            "parameters": {"data": {"a": 1}},
        });
        check(Source::Cron, trigger, &expected);
        let none = feed(json!({"eventType": "cron", "resource": "tick"}));
        let error = Source::Cron.translate(&none, &Value::Null).unwrap_err();
        assert!(error.contains("\"tick\""), "{error}");
    }
}
