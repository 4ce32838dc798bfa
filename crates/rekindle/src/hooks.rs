//! Knative's admission and conversion for the embedded API server: what the webhook Deployment
//! does on a cluster, called in process. Plugged in by `wire`.

mod binding;
mod dry_run;
mod measured;

use ::api::admission;
use ::api::config::{
    self, Autoscaler, Configs, Defaults, Deployment, Features, SYSTEM_NAMESPACE, eventing,
};
use apiserver::{Access, Admitted, Denied, Hooks, Operation, Review};
use serde_json::Value;

pub(crate) use measured::{Calls, Measured};

/// The group whose kinds are defaulted, judged and converted.
const SERVING: &str = "serving.knative.dev";
/// The group of PodAutoscalers, which have defaults and rules too.
const AUTOSCALING: &str = "autoscaling.internal.knative.dev";
/// The group of Builds and their templates.
const BUILD: &str = "build.knative.dev";
/// The groups of Knative Eventing.
const EVENTING: [&str; 7] = [
    "channels.knative.dev",
    "eventing.knative.dev",
    "feeds.knative.dev",
    "flows.knative.dev",
    "messaging.knative.dev",
    "sinks.knative.dev",
    "sources.knative.dev",
];
/// The webhook that speaks for Eventing.
const EVENTING_WEBHOOK: &str = "validation.webhook.eventing.knative.dev";
/// The ConfigMaps that admission of Serving's kinds depends on.
const SERVING_CONFIG_MAPS: [&str; 4] = [
    Autoscaler::NAME,
    Defaults::NAME,
    Deployment::NAME,
    Features::NAME,
];
/// The ConfigMaps that admission of Eventing's kinds depends on.
const EVENTING_CONFIG_MAPS: [&str; 4] = [
    eventing::BrokerDefaults::NAME,
    eventing::ChannelDefaults::NAME,
    eventing::Features::NAME,
    eventing::Ping::NAME,
];

/// See the module.
pub(crate) struct Knative;

impl Hooks for Knative {
    fn claims(&self, group: &str, kind: &str, subresource: &str) -> bool {
        let ours = [SERVING, AUTOSCALING, BUILD].contains(&group) || EVENTING.contains(&group);
        let claimed =
            ours || binding::claims(group, kind) || ::api::crds::instead(group, kind).is_some();
        subresource.is_empty() && (claimed || group.is_empty() && kind == "ConfigMap")
    }

    fn admit(&self, review: &Review<'_>) -> Result<Admitted, Denied> {
        let operation = match review.operation {
            Operation::Create => admission::Operation::Create,
            Operation::Update => admission::Operation::Update,
            Operation::Delete | Operation::Connect => return Ok(as_it_is(review)),
        };
        let system = [SYSTEM_NAMESPACE, eventing::SYSTEM_NAMESPACE];
        let foreign = review.kind == "ConfigMap" && !system.contains(&review.namespace);
        if foreign || !review.subresource.is_empty() {
            return Ok(as_it_is(review));
        }
        let read =
            |group: &str, plural: &str, name: &str| review.cluster.object(group, plural, "", name);
        if let Some(why) = ::api::crds::refusal(review.group, review.kind, read) {
            let message = format!("validation failed: {why}");
            let message = admission::denied(EVENTING_WEBHOOK, &message);
            return Err(Denied { message });
        }
        let bound = binding::bound(review);
        if binding::claims(review.group, review.kind) && review.group != SERVING {
            // Kubernetes' own kinds have no rules here.
            return Ok(bound.map_or_else(|| as_it_is(review), admitted));
        }
        let given = bound.as_ref().unwrap_or(review.object);
        // The rules are written for the stored version; what comes in another is judged as that,
        // as Kubernetes does it for a webhook whose `matchPolicy` is `Equivalent`.
        let asked = given["apiVersion"].as_str().unwrap_or_default();
        let stored = ::api::convert::stored(asked, review.kind).filter(|stored| stored != asked);
        let judged = |object: &Value| match &stored {
            Some(stored) => ::api::convert(object.clone(), stored),
            None => Ok(object.clone()),
        };
        let refuse = |message| Denied { message };
        let object = judged(given).map_err(refuse)?;
        let old = Some(review.old).filter(|old| !old.is_null());
        let old = old.map(judged).transpose().map_err(refuse)?;
        let request = admission::Review {
            operation,
            object: &object,
            old: old.as_ref(),
            user: &review.user.name,
        };
        let configs = configs(review);
        let admitted =
            admission::review(&request, &configs).map_err(|denied| refuse(denied.text()))?;
        check_right(review, &admitted.object, &configs).map_err(refuse)?;
        dry_run::check(review, &admitted.object).map_err(refuse)?;
        dry_run::check_job(review, &admitted.object).map_err(refuse)?;
        let object = if stored.is_some() {
            ::api::convert(admitted.object, asked).map_err(refuse)?
        } else {
            admitted.object
        };
        Ok(Admitted {
            object,
            warnings: admitted.warnings,
        })
    }

    fn converts(&self, group: &str, _: &str) -> bool {
        group == SERVING || EVENTING.contains(&group)
    }

    fn convert(&self, object: Value, to_api_version: &str) -> Result<Value, String> {
        ::api::convert(object, to_api_version)
    }
}

/// Whether the user may do what the object makes the controllers do elsewhere.
fn check_right(review: &Review<'_>, object: &Value, configs: &Configs) -> Result<(), String> {
    let Some(needed) = admission::needed(object, &configs.eventing.features) else {
        return Ok(());
    };
    let is_granted = needed.resources.iter().any(|resource| {
        let access = Access {
            verb: needed.verb.to_owned(),
            group: needed.group.clone(),
            resource: resource.clone(),
            namespace: needed.namespace.clone(),
            name: needed.name.clone(),
        };
        review.cluster.may(review.user, &access)
    });
    match is_granted {
        true => Ok(()),
        false => Err(needed.denied(&review.user.name).text()),
    }
}

fn as_it_is(review: &Review<'_>) -> Admitted {
    admitted(review.object.clone())
}

fn admitted(object: Value) -> Admitted {
    Admitted {
        object,
        warnings: Vec::new(),
    }
}

/// The settings in force. A ConfigMap that does not parse counts as unset; it could not have been
/// stored through this door.
fn configs(review: &Review<'_>) -> Configs {
    let mut configs = Configs::default();
    let read = |namespace, name| {
        let config_map = review.cluster.object("", "configmaps", namespace, name)?;
        Some(config::data_of(&config_map))
    };
    // See above: an error leaves the defaults.
    if EVENTING.contains(&review.group) {
        for name in EVENTING_CONFIG_MAPS {
            if let Some(data) = read(eventing::SYSTEM_NAMESPACE, name) {
                let _ = configs.eventing.apply(name, &data);
            }
        }
        return configs;
    }
    for name in SERVING_CONFIG_MAPS {
        if let Some(data) = read(SYSTEM_NAMESPACE, name) {
            let _ = configs.apply(name, &data);
        }
    }
    configs
}
