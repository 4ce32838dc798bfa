//! What a cluster has from its first moment: namespaces, roles, the API server's own Service, and
//! whatever the program adds. Objects that exist are left as they are, but for the program's own.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::auth::User;
use crate::core::Core;
use crate::status::Status;
use crate::write::{self, Call};

mod roles;

const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// Makes what is missing, and brings `owned` up to date.
///
/// # Errors
/// The first object that could not be made, and why.
pub(crate) async fn bootstrap(
    core: &Arc<Core>,
    owned: Vec<Value>,
    extra: Vec<Value>,
) -> Result<(), (String, Status)> {
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
    let user = User::admin("system:apiserver");
    let objects = objects.into_iter().map(|object| (object, Present::Stays));
    let owned = owned.into_iter().map(|object| (object, Present::Follows));
    let extra = extra.into_iter().map(|object| (object, Present::Stays));
    for (object, present) in objects.chain(owned).chain(extra) {
        ensure(core, &user, object, present).await?;
    }
    Ok(())
}

/// What becomes of an object that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Present {
    Stays,
    /// What is stated replaces what is stored.
    Follows,
}

async fn ensure(
    core: &Arc<Core>,
    user: &User,
    object: Value,
    present: Present,
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
    let call = Call::internal(core, resource, &namespace, user);
    let path = resource.path(&namespace, &name);
    if core.store.get(resource.id, &path).is_some() {
        return match present {
            Present::Stays => Ok(()),
            Present::Follows => update(&call, &name, &object).await.map_err(|e| (what, e)),
        };
    }
    write::create(&call, object)
        .await
        .map(drop)
        .map_err(|status| (what, status))
}

/// Lists are replaced whole; a status and what others have added stay.
async fn update(call: &Call<'_>, name: &str, stated: &Value) -> Result<(), Status> {
    let mut stated = stated.clone();
    if let Some(fields) = stated.as_object_mut() {
        fields.remove("status");
    }
    let modified = write::modify(call, name, |old| {
        let mut new = old.clone();
        schema::merge_patch(&mut new, stated.clone()).map_err(Status::internal)?;
        Ok(new)
    });
    modified.await.map(drop)
}
