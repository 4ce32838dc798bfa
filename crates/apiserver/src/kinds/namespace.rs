//! Namespaces.

use serde_json::{Value, json};

use super::{NONE, Rules};
use crate::status::Result;
use crate::write::Call;

pub(super) const RULES: Rules = Rules {
    default,
    prepare,
    ..NONE
};

fn default(namespace: &mut Value) {
    let name = namespace["metadata"]["name"].clone();
    if name.is_string() && !namespace["metadata"]["labels"].is_object() {
        namespace["metadata"]["labels"] = json!({});
    }
    if name.is_string() {
        namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    }
}

fn prepare(call: &Call<'_>, namespace: &mut Value, old: Option<&Value>) -> Result<()> {
    match old {
        None => {
            namespace["spec"] = json!({"finalizers": ["kubernetes"]});
            namespace["status"] = json!({"phase": "Active"});
        }
        // Only the finalize subresource changes the finalizers of the spec.
        Some(old) if call.subresource != "finalize" => namespace["spec"] = old["spec"].clone(),
        Some(old) => {
            let keep = |key: &str| old[key].clone();
            let finalizers = namespace["spec"]["finalizers"].clone();
            namespace["status"] = keep("status");
            namespace["metadata"] = keep("metadata");
            namespace["spec"] = match finalizers.as_array().is_some_and(|f| !f.is_empty()) {
                true => json!({"finalizers": finalizers}),
                false => json!({}),
            };
        }
    }
    Ok(())
}
