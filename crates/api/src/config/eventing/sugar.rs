//! `config-sugar`: which namespaces and Triggers get a Broker made for them. The rules of Knative's
//! `pkg/apis/sugar`.

use serde_json::Value;

use crate::config::data::{Data, Error, from_yaml};
use crate::gotext::quote;

const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// The selectors; `None` selects nothing, an empty one everything.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sugar {
    /// `namespace-selector`, a label selector of Kubernetes.
    pub namespaces: Option<Value>,
    /// `trigger-selector`, the same.
    pub triggers: Option<Value>,
}

impl Sugar {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-sugar";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// A value that is no label selector.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        Ok(Self {
            namespaces: selector(data, "namespace-selector")?,
            triggers: selector(data, "trigger-selector")?,
        })
    }
}

fn selector(data: &Data, key: &str) -> Result<Option<Value>, Error> {
    let Some(text) = data.get(key).filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    let wrong = |why: String| Error(format!("failed to parse {}: {why}", quote(key)));
    let selector: Value = from_yaml(text).map_err(wrong)?;
    if !selector.is_object() {
        let why = "a label selector with matchLabels or matchExpressions is expected";
        return Err(wrong(why.to_owned()));
    }
    for expression in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let operator = expression["operator"].as_str().unwrap_or_default();
        if !OPERATORS.contains(&operator) {
            let why = format!("{} is not a valid label selector operator", quote(operator));
            return Err(wrong(why));
        }
    }
    Ok(Some(selector))
}
