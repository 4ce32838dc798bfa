//! What lets programs in a Pod speak to the API server: a projected volume with a token, the
//! authority's certificate and the namespace, mounted where clients look for it. The admission
//! plugin `ServiceAccount` of Kubernetes does the same; called by `pod` for new Pods.

use serde_json::{Value, json};

use super::{items, items_mut, set, text};
use crate::after::ROOT_CA;
use crate::write::random_suffix;

/// Where clients look.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Lifetime of the token, which the node renews in time: an hour, and a little by which it is told
/// from others.
const TOKEN_LIFETIME_S: u64 = 3607;

/// Gives the containers of a Pod of this ServiceAccount what they need, unless one of the two
/// does not want it. A container that has mounted something there itself keeps it.
pub(super) fn mount(spec: &mut Value, account: &Value) {
    let wanted = [spec, account].map(|object| object["automountServiceAccountToken"].as_bool());
    if wanted.into_iter().flatten().next() == Some(false) {
        return;
    }
    let mut names = items(&spec["volumes"])
        .iter()
        .map(|volume| text(&volume["name"]));
    let present = names.find(|name| name.starts_with(VOLUME_PREFIX));
    let is_new = present.is_none();
    let name = present.map_or_else(
        || format!("{VOLUME_PREFIX}{}", random_suffix()),
        str::to_owned,
    );
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        if !spec[list].is_array() {
            continue;
        }
        for container in items_mut(&mut spec[list]) {
            let mut mounts = items(&container["volumeMounts"]).iter();
            if mounts.any(|mount| text(&mount["mountPath"]) == MOUNT_PATH) {
                continue;
            }
            mounted = true;
            push(
                container,
                "volumeMounts",
                json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}),
            );
        }
    }
    if mounted && is_new {
        push(spec, "volumes", volume(&name));
    }
}

fn push(object: &mut Value, list: &str, item: Value) {
    set(object, list, json!([]));
    if let Some(list) = object[list].as_array_mut() {
        list.push(item);
    }
}

fn volume(name: &str) -> Value {
    let namespace = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFETIME_S, "path": "token"}},
                {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of what each container has mounted, then of the volumes.
    fn mounted(mut spec: Value, account: Value) -> Vec<String> {
        mount(&mut spec, &account);
        let names = |list: &Value, key: &str| {
            let names = items(list).iter().map(|item| {
                let name = text(&item[key]);
                name.strip_prefix(VOLUME_PREFIX)
                    .map_or(name, |_| "api")
                    .to_owned()
            });
            names.collect::<Vec<_>>().join(",")
        };
        let containers = items(&spec["initContainers"])
            .iter()
            .chain(items(&spec["containers"]));
        let mut all: Vec<_> = containers
            .map(|c| names(&c["volumeMounts"], "name"))
            .collect();
        all.push(names(&spec["volumes"], "name"));
        all
    }

    #[test]
    fn every_container_unless_it_or_the_pod_or_the_account_declines() {
        let no = json!({"automountServiceAccountToken": false});
        let plain = || json!({"initContainers": [{}], "containers": [{}]});
        assert_eq!(mounted(plain(), json!({})), ["api", "api", "api"]);
        assert_eq!(mounted(plain(), no.clone()), ["", "", ""]);
        let mut spec = plain();
        spec["automountServiceAccountToken"] = json!(true);
        assert_eq!(
            mounted(spec, no.clone()),
            ["api", "api", "api"],
            "the Pod has the say"
        );
        let mut spec = plain();
        spec["automountServiceAccountToken"] = json!(false);
        assert_eq!(mounted(spec, json!({})), ["", "", ""]);
        let own = json!({"name": "own", "mountPath": MOUNT_PATH});
        let spec = json!({"containers": [{"volumeMounts": [own]}], "volumes": [{"name": "own"}]});
        assert_eq!(mounted(spec, json!({})), ["own", "own"]);
    }
}
