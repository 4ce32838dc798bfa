//! Knative's admission and conversion for the embedded API server: what the webhook Deployment
//! does on a cluster, called in process. Plugged in by `wire`.

use ::api::admission;
use ::api::config::{self, Autoscaler, Configs, Defaults, Deployment, Features, SYSTEM_NAMESPACE};
use apiserver::{Admitted, Denied, Hooks, Operation, Review};
use serde_json::Value;

/// The group whose kinds are defaulted, judged and converted.
const SERVING: &str = "serving.knative.dev";
/// The group of PodAutoscalers, which have defaults and rules too.
const AUTOSCALING: &str = "autoscaling.internal.knative.dev";
/// The ConfigMaps that admission depends on.
const CONFIG_MAPS: [&str; 4] = [
    Autoscaler::NAME,
    Defaults::NAME,
    Deployment::NAME,
    Features::NAME,
];

/// The version the rules are written for.
const SERVING_V1: &str = "serving.knative.dev/v1";

/// See the module.
pub(crate) struct Knative;

impl Hooks for Knative {
    fn claims(&self, group: &str, kind: &str) -> bool {
        group == SERVING || group == AUTOSCALING || (group.is_empty() && kind == "ConfigMap")
    }

    fn admit(&self, review: &Review<'_>) -> Result<Admitted, Denied> {
        let operation = match review.operation {
            Operation::Create => admission::Operation::Create,
            Operation::Update => admission::Operation::Update,
            Operation::Delete | Operation::Connect => return Ok(as_it_is(review)),
        };
        let foreign = review.kind == "ConfigMap" && review.namespace != SYSTEM_NAMESPACE;
        if foreign || !review.subresource.is_empty() {
            return Ok(as_it_is(review));
        }
        // The rules are written for v1; what comes in an older version is judged as v1, as
        // Kubernetes does it for a webhook whose `matchPolicy` is `Equivalent`.
        let asked = review.object["apiVersion"].as_str().unwrap_or_default();
        let older = is_older(asked, review.kind);
        let judged = |object: &Value| match older {
            true => ::api::convert(object.clone(), SERVING_V1),
            false => Ok(object.clone()),
        };
        let refuse = |message| Denied { message };
        let object = judged(review.object).map_err(refuse)?;
        let old = Some(review.old).filter(|old| !old.is_null());
        let old = old.map(judged).transpose().map_err(refuse)?;
        let request = admission::Review {
            operation,
            object: &object,
            old: old.as_ref(),
            user: &review.user.name,
        };
        let admitted = admission::review(&request, &configs(review))
            .map_err(|denied| refuse(denied.text()))?;
        let object = if older {
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
        group == SERVING
    }

    fn convert(&self, object: Value, to_api_version: &str) -> Result<Value, String> {
        ::api::convert(object, to_api_version)
    }
}

/// Whether `api_version` of a kind stands for a v1 that has the rules. DomainMapping has no v1.
fn is_older(api_version: &str, kind: &str) -> bool {
    let of_serving = api_version
        .split_once('/')
        .is_some_and(|(group, _)| group == SERVING);
    of_serving && api_version != SERVING_V1 && kind != "DomainMapping"
}

fn as_it_is(review: &Review<'_>) -> Admitted {
    Admitted {
        object: review.object.clone(),
        warnings: Vec::new(),
    }
}

/// The settings in force. A ConfigMap that does not parse counts as unset; it could not have been
/// stored through this door.
fn configs(review: &Review<'_>) -> Configs {
    let mut configs = Configs::default();
    for name in CONFIG_MAPS {
        if let Some(config_map) = (review.config_map)(SYSTEM_NAMESPACE, name) {
            // See above: an error leaves the defaults.
            let _ = configs.apply(name, &config::data_of(&config_map));
        }
    }
    configs
}
