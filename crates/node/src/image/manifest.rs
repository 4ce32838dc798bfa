//! The JSON documents of an image: index, manifest, configuration; OCI and Docker schema 2 alike.
//!
//! Read tolerantly: unknown fields and media types are nobody's error until they are needed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::Error;

pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(super) const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub(super) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Media types of a manifest's single layer that make it a WebAssembly component.
const WASM_LAYERS: &[&str] = &[
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
];

/// A pointer to content.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) media_type: String,
    pub(super) digest: Digest,
    /// Bytes.
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(super) fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_INDEX)
    }

    pub(super) fn is_wasm(&self) -> bool {
        WASM_LAYERS.contains(&self.media_type.as_str())
    }
}

/// What a manifest of an index is for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Platform {
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) variant: Option<String>,
}

/// An index of manifests, or a layout's `index.json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    #[serde(default)]
    pub(super) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) media_type: String,
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
}

/// One image: its configuration and its layers, bottom first.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) media_type: String,
    pub(super) config: Descriptor,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
}

/// The configuration's document.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct ConfigFile {
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) config: Option<ImageConfig>,
    #[serde(default)]
    pub(super) rootfs: RootFs,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct RootFs {
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) diff_ids: Vec<Digest>,
}

/// How to run the image, where the Pod does not say otherwise.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageConfig {
    /// User and group by name or number: `1000`, `app`, `1000:1000`; empty means root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `8080/tcp` and the like.
    #[serde(
        default,
        deserialize_with = "keys",
        serialize_with = "as_keys",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub exposed_ports: Vec<String>,
    /// `NAME=value`.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub entrypoint: Vec<String>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cmd: Vec<String>,
    /// Directories the image wants to be volumes.
    #[serde(
        default,
        deserialize_with = "keys",
        serialize_with = "as_keys",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub volumes: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// A name or a number; none means SIGTERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

/// Docker writes `null` where nothing is set.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A set is written as an object with empty values.
fn keys<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let set: Option<BTreeMap<String, serde::de::IgnoredAny>> = Option::deserialize(deserializer)?;
    Ok(set.unwrap_or_default().into_keys().collect())
}

fn as_keys<S: serde::Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Empty {}
    serializer.collect_map(keys.iter().map(|key| (key, Empty {})))
}

/// This machine's architecture in Go's words, as images use them.
pub(crate) const ARCHITECTURE: &str = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => "amd64",
    b"aarch64" => "arm64",
    b"x86" => "386",
    b"powerpc64" => "ppc64le",
    _ => std::env::consts::ARCH,
};

/// The manifest of an index for this machine.
pub(super) fn pick(index: &Index) -> Result<&Descriptor, Error> {
    let fits = |descriptor: &&Descriptor| match &descriptor.platform {
        Some(platform) => platform.os == "linux" && platform.architecture == ARCHITECTURE,
        // An index of one manifest need not say what it is for.
        None => index.manifests.len() == 1,
    };
    // WebAssembly runs everywhere; where an index offers both, native code is preferred.
    let wasm = |descriptor: &&Descriptor| {
        descriptor
            .platform
            .as_ref()
            .is_some_and(|platform| platform.architecture == "wasm")
    };
    let found = index
        .manifests
        .iter()
        .find(fits)
        .or_else(|| index.manifests.iter().find(wasm));
    found.ok_or(Error::NoPlatform {
        architecture: ARCHITECTURE,
    })
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Json { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_nulls_and_sets_are_read() {
        let text = r#"{"User":"","ExposedPorts":{"8080/tcp":{},"53/udp":{}},"Env":null,
            "Cmd":["a"],"Entrypoint":null,"Labels":null,"Volumes":null,"OnBuild":null}"#;
        let config: ImageConfig = parse("config", text.as_bytes()).expect("a configuration");
        assert_eq!(config.exposed_ports, ["53/udp", "8080/tcp"]);
        assert_eq!(config.cmd, ["a"]);
        assert_eq!(
            serde_json::to_string(&config).expect("json"),
            r#"{"ExposedPorts":{"53/udp":{},"8080/tcp":{}},"Cmd":["a"]}"#
        );
    }

    #[test]
    fn an_index_yields_this_machines_manifest() {
        let check = |platforms: &[Option<(&str, &str)>], expected: Option<usize>| {
            let manifests = platforms
                .iter()
                .enumerate()
                .map(|(at, platform)| Descriptor {
                    media_type: OCI_MANIFEST.to_owned(),
                    digest: Digest::of(&[u8::try_from(at).expect("few")]),
                    size: 1,
                    platform: platform.map(|(os, architecture)| Platform {
                        architecture: architecture.to_owned(),
                        os: os.to_owned(),
                        variant: None,
                    }),
                    annotations: BTreeMap::new(),
                });
            let index = Index {
                schema_version: 2,
                media_type: String::new(),
                manifests: manifests.collect(),
            };
            let expected = expected.map(|at| index.manifests[at].digest.clone());
            assert_eq!(
                pick(&index).ok().map(|d| d.digest.clone()),
                expected,
                "{platforms:?}"
            );
        };
        check(
            &[
                Some(("windows", ARCHITECTURE)),
                Some(("linux", ARCHITECTURE)),
            ],
            Some(1),
        );
        check(&[Some(("linux", "s390x"))], None);
        check(&[None], Some(0));
        check(
            &[Some(("wasi", "wasm")), Some(("linux", ARCHITECTURE))],
            Some(1),
        );
        check(&[Some(("wasi", "wasm")), Some(("linux", "s390x"))], Some(0));
    }
}
