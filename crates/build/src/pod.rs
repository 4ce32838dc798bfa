//! The Pod of a Build: its init containers write credentials, bring the source and run the steps,
//! one after the other; the one container that is left says that all went well.

use api::draft::controller_reference;
use api::object::ObjectExt;
use serde_json::{Value, json};

use crate::{BUILD_LABEL, STEP_PREFIX, images, sources};

/// Where the source is, and where steps begin.
pub(crate) const WORKSPACE: &str = "/workspace";
/// The home directory of all steps.
pub(crate) const HOME: &str = "/builder/home";
/// Longest part of the Build's name in the Pod's: the rest of a label's 63 letters is
/// `-pod-` and six digits.
const BASE_LEN_MAX: usize = 52;
/// Hexadecimal digits at the end of the Pod's name.
const SUFFIX_LEN: usize = 6;
/// What the source and the home directory may take of the node's disk, each; the node ends a Build
/// that takes more.
const DISK_LIMIT: &str = "20Gi";

/// What all steps have in their environment.
pub(crate) fn implicit_env() -> Value {
    json!([{"name": "HOME", "value": HOME}])
}

/// What all steps mount.
pub(crate) fn implicit_mounts() -> Value {
    json!([
        {"name": "workspace", "mountPath": WORKSPACE},
        {"name": "home", "mountPath": HOME},
    ])
}

/// The name of a Build's Pod: it follows from the Build, so that a Build never has two.
pub(crate) fn name(build: &Value) -> String {
    // FNV-1a.
    let hash = build
        .uid()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let digits = format!("{hash:016x}");
    let base: String = build.name().chars().take(BASE_LEN_MAX).collect();
    format!("{base}-pod-{}", &digits[..SUFFIX_LEN])
}

/// Makes the Pod. `spec` is the Build's with its template in it; `secrets` are those that have a
/// say, with their arguments.
pub(crate) fn make(build: &Value, spec: &Value, secrets: &[(String, Vec<String>)]) -> Value {
    let sources = sources::of(spec);
    let mut init = vec![credentials(secrets)];
    init.extend(sources.containers);
    let own = spec["steps"].as_array().into_iter().flatten().cloned();
    let steps = sources.custom.into_iter().chain(own);
    init.extend(
        steps
            .enumerate()
            .map(|(index, step)| dress(step, index, &sources.sub_path)),
    );
    let mut volumes: Vec<Value> = spec["volumes"].as_array().cloned().unwrap_or_default();
    for name in ["workspace", "home"] {
        volumes.push(json!({"name": name, "emptyDir": {"sizeLimit": DISK_LIMIT}}));
    }
    volumes.extend(
        secrets
            .iter()
            .map(|(name, _)| json!({"name": volume(name), "secret": {"secretName": name}})),
    );
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name(build),
            "namespace": build.namespace(),
            "ownerReferences": [controller_reference(build)],
            "annotations": {"sidecar.istio.io/inject": "false"},
            "labels": {BUILD_LABEL: build.name()},
        },
        "spec": {
            "restartPolicy": "Never",
            "initContainers": init,
            "containers": [{"name": "nop", "image": images::NOP}],
            "serviceAccountName": spec["serviceAccountName"],
            "volumes": volumes,
        },
    });
    for field in ["nodeSelector", "affinity"] {
        if !spec[field].is_null() {
            pod["spec"][field] = spec[field].clone();
        }
    }
    pod
}

/// Names of volumes are DNS labels, names of Secrets may have dots.
fn volume(secret: &str) -> String {
    let name = format!("secret-volume-{}", secret.replace('.', "-"));
    name.chars()
        .take(63)
        .collect::<String>()
        .trim_end_matches('-')
        .to_owned()
}

fn credentials(secrets: &[(String, Vec<String>)]) -> Value {
    let args: Vec<&String> = secrets.iter().flat_map(|(_, args)| args).collect();
    let mut mounts = implicit_mounts();
    for (name, _) in secrets {
        let path = format!("{}/{name}", crate::credentials::SECRETS_DIR);
        push(
            &mut mounts,
            json!({"name": volume(name), "mountPath": path}),
        );
    }
    json!({
        "name": format!("{STEP_PREFIX}credential-initializer"),
        "image": images::CREDS_INIT,
        "args": args,
        "env": implicit_env(),
        "volumeMounts": mounts,
        "workingDir": WORKSPACE,
    })
}

/// A step as a container of the Pod: what the user says stands, the rest is added.
fn dress(mut step: Value, index: usize, sub_path: &str) -> Value {
    let mut env = implicit_env();
    for variable in step["env"].as_array().into_iter().flatten() {
        push(&mut env, variable.clone());
    }
    step["env"] = env;
    let clean = |mount: &Value| {
        let path = mount["mountPath"].as_str().unwrap_or_default();
        path.trim_end_matches('/').to_owned()
    };
    let taken: Vec<String> = step["volumeMounts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(clean)
        .collect();
    for mut mount in implicit_mounts().as_array().cloned().unwrap_or_default() {
        if taken.contains(&clean(&mount)) {
            continue;
        }
        if !sub_path.is_empty() && mount["mountPath"] == WORKSPACE {
            mount["subPath"] = json!(sub_path);
        }
        push(&mut step["volumeMounts"], mount);
    }
    if step["workingDir"].as_str().is_none_or(str::is_empty) {
        step["workingDir"] = json!(WORKSPACE);
    }
    let name = step["name"].as_str().unwrap_or_default();
    step["name"] = match name {
        "" => json!(format!("{STEP_PREFIX}unnamed-{index}")),
        name => json!(format!("{STEP_PREFIX}{name}")),
    };
    step
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}
