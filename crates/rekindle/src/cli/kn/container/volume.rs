//! The grammars of `--mount` and `--volume`.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What a volume can be made of, as `TYPE:REST` says; `None` for another type.
fn source(kind: &str, name: &str) -> Option<Value> {
    Some(match kind {
        "config-map" | "cm" => json!({"configMap": {"name": name}}),
        "secret" | "sc" => json!({"secret": {"secretName": name}}),
        "emptyDir" | "ed" => json!({"emptyDir": {}}),
        "persistentVolumeClaim" | "pvc" => json!({"persistentVolumeClaim": {"claimName": name}}),
        _ => return None,
    })
}

const TYPES: &str = "config-map (cm), secret (sc), emptyDir (ed) or persistentVolumeClaim (pvc)";

/// `--volume NAME=TYPE:REST`, or `NAME-`.
pub(super) fn volume(pod: &mut Value, word: &str) -> Result<()> {
    let Some((name, spec)) = word.split_once('=') else {
        let name = word.strip_suffix('-');
        let name = name.with_context(|| format!("--volume {word}: NAME={TYPES}, or NAME-"))?;
        let is_mounted = pod["containers"][0]["volumeMounts"]
            .as_array()
            .is_some_and(|mounts| mounts.iter().any(|mount| mount["name"] == name));
        if is_mounted {
            bail!("--volume {word}: the volume {name:?} cannot be removed because it is mounted");
        }
        remove(&mut pod["volumes"], "name", name);
        return Ok(());
    };
    let unknown = || format!("--volume {word}: NAME=TYPE:NAME, where TYPE is {TYPES}");
    let (kind, rest) = spec.split_once(':').with_context(unknown)?;
    let (of, options) = match rest.split_once(':') {
        Some((of, options)) => (of, Some(options)),
        None => (rest, None),
    };
    let mut made = source(kind, of).with_context(unknown)?;
    for option in options.into_iter().flat_map(|options| options.split(',')) {
        let (key, value) = option.split_once('=').unwrap_or_default();
        let field = match key.to_ascii_lowercase().as_str() {
            "type" => "medium",
            "size" => "sizeLimit",
            _ => bail!("--volume {word}: an emptyDir has `size` and `type`"),
        };
        if !made["emptyDir"].is_object() {
            bail!("--volume {word}: only an emptyDir has options");
        }
        made["emptyDir"][field] = json!(value);
    }
    made["name"] = json!(name);
    put(&mut pod["volumes"], "name", made);
    Ok(())
}

/// `--mount DIRECTORY=…`, or `DIRECTORY-`. Volumes of the Pod are made and go with it.
pub(super) fn mount(pod: &mut Value, word: &str) -> Result<()> {
    let Some((path, spec)) = word.split_once('=') else {
        let path = word.strip_suffix('-');
        let path =
            path.with_context(|| format!("--mount {word}: DIRECTORY=VOLUME or DIRECTORY-"))?;
        remove(&mut pod["containers"][0]["volumeMounts"], "mountPath", path);
        remove(&mut pod["volumes"], "name", &generated(path));
        return Ok(());
    };
    let (kind, rest) = match spec.split_once(':') {
        Some((kind, rest)) if source(kind, "").is_some() => (Some(kind), rest),
        Some((_, options)) if is_option(options) => (None, spec),
        Some(_) => bail!("--mount {word}: the type is {TYPES}, or nothing for a volume's name"),
        None => (None, spec),
    };
    let (place, options) = match rest.split_once(':') {
        Some((place, options)) => (place, Some(options)),
        None => (rest, None),
    };
    let (of, sub_path) = place.split_once('/').unwrap_or((place, ""));
    let mut mount = json!({"mountPath": path});
    let name = match kind.and_then(|kind| source(kind, of)) {
        Some(mut made) => {
            let name = generated(path);
            made["name"] = json!(name);
            put(&mut pod["volumes"], "name", made);
            name
        }
        None => of.to_owned(),
    };
    let volume = array(&pod["volumes"]).find(|volume| volume["name"] == *name);
    let volume = volume.with_context(|| format!("--mount {word}: there is no volume {name:?}"))?;
    let is_written = ["emptyDir", "persistentVolumeClaim"]
        .into_iter()
        .any(|kind| !volume[kind].is_null());
    let read_only = match options {
        Some(options) => {
            let (_, value) = options.split_once('=').unwrap_or_default();
            let value: Result<bool, _> = value.to_ascii_lowercase().parse();
            let value = value.ok().filter(|_| is_option(options));
            value
                .with_context(|| format!("--mount {word}: the option is readOnly=true or =false"))?
        }
        None => !is_written,
    };
    if read_only {
        mount["readOnly"] = json!(true);
    }
    if !sub_path.is_empty() {
        mount["subPath"] = json!(sub_path);
    }
    mount["name"] = json!(name);
    put(
        &mut pod["containers"][0]["volumeMounts"],
        "mountPath",
        mount,
    );
    Ok(())
}

fn is_option(text: &str) -> bool {
    let (key, _) = text.split_once('=').unwrap_or((text, ""));
    key.eq_ignore_ascii_case("readOnly")
}

/// The name of the volume that is made for a directory: a label of its path, and a number, lest two
/// paths have one.
fn generated(path: &str) -> String {
    let plain = |byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' => char::from(byte),
        b'A'..=b'Z' => char::from(byte.to_ascii_lowercase()),
        _ => '-',
    };
    let label: String = path.bytes().map(plain).take(50).collect();
    // FNV-1a, 32 bits.
    let number = path.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let label = label.trim_matches('-');
    match label {
        "" => format!("root-{number:08x}"),
        label => format!("{label}-{number:08x}"),
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Puts `entry` into a list, in the place of the one with the same `key`.
pub(super) fn put(list: &mut Value, key: &str, entry: Value) {
    let mut entries = list.as_array().cloned().unwrap_or_default();
    match entries.iter().position(|old| old[key] == entry[key]) {
        Some(at) => entries[at] = entry,
        None => entries.push(entry),
    }
    *list = entries.into();
}

/// Takes out of a list what has `value` as `key`; an empty list goes.
fn remove(list: &mut Value, key: &str, value: &str) {
    let mut entries = list.take().as_array().cloned().unwrap_or_default();
    entries.retain(|entry| entry[key] != value);
    if !entries.is_empty() {
        *list = entries.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(words: &[(&str, &str)]) -> Result<Value> {
        let mut pod = json!({"containers": [{}]});
        for (flag, word) in words {
            match *flag {
                "volume" => volume(&mut pod, word)?,
                _ => mount(&mut pod, word)?,
            }
        }
        Ok(pod)
    }

    #[test]
    fn mounts_make_their_volumes() {
        let made = pod(&[
            ("mount", "/etc/a=cm:settings/sub/path"),
            ("mount", "/b=secret:key"),
            ("volume", "room=ed:x:size=1Gi,type=Memory"),
            ("mount", "/c=room"),
            ("mount", "/d=room:readOnly=true"),
            ("mount", "/e=pvc:claim"),
            ("mount", "/b-"),
        ]);
        let (a, e) = (generated("/etc/a"), generated("/e"));
        assert!(a.starts_with("etc-a-"), "{a}");
        let expected = json!({
            "containers": [{"volumeMounts": [
                {"mountPath": "/etc/a", "readOnly": true, "subPath": "sub/path", "name": a},
                {"mountPath": "/c", "name": "room"},
                {"mountPath": "/d", "readOnly": true, "name": "room"},
                {"mountPath": "/e", "name": e},
            ]}],
            "volumes": [
                {"configMap": {"name": "settings"}, "name": a},
                {"emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}, "name": "room"},
                {"persistentVolumeClaim": {"claimName": "claim"}, "name": e},
            ],
        });
        assert_eq!(made.unwrap(), expected);
        let gone = pod(&[("mount", "/b=secret:key"), ("mount", "/b-")]).unwrap();
        assert!(gone["volumes"].is_null(), "{gone}");
    }

    #[test]
    fn what_cannot_be_mounted_is_named() {
        for (words, expected) in [
            (&[("mount", "/a=room")][..], "there is no volume \"room\""),
            (&[("mount", "/a=nfs:x")], "the type is config-map"),
            (&[("mount", "/a=cm:x:size=1")], "the option is readOnly"),
            (&[("mount", "/a")], "DIRECTORY=VOLUME"),
            (&[("volume", "a=nfs:x")], "where TYPE is"),
            (&[("volume", "a=cm:x:size=1")], "only an emptyDir"),
            (
                &[("volume", "a=ed:a"), ("mount", "/a=a"), ("volume", "a-")],
                "because it is mounted",
            ),
        ] {
            let error = format!("{:#}", pod(words).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
