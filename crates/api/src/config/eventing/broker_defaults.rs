//! `config-br-defaults`: the class and the configuration of Brokers that name none, for the cluster
//! and by namespace. The rules of Knative's `pkg/apis/config/defaults.go`.

use serde_json::{Value, json};

use super::SYSTEM_NAMESPACE;
use crate::config::data::{Data, Error, from_yaml};
use crate::gotext::quote;

const KEY: &str = "default-br-config";

/// The class of the brokers that are always there.
pub const MT_CHANNEL_BASED: &str = "MTChannelBasedBroker";

/// The defaults of Brokers.
#[derive(Clone, PartialEq, Debug)]
pub struct BrokerDefaults {
    /// `clusterDefault` and `namespaceDefaults`.
    entry: Value,
}

impl Default for BrokerDefaults {
    fn default() -> Self {
        let cluster = json!({
            "brokerClass": MT_CHANNEL_BASED,
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": "config-br-default-channel",
            "namespace": SYSTEM_NAMESPACE,
            "delivery": {"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S"},
        });
        Self {
            entry: json!({"clusterDefault": cluster}),
        }
    }
}

impl BrokerDefaults {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-br-defaults";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// The one key is missing or not YAML of the right form.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let entry = required_yaml(data, KEY)?;
        let of_namespaces = entry["namespaceDefaults"].as_object().into_iter().flatten();
        let all = of_namespaces.map(|(_, config)| config);
        for config in all.chain([&entry["clusterDefault"]]) {
            check_words(config)?;
            let classes = config["brokerClasses"].as_object().into_iter().flatten();
            for (_, config) in classes {
                check_words(config)?;
            }
        }
        Ok(Self { entry })
    }

    /// The class of a Broker in `namespace` that names none.
    pub fn class(&self, namespace: &str) -> Option<&str> {
        let class = |config: &'_ Value| config["brokerClass"].as_str().map(str::to_owned);
        let of_namespace = &self.entry["namespaceDefaults"][namespace];
        let config = match class(of_namespace) {
            Some(_) => of_namespace,
            None => &self.entry["clusterDefault"],
        };
        config["brokerClass"]
            .as_str()
            .filter(|class| !class.is_empty())
    }

    /// What a Broker of `class` (its own word, if it has one) in `namespace` is configured with:
    /// the fields of a reference and `delivery`.
    pub fn config(&self, namespace: &str, class: Option<&str>) -> Option<&Value> {
        let of_namespace = &self.entry["namespaceDefaults"][namespace];
        let own = of_namespace["brokerClass"].as_str().unwrap_or_default();
        let class = match class {
            Some(class) => class,
            None => own,
        };
        if of_namespace.is_object() && !(class.is_empty() && own.is_empty()) {
            if class == own && has_config(of_namespace) {
                return Some(of_namespace);
            }
            let config = &of_namespace["brokerClasses"][class];
            if class != own && config.is_object() {
                return Some(config);
            }
        }
        let of_cluster = &self.entry["clusterDefault"];
        if !has_config(of_cluster) {
            return None;
        }
        let config = &of_cluster["brokerClasses"][class];
        let differs = of_cluster["brokerClass"] != class && !class.is_empty();
        Some(if differs && config.is_object() {
            config
        } else {
            of_cluster
        })
    }

    /// Whether Brokers in `namespace` must keep their configuration to their own namespace.
    pub fn disallows_other_namespaces(&self, namespace: &str) -> bool {
        const FLAG: &str = "disallowDifferentNamespaceConfig";
        let of_namespace = &self.entry["namespaceDefaults"][namespace][FLAG];
        let of_cluster = &self.entry["clusterDefault"][FLAG];
        of_namespace
            .as_bool()
            .or(of_cluster.as_bool())
            .unwrap_or(false)
    }
}

/// Checks that what must be words are words; YAML has many ways to write others.
fn check_words(config: &Value) -> Result<(), Error> {
    for field in ["brokerClass", "apiVersion", "kind", "name", "namespace"] {
        if !matches!(config[field], Value::Null | Value::String(_)) {
            let value = &config[field];
            return Err(Error(format!(
                "Failed to parse the entry: {field} must be a string, not {value}; quote it"
            )));
        }
    }
    Ok(())
}

/// Whether anything besides the class is said.
fn has_config(config: &Value) -> bool {
    ["apiVersion", "kind", "name", "namespace", "delivery"]
        .iter()
        .any(|field| !config[*field].is_null())
}

/// The YAML under `key`, which must be a map.
pub(super) fn required_yaml(data: &Data, key: &str) -> Result<Value, Error> {
    let Some(text) = data.get(key).filter(|text| !text.is_empty()) else {
        let shown: Vec<String> = data
            .iter()
            .map(|(key, value)| format!("{key}:{value}"))
            .collect();
        return Err(Error(format!(
            "ConfigMap is missing (or empty) key: {} : map[{}]",
            quote(key),
            shown.join(" ")
        )));
    };
    match from_yaml::<Value>(text) {
        Ok(entry) if entry.is_object() => Ok(entry),
        Ok(_) => Err(Error(format!(
            "Failed to parse the entry: json: cannot unmarshal the value of {key}: it must be a map"
        ))),
        Err(why) => Err(Error(format!(
            "Failed to parse the entry: ConfigMap's value could not be converted to JSON: {why} : {text}"
        ))),
    }
}
