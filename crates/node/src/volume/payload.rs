//! What is in the volumes that have content: ConfigMaps, Secrets, tokens, facts about the Pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Secret, ServiceAccountTokenProjection, Volume,
};

use super::Maker;
use crate::agent::fields;
use crate::cluster::{Source, TokenRequest};

/// Files without a mode of their own.
const MODE_DEFAULT: u32 = 0o644;
/// Lifetime of a token whose projection says none, seconds.
const TOKEN_LIFETIME_DEFAULT_S: u64 = 3600;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
}

/// Files by their path in the volume.
pub(super) type Files = BTreeMap<String, File>;

type Items<'a> = Option<&'a Vec<KeyToPath>>;

fn mode(value: Option<i32>) -> Option<u32> {
    value.and_then(|mode| u32::try_from(mode).ok())
}

/// The content of a volume; none for kinds that have none.
pub(super) async fn of(maker: &Maker<'_>, volume: &Volume) -> Result<Option<Files>, String> {
    let mut files = Files::new();
    if let Some(wanted) = &volume.config_map {
        let default = mode(wanted.default_mode).unwrap_or(MODE_DEFAULT);
        let source = (wanted.name.as_str(), wanted.optional == Some(true));
        config_map(maker, source, wanted.items.as_ref(), default, &mut files).await?;
    } else if let Some(wanted) = &volume.secret {
        let default = mode(wanted.default_mode).unwrap_or(MODE_DEFAULT);
        let name = wanted.secret_name.as_deref().unwrap_or_default();
        let source = (name, wanted.optional == Some(true));
        secret(maker, source, wanted.items.as_ref(), default, &mut files).await?;
    } else if let Some(wanted) = &volume.downward_api {
        let default = mode(wanted.default_mode).unwrap_or(MODE_DEFAULT);
        downward(maker, wanted.items.as_ref(), default, &mut files)?;
    } else if let Some(wanted) = &volume.projected {
        let default = mode(wanted.default_mode).unwrap_or(MODE_DEFAULT);
        for part in wanted.sources.iter().flatten() {
            if let Some(wanted) = &part.config_map {
                let source = (wanted.name.as_str(), wanted.optional == Some(true));
                config_map(maker, source, wanted.items.as_ref(), default, &mut files).await?;
            }
            if let Some(wanted) = &part.secret {
                let source = (wanted.name.as_str(), wanted.optional == Some(true));
                secret(maker, source, wanted.items.as_ref(), default, &mut files).await?;
            }
            if let Some(wanted) = &part.downward_api {
                downward(maker, wanted.items.as_ref(), default, &mut files)?;
            }
            if let Some(wanted) = &part.service_account_token {
                token(maker, wanted, default, &mut files).await?;
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(files))
}

/// Puts keys where `items` says, or all of them under their own names.
fn choose(
    data: BTreeMap<String, Vec<u8>>,
    items: Items<'_>,
    default: u32,
    optional: bool,
    files: &mut Files,
) -> Result<(), String> {
    let Some(items) = items else {
        files.extend(data.into_iter().map(|(key, bytes)| {
            (
                key,
                File {
                    bytes,
                    mode: default,
                },
            )
        }));
        return Ok(());
    };
    for item in items {
        let Some(bytes) = data.get(&item.key) else {
            if optional {
                continue;
            }
            return Err(format!("references non-existent config key: {}", item.key));
        };
        check_path(&item.path)?;
        let mode = mode(item.mode).unwrap_or(default);
        files.insert(
            item.path.clone(),
            File {
                bytes: bytes.clone(),
                mode,
            },
        );
    }
    Ok(())
}

/// A path that leads out of its volume is never written, whoever let it through.
fn check_path(path: &str) -> Result<(), String> {
    let bad = path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..");
    if bad {
        Err(format!("path {path:?} is not inside the volume"))
    } else {
        Ok(())
    }
}

async fn config_map(
    maker: &Maker<'_>,
    (name, optional): (&str, bool),
    items: Items<'_>,
    default: u32,
    files: &mut Files,
) -> Result<(), String> {
    let namespace = maker.pod.metadata.namespace.as_deref().unwrap_or_default();
    match maker.cluster.config_map(namespace, name).await? {
        Some(map) => choose(config_map_data(map), items, default, optional, files),
        None if optional => Ok(()),
        None => Err(format!("configmap \"{name}\" not found")),
    }
}

fn config_map_data(map: ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, text)| (key, text.into_bytes()));
    let binary = map
        .binary_data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, bytes)| (key, bytes.0));
    text.chain(binary).collect()
}

async fn secret(
    maker: &Maker<'_>,
    (name, optional): (&str, bool),
    items: Items<'_>,
    default: u32,
    files: &mut Files,
) -> Result<(), String> {
    let namespace = maker.pod.metadata.namespace.as_deref().unwrap_or_default();
    match maker.cluster.secret(namespace, name).await? {
        Some(Secret { data, .. }) => {
            let data = data
                .unwrap_or_default()
                .into_iter()
                .map(|(key, bytes)| (key, bytes.0));
            choose(data.collect(), items, default, optional, files)
        }
        None if optional => Ok(()),
        None => Err(format!("secret \"{name}\" not found")),
    }
}

fn downward(
    maker: &Maker<'_>,
    items: Option<&Vec<DownwardAPIVolumeFile>>,
    default: u32,
    files: &mut Files,
) -> Result<(), String> {
    for item in items.into_iter().flatten() {
        check_path(&item.path)?;
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(wanted), _) => fields::field(maker.pod, maker.facts, &wanted.field_path)?,
            (_, Some(wanted)) => fields::resource(maker.pod, None, maker.facts, wanted)?,
            _ => String::new(),
        };
        let mode = mode(item.mode).unwrap_or(default);
        files.insert(
            item.path.clone(),
            File {
                bytes: text.into_bytes(),
                mode,
            },
        );
    }
    Ok(())
}

async fn token(
    maker: &Maker<'_>,
    wanted: &ServiceAccountTokenProjection,
    mode: u32,
    files: &mut Files,
) -> Result<(), String> {
    check_path(&wanted.path)?;
    let meta = &maker.pod.metadata;
    let account = maker
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.clone());
    let account = account
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "default".to_owned());
    let request = TokenRequest {
        namespace: meta.namespace.clone().unwrap_or_default(),
        service_account: account.clone(),
        audiences: wanted.audience.clone().into_iter().collect(),
        expiration_s: lifetime_s(wanted),
        pod_name: meta.name.clone().unwrap_or_default(),
        pod_uid: meta.uid.clone().unwrap_or_default(),
    };
    match maker.cluster.service_account_token(request).await? {
        Some(token) => {
            let bytes = token.token.into_bytes();
            files.insert(wanted.path.clone(), File { bytes, mode });
            Ok(())
        }
        None => Err(format!("serviceaccount \"{account}\" not found")),
    }
}

fn lifetime_s(wanted: &ServiceAccountTokenProjection) -> u64 {
    let seconds = wanted
        .expiration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    seconds.unwrap_or(TOKEN_LIFETIME_DEFAULT_S)
}

/// The shortest lifetime of a token in the volume.
pub(super) fn token_lifetime_s(volume: &Volume) -> Option<u64> {
    let parts = volume.projected.as_ref()?.sources.as_ref()?;
    parts
        .iter()
        .filter_map(|part| part.service_account_token.as_ref())
        .map(lifetime_s)
        .min()
}

/// Whether the volume shows something of `source`.
pub(super) fn draws_on(volume: &Volume, namespace: &str, source: &Source) -> bool {
    let parts = || {
        volume
            .projected
            .iter()
            .flat_map(|all| all.sources.iter().flatten())
    };
    match source {
        Source::Pod => {
            volume.downward_api.is_some() || parts().any(|one| one.downward_api.is_some())
        }
        Source::ConfigMap(of, name) => {
            let own = volume
                .config_map
                .as_ref()
                .is_some_and(|map| map.name == *name);
            let part =
                || parts().any(|one| one.config_map.as_ref().is_some_and(|m| m.name == *name));
            of == namespace && (own || part())
        }
        Source::Secret(of, name) => {
            let own = volume
                .secret
                .as_ref()
                .is_some_and(|one| one.secret_name.as_ref() == Some(name));
            let part = || parts().any(|one| one.secret.as_ref().is_some_and(|s| s.name == *name));
            of == namespace && (own || part())
        }
    }
}
