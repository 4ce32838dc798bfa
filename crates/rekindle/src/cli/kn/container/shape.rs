//! What the flags of a container make of a Pod's spec. The first container is the one they are
//! about.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::super::super::apply as manifest;
use super::{Container, probe, volume};

/// Writes the flags into the Pod's spec; `volumes` are the words of `--volume`.
pub(in super::super) fn apply(
    pod: &mut Value,
    flags: &Container,
    volumes: &[String],
) -> Result<()> {
    if let Some(account) = &flags.service_account {
        set_or_clear(pod, "serviceAccountName", account, json!(account));
    }
    if let Some(secret) = &flags.pull_secret {
        let secrets = json!([{"name": secret}]);
        set_or_clear(pod, "imagePullSecrets", secret, secrets);
    }
    let container = &mut pod["containers"][0];
    program(container, flags)?;
    environment(container, flags)?;
    for (field, words) in [("requests", &flags.request), ("limits", &flags.limit)] {
        for word in words {
            change(&mut container["resources"][field], split(word)?);
        }
    }
    for (field, asked, options) in [
        (
            "livenessProbe",
            &flags.probe_liveness,
            &flags.probe_liveness_opts,
        ),
        (
            "readinessProbe",
            &flags.probe_readiness,
            &flags.probe_readiness_opts,
        ),
    ] {
        if asked.is_some() || options.is_some() {
            probe::set(&mut container[field], asked.as_deref(), options.as_deref())?;
        }
    }
    for word in volumes {
        volume::volume(pod, word)?;
    }
    for word in &flags.mount {
        volume::mount(pod, word)?;
    }
    Ok(())
}

/// Adds the containers of `--containers`; one takes the place of the one with its name. Their
/// volumes come with them.
pub(in super::super) fn add_containers(pod: &mut Value, flags: &Container) -> Result<()> {
    let Some(file) = &flags.containers else {
        return Ok(());
    };
    for more in manifest::read(std::slice::from_ref(file))? {
        let containers = more["containers"].as_array();
        let containers = containers.with_context(|| {
            format!("{file} has no `containers:`; 'container add' prints such a file")
        })?;
        for container in containers {
            if !container["name"].is_string() {
                bail!("a container in {file} has no name");
            }
            volume::put(&mut pod["containers"], "name", container.clone());
        }
        for made in more["volumes"].as_array().into_iter().flatten() {
            volume::put(&mut pod["volumes"], "name", made.clone());
        }
    }
    Ok(())
}

/// An empty word takes the field away.
fn set_or_clear(object: &mut Value, field: &str, word: &str, value: Value) {
    match object.as_object_mut() {
        Some(fields) if word.is_empty() => drop(fields.remove(field)),
        _ => object[field] = value,
    }
}

fn program(container: &mut Value, flags: &Container) -> Result<()> {
    if let Some(image) = &flags.image {
        container["image"] = json!(image);
    }
    if let Some(policy) = &flags.pull_policy {
        let known = ["Always", "Never", "IfNotPresent"];
        let policy = known
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(policy))
            .with_context(|| format!("--pull-policy {policy}: {}", known.join(", ")))?;
        container["imagePullPolicy"] = json!(policy);
    }
    if let Some(port) = &flags.port {
        let (name, number) = port.split_once(':').unwrap_or(("", port));
        let number: u16 = number.parse().with_context(|| format!("--port {port}"))?;
        container["ports"] = json!([{"name": name, "containerPort": number}]);
    }
    for (field, words) in [("command", &flags.cmd), ("args", &flags.arg)] {
        if !words.is_empty() {
            container[field] = json!(words);
        }
    }
    if let Some(user) = flags.user {
        container["securityContext"]["runAsUser"] = json!(user);
    }
    Ok(())
}

fn environment(container: &mut Value, flags: &Container) -> Result<()> {
    if let Some(file) = &flags.env_file {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            set_env(container, split(line)?, |value| json!({ "value": value }));
        }
    }
    for word in &flags.env {
        set_env(container, split(word)?, |value| json!({ "value": value }));
    }
    for word in &flags.env_value_from {
        let (name, value) = split(word)?;
        let source = value.map(|value| {
            let mut parts = value.splitn(3, ':');
            let kind = key_of_kind(parts.next().unwrap_or_default(), "KeyRef");
            let parts = kind.zip(parts.next()).zip(parts.next());
            let ((kind, of), key) = parts.with_context(|| {
                format!("--env-value-from {word}: NAME=config-map:MAP:KEY or secret:SECRET:KEY")
            })?;
            anyhow::Ok(json!({"valueFrom": {kind: {"name": of, "key": key}}}))
        });
        let source = source.transpose()?;
        set_env(container, (name, value), |_| source.unwrap_or_default());
    }
    for word in &flags.env_from {
        let (kind, name) = word.split_once(':').unwrap_or_default();
        let kind = key_of_kind(kind, "Ref");
        let kind =
            kind.with_context(|| format!("--env-from {word}: config-map:NAME or secret:NAME"))?;
        let bare = name.strip_suffix('-');
        let mut from = container["envFrom"].as_array().cloned().unwrap_or_default();
        from.retain(|source| source[&kind]["name"] != bare.unwrap_or(name));
        if bare.is_none() {
            from.push(json!({kind: {"name": name}}));
        }
        container["envFrom"] = from.into();
    }
    Ok(())
}

/// Kubernetes' field for a reference to a ConfigMap or Secret.
fn key_of_kind(kind: &str, suffix: &str) -> Option<String> {
    let kind = match kind {
        "config-map" | "cm" => "configMap",
        "secret" | "sc" => "secret",
        _ => return None,
    };
    Some(format!("{kind}{suffix}"))
}

/// `KEY=VALUE`, or `KEY-` for taking away.
pub(in super::super) fn split(word: &str) -> Result<(&str, Option<&str>)> {
    match (word.split_once('='), word.strip_suffix('-')) {
        (Some((key, value)), _) => Ok((key, Some(value))),
        (None, Some(key)) => Ok((key, None)),
        (None, None) => bail!("{word:?} is neither NAME=VALUE nor NAME-"),
    }
}

/// Sets or takes away an entry of a map.
pub(in super::super) fn change(map: &mut Value, (key, value): (&str, Option<&str>)) {
    if !map.is_object() {
        *map = Value::Object(Map::new());
    }
    match value {
        Some(value) => map[key] = json!(value),
        None => {
            if let Some(map) = map.as_object_mut() {
                map.remove(key);
            }
        }
    }
}

/// Sets or takes away a variable; `made` makes what it is of its value.
fn set_env(
    container: &mut Value,
    (name, value): (&str, Option<&str>),
    made: impl FnOnce(&str) -> Value,
) {
    let mut env = container["env"].as_array().cloned().unwrap_or_default();
    env.retain(|entry| entry["name"] != name);
    env.extend(value.map(|value| {
        let mut entry = made(value);
        entry["name"] = json!(name);
        entry
    }));
    container["env"] = Value::Array(env);
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        container: Container,
    }

    fn flags(line: &str) -> Container {
        let words = ["x"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().container
    }

    fn shaped(line: &str, mut pod: Value) -> Result<Value> {
        apply(&mut pod, &flags(line), &[])?;
        Ok(pod)
    }

    #[test]
    fn flags_describe_a_container() {
        let line = "--image a --env A=1 --env-value-from B=cm:map:key --env-from secret:s \
                    --request cpu=100m,memory=1Gi --limit cpu- --pull-policy always --user 7 \
                    --probe-readiness tcp:: --probe-readiness-opts PeriodSeconds=3 \
                    --service-account me --pull-secret=";
        let before = json!({
            "imagePullSecrets": [{"name": "old"}],
            "containers": [{"resources": {"limits": {"cpu": "1", "memory": "2Gi"}}}],
        });
        let expected = json!({
            "serviceAccountName": "me",
            "containers": [{
                "image": "a",
                "imagePullPolicy": "Always",
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "key"}}},
                ],
                "envFrom": [{"secretRef": {"name": "s"}}],
                "resources": {
                    "limits": {"memory": "2Gi"},
                    "requests": {"cpu": "100m", "memory": "1Gi"},
                },
                "readinessProbe": {"tcpSocket": {}, "periodSeconds": 3},
                "securityContext": {"runAsUser": 7},
            }],
        });
        let shaped_once = shaped(line, before).unwrap();
        assert_eq!(shaped_once, expected);
        let fewer = shaped(
            "--env A- --env-value-from B- --env-from secret:s-",
            shaped_once,
        );
        let container = &fewer.unwrap()["containers"][0];
        assert_eq!(
            (&container["env"], &container["envFrom"]),
            (&json!([]), &json!([]))
        );
        for (line, expected) in [
            ("--env-value-from B=cm:map", "config-map:MAP:KEY"),
            ("--env-from volume:x", "secret:NAME"),
            ("--pull-policy sometimes", "Always, Never"),
            ("--port h2c", "--port h2c"),
        ] {
            let error = format!(
                "{:#}",
                shaped(line, json!({"containers": [{}]})).unwrap_err()
            );
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn more_containers_come_from_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("containers.yaml");
        let text = "containers:\n- {name: b, image: new}\n- {name: c, image: c}\nvolumes:\n- {name: v, emptyDir: {}}\n";
        std::fs::write(&file, text).unwrap();
        let mut pod = json!({"containers": [{"image": "a"}, {"name": "b", "image": "old"}]});
        let line = format!("--extra-containers {}", file.display());
        add_containers(&mut pod, &flags(&line)).unwrap();
        let expected = json!({
            "containers": [
                {"image": "a"},
                {"name": "b", "image": "new"},
                {"name": "c", "image": "c"},
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
        });
        assert_eq!(pod, expected);
        std::fs::write(&file, "kind: Service\n").unwrap();
        let error = add_containers(&mut pod, &flags(&line)).unwrap_err();
        assert!(error.to_string().contains("no `containers:`"), "{error}");
    }
}
