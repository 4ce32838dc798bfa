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
        let admitted = admission::review(
            &admission::Review {
                operation,
                object: review.object,
                old: Some(review.old).filter(|old| !old.is_null()),
                user: &review.user.name,
            },
            &configs(review),
        );
        match admitted {
            Ok(admitted) => Ok(Admitted {
                object: admitted.object,
                warnings: admitted.warnings,
            }),
            Err(denied) => Err(Denied {
                message: denied.text(),
            }),
        }
    }

    fn converts(&self, group: &str, _: &str) -> bool {
        group == SERVING
    }

    fn convert(&self, object: Value, to_api_version: &str) -> Result<Value, String> {
        ::api::convert(object, to_api_version)
    }
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
