//! What a cluster has from its first moment: namespaces, roles, the API server's own Service, and
//! whatever the program adds. Objects that exist are left as they are.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::auth::User;
use crate::core::Core;
use crate::status::Status;
use crate::write::{self, Call};

mod roles;

const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// Makes what is missing.
///
/// # Errors
/// The first object that could not be made, and why.
pub(crate) async fn bootstrap(core: &Arc<Core>, extra: Vec<Value>) -> Result<(), (String, Status)> {
    let mut objects = Vec::new();
    for name in ["kube-system", "kube-public", "kube-node-lease", "default"] {
        objects.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    }
    objects.push(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": core.addresses.first().to_string(),
            "ports": [{"name": "https", "port": 443, "targetPort": 6443}],
        },
    }));
    objects.extend(roles::objects(RBAC));
    objects.extend(extra);
    let user = User::admin("system:apiserver");
    for object in objects {
        create_if_absent(core, &user, object).await?;
    }
    Ok(())
}

async fn create_if_absent(
    core: &Arc<Core>,
    user: &User,
    object: Value,
) -> Result<(), (String, Status)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let name = text(&object["metadata"]["name"]);
    let what = format!("{kind} {name}");
    let table = core.table();
    let Some(resource) = table.kind(&api_version, &kind) else {
        let why = format!("no matches for kind \"{kind}\" in version \"{api_version}\"");
        return Err((what, Status::bad_request(why)));
    };
    let namespace = match (resource.namespaced, text(&object["metadata"]["namespace"])) {
        (true, namespace) if namespace.is_empty() => "default".to_owned(),
        (true, namespace) => namespace,
        (false, _) => String::new(),
    };
    if core
        .store
        .get(resource.id, &resource.path(&namespace, &name))
        .is_some()
    {
        return Ok(());
    }
    let call = Call::internal(core, resource, &namespace, user);
    write::create(&call, object)
        .await
        .map(drop)
        .map_err(|status| (what, status))
}
