//! From security contexts to what the launcher is told: user, groups, capabilities, filter.

use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, PodSpec, SecurityContext};

use crate::launcher::{Sharing, User, caps};

/// How a container's process is confined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Confinement {
    pub(crate) user: User,
    pub(crate) capabilities: u64,
    pub(crate) no_new_privileges: bool,
    pub(crate) read_only_root: bool,
    pub(crate) privileged: bool,
    /// Whether it runs without the system call filter.
    pub(crate) unconfined: bool,
}

fn id(value: Option<i64>) -> Option<u32> {
    value.and_then(|value| u32::try_from(value).ok())
}

/// The container's word wins over the Pod's, the Pod's over the image's. The error is the message
/// of `CreateContainerConfigError`.
pub(crate) fn confinement(
    pod: &Pod,
    container: &Container,
    image_user: &str,
) -> Result<Confinement, String> {
    let (pod_default, own_default) = (PodSecurityContext::default(), SecurityContext::default());
    let spec = pod.spec.as_ref();
    let all = spec
        .and_then(|spec| spec.security_context.as_ref())
        .unwrap_or(&pod_default);
    let own = container.security_context.as_ref().unwrap_or(&own_default);
    let privileged = own.privileged == Some(true);
    let wanted = own.capabilities.as_ref();
    let list = |names: Option<&Vec<String>>| names.cloned().unwrap_or_default();
    let add = list(wanted.and_then(|wanted| wanted.add.as_ref()));
    let drop = list(wanted.and_then(|wanted| wanted.drop.as_ref()));
    let capabilities = match privileged {
        true => caps::ALL,
        false => caps::set(&add, &drop).map_err(|name| format!("unknown capability {name:?}"))?,
    };
    let profile = own
        .seccomp_profile
        .as_ref()
        .or(all.seccomp_profile.as_ref());
    let unconfined = profile.is_some_and(|profile| profile.type_ == "Unconfined");
    if profile.is_some_and(|profile| profile.type_ == "Localhost") {
        return Err(
            "seccompProfile type Localhost is not supported, use RuntimeDefault".to_owned(),
        );
    }
    let mut groups: Vec<u32> = all
        .supplemental_groups
        .iter()
        .flatten()
        .filter_map(|group| id(Some(*group)))
        .collect();
    groups.extend(id(all.fs_group));
    let user = User {
        image: image_user.to_owned(),
        uid: id(own.run_as_user.or(all.run_as_user)),
        gid: id(own.run_as_group.or(all.run_as_group)),
        groups,
    };
    if own.run_as_non_root.or(all.run_as_non_root) == Some(true) {
        check_not_root(&user)?;
    }
    Ok(Confinement {
        user,
        capabilities,
        no_new_privileges: own.allow_privilege_escalation == Some(false) && !privileged,
        read_only_root: own.read_only_root_filesystem == Some(true),
        privileged,
        unconfined: privileged || unconfined,
    })
}

/// What the Pod's containers share beyond network and host name.
pub(crate) fn sharing(pod: &Pod) -> Sharing {
    let spec = pod.spec.as_ref();
    let says = |word: fn(&PodSpec) -> Option<bool>| spec.and_then(word) == Some(true);
    Sharing {
        host_ipc: says(|spec| spec.host_ipc),
        host_pid: says(|spec| spec.host_pid),
        pod_pid: says(|spec| spec.share_process_namespace),
    }
}

fn check_not_root(user: &User) -> Result<(), String> {
    let name = user.image.split(':').next().unwrap_or_default();
    match (user.uid, name.parse::<u32>()) {
        (Some(0), _) => {
            Err("container's runAsUser breaks non-root policy (runAsUser is 0)".to_owned())
        }
        (Some(_), _) => Ok(()),
        (None, Ok(0)) => Err("container has runAsNonRoot and image will run as root".to_owned()),
        (None, Ok(_)) => Ok(()),
        (None, Err(_)) if name.is_empty() => {
            Err("container has runAsNonRoot and image will run as root".to_owned())
        }
        (None, Err(_)) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify \
             user is non-root"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(pod_context: Value, context: Value, image: &str, want: Result<&str, &str>) {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "securityContext": pod_context,
            "containers": [{"name": "a", "securityContext": context}],
        }}))
        .expect("a Pod");
        let container = &pod.spec.as_ref().expect("a spec").containers[0];
        let got = confinement(&pod, container, image).map(|all| {
            let user = all.user;
            format!(
                "{:?} {:?} {:?} {}",
                user.uid, user.gid, user.groups, all.unconfined
            )
        });
        assert_eq!(got.as_deref().map_err(String::as_str), want);
    }

    #[test]
    fn the_containers_word_wins() {
        let pod = json!({"runAsUser": 5, "fsGroup": 7, "supplementalGroups": [8]});
        check(pod.clone(), json!({}), "", Ok("Some(5) None [8, 7] false"));
        check(
            pod,
            json!({"runAsUser": 6}),
            "",
            Ok("Some(6) None [8, 7] false"),
        );
        check(
            json!({}),
            json!({"privileged": true}),
            "",
            Ok("None None [] true"),
        );
        let non_root = json!({"runAsNonRoot": true});
        check(
            non_root.clone(),
            json!({}),
            "65532:65532",
            Ok("None None [] false"),
        );
        let root = "container has runAsNonRoot and image will run as root";
        check(non_root, json!({}), "", Err(root));
        let drop = json!({"capabilities": {"drop": ["FLY"]}});
        check(json!({}), drop, "", Err("unknown capability \"FLY\""));
    }
}
