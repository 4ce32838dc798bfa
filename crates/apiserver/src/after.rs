//! What follows from a write at once, before it is answered: the resource table after a
//! CustomResourceDefinition, the access rules after a role, the content of a new namespace.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::auth::User;
use crate::core::Core;
use crate::resource::Resource;
use crate::write::{self, Call};

/// The ConfigMap every namespace has, with the authority's certificate.
pub(crate) const ROOT_CA: &str = "kube-root-ca.crt";

/// An object was created or changed.
pub(crate) async fn written(core: &Arc<Core>, resource: &Resource, object: &Value) {
    match (&*resource.group, &*resource.plural) {
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            core.registry.define(&core.store, object);
        }
        ("rbac.authorization.k8s.io", _) => core.access.invalidate(),
        ("admissionregistration.k8s.io", _) => core.webhooks.invalidate(),
        ("", "namespaces") if !object["metadata"]["deletionTimestamp"].is_string() => {
            fill_namespace(
                core,
                object["metadata"]["name"].as_str().unwrap_or_default(),
            )
            .await;
        }
        _ => {}
    }
}

/// An object is gone.
pub(crate) async fn deleted(core: &Arc<Core>, resource: &Resource, object: &Value) {
    match (&*resource.group, &*resource.plural) {
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            core.registry
                .undefine(object["metadata"]["name"].as_str().unwrap_or_default());
        }
        ("rbac.authorization.k8s.io", _) => core.access.invalidate(),
        ("admissionregistration.k8s.io", _) => core.webhooks.invalidate(),
        ("", "services") => core.addresses.release(resource, object),
        // Every live namespace has these two; one that is removed is made anew.
        ("", "serviceaccounts") | ("", "configmaps") => {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
            if matches!(name, "default" | ROOT_CA) {
                fill_namespace(core, namespace).await;
            }
        }
        _ => {}
    }
}

/// Makes the ServiceAccount `default` and the authority's ConfigMap.
async fn fill_namespace(core: &Arc<Core>, namespace: &str) {
    let live = core.read("", "namespaces", "", namespace);
    if live.is_none_or(|namespace| namespace["metadata"]["deletionTimestamp"].is_string()) {
        return;
    }
    let user = User::admin("system:kube-controller-manager");
    let account = json!({"metadata": {"name": "default"}});
    let authority = json!({
        "metadata": {
            "name": ROOT_CA,
            "annotations": {"kubernetes.io/description": "Contains a CA bundle that can be used \
                to verify the kube-apiserver when using internal endpoints such as the internal \
                service IP or kubernetes.default.svc. No other usage is guaranteed across \
                distributions of Kubernetes clusters."},
        },
        "data": {"ca.crt": core.pki.authority.certificate},
    });
    for (plural, object) in [("serviceaccounts", account), ("configmaps", authority)] {
        let resource = core.builtin("", plural);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if core
            .store
            .get(resource.id, &resource.path(namespace, name))
            .is_some()
        {
            continue;
        }
        let call = Call::internal(core, &resource, namespace, &user);
        // Boxed: creating is what brought us here.
        if let Err(status) = Box::pin(write::create(&call, object)).await {
            tracing::warn!(
                namespace,
                plural,
                message = status.message,
                "could not fill namespace"
            );
        }
    }
}
