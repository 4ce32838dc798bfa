//! `config-kreference-mapping`: kinds whose objects stand for a URL that a template gives. Counts
//! where the feature `kreference-mapping` is on.

use std::collections::BTreeMap;

use serde_json::json;

use super::SYSTEM_NAMESPACE;
use crate::config::data::{Data, Error};
use crate::gotext::Template;

/// The templates, by `KIND.VERSION.GROUP`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Mapping {
    templates: BTreeMap<String, Template>,
}

impl Mapping {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-kreference-mapping";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// A value that is no template of Go's, or uses a field that is not there.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut templates = BTreeMap::new();
        for (key, text) in data.iter().filter(|(key, _)| !key.starts_with('_')) {
            let template = Template::parse(key, text).map_err(Error)?;
            template
                .execute(&fields("name", "namespace", "uid"))
                .map_err(|error| Error(format!("error executing template: {error}")))?;
            templates.insert(key.clone(), template);
        }
        Ok(Self { templates })
    }

    /// The URL of object `name` in `namespace`, if its kind is mapped. `uid` is that of the object
    /// whose reference it is.
    pub fn url(
        &self,
        api_version: &str,
        kind: &str,
        (namespace, name): (&str, &str),
        uid: &str,
    ) -> Option<String> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let key = match group {
            "" => format!("{kind}.{version}"),
            group => format!("{kind}.{version}.{group}"),
        };
        let template = self.templates.get(&key)?;
        template.execute(&fields(name, namespace, uid)).ok()
    }
}

fn fields(name: &str, namespace: &str, uid: &str) -> serde_json::Value {
    json!({
        "Name": name,
        "Namespace": namespace,
        "SystemNamespace": SYSTEM_NAMESPACE,
        "UID": uid,
    })
}
