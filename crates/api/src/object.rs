//! Kubernetes objects as JSON values, for code that treats all kinds alike.

use serde_json::{Map, Value};

/// Read access to the metadata every Kubernetes object has. Absent strings read as `""`.
pub trait ObjectExt {
    /// `apiVersion`.
    fn api_version(&self) -> &str;
    /// `kind`.
    fn kind(&self) -> &str;
    /// `metadata.name`.
    fn name(&self) -> &str;
    /// `metadata.namespace`.
    fn namespace(&self) -> &str;
    /// `metadata.uid`.
    fn uid(&self) -> &str;
    /// `metadata.resourceVersion`.
    fn resource_version(&self) -> &str;
    /// `metadata.generation`, 0 when absent.
    fn generation(&self) -> i64;
    /// The value of label `key`.
    fn label(&self, key: &str) -> Option<&str>;
    /// The value of annotation `key`.
    fn annotation(&self, key: &str) -> Option<&str>;
    /// `metadata.labels`.
    fn labels(&self) -> Option<&Map<String, Value>>;
    /// Whether `metadata.deletionTimestamp` is set.
    fn is_terminating(&self) -> bool;
    /// The entries of `metadata.ownerReferences`.
    fn owner_references(&self) -> &[Value];
    /// The owner with `controller: true`.
    fn controller_owner(&self) -> Option<&Value>;
}

impl ObjectExt for Value {
    fn api_version(&self) -> &str {
        self["apiVersion"].as_str().unwrap_or_default()
    }

    fn kind(&self) -> &str {
        self["kind"].as_str().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self["metadata"]["name"].as_str().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self["metadata"]["uid"].as_str().unwrap_or_default()
    }

    fn resource_version(&self) -> &str {
        self["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
    }

    fn generation(&self) -> i64 {
        self["metadata"]["generation"].as_i64().unwrap_or_default()
    }

    fn label(&self, key: &str) -> Option<&str> {
        self["metadata"]["labels"].get(key)?.as_str()
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self["metadata"]["annotations"].get(key)?.as_str()
    }

    fn labels(&self) -> Option<&Map<String, Self>> {
        self["metadata"]["labels"].as_object()
    }

    fn is_terminating(&self) -> bool {
        self["metadata"]["deletionTimestamp"].is_string()
    }

    fn owner_references(&self) -> &[Self] {
        self["metadata"]["ownerReferences"]
            .as_array()
            .map_or(&[], Vec::as_slice)
    }

    fn controller_owner(&self) -> Option<&Self> {
        self.owner_references()
            .iter()
            .find(|owner| owner["controller"] == Self::Bool(true))
    }
}
