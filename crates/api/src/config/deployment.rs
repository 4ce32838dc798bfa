//! `config-deployment`: how a Revision becomes a Deployment. The rules of Knative's
//! `pkg/deployment/config.go`.

use std::collections::{BTreeMap, BTreeSet};

use super::data::{Data, Error, Reader, Selector, from_yaml, most_specific, require};
use super::defaults::Resources;
use crate::gotext::{Nanos, format_duration, quote};
use crate::quantity::Quantity;

const SECOND: Nanos = 1_000_000_000;
const TLS_KEYS: [(&str, &[&str]); 2] = [
    ("queue-sidecar-tls-min-version", &["", "1.2", "1.3"]),
    ("queue-sidecar-tls-max-version", &["", "1.2", "1.3"]),
];

/// Which affinity a Pod gets when the user says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DefaultAffinity {
    /// `prefer-spread-revision-over-nodes`.
    #[default]
    PreferSpreadRevisionOverNodes,
    /// `none`.
    None,
}

/// The settings of Deployments and of the queue-proxy container.
#[derive(Clone, PartialEq, Debug)]
pub struct Deployment {
    /// `queue-sidecar-image`.
    pub queue_sidecar_image: String,
    /// `registries-skipping-tag-resolving`.
    pub registries_skipping_tag_resolving: BTreeSet<String>,
    /// `digest-resolution-timeout`, nanoseconds.
    pub digest_resolution_timeout: Nanos,
    /// `progress-deadline`, nanoseconds, whole seconds.
    pub progress_deadline: Nanos,
    /// `queue-sidecar-cpu-request` and so on.
    pub queue_sidecar_requests: Resources,
    /// `queue-sidecar-cpu-limit` and so on.
    pub queue_sidecar_limits: Resources,
    /// `queue-sidecar-token-audiences`.
    pub queue_sidecar_token_audiences: BTreeSet<String>,
    /// `queue-sidecar-rootca`.
    pub queue_sidecar_root_ca: String,
    /// `queue-sidecar-tls-*`, by the part of the key behind it.
    pub queue_sidecar_tls: BTreeMap<String, String>,
    /// `default-affinity-type`.
    pub default_affinity: DefaultAffinity,
    /// `runtime-class-name`: which Pods get which class.
    pub runtime_classes: BTreeMap<String, Selector>,
    /// `pod-is-always-schedulable`: an unschedulable Pod does not fail its Revision.
    pub pod_is_always_schedulable: bool,
}

impl Default for Deployment {
    fn default() -> Self {
        Self {
            queue_sidecar_image: String::new(),
            registries_skipping_tag_resolving: ["kind.local", "ko.local", "dev.local"]
                .map(str::to_owned)
                .into(),
            digest_resolution_timeout: 10 * SECOND,
            progress_deadline: 600 * SECOND,
            queue_sidecar_requests: Resources {
                cpu: Some(Quantity::decimal(25_000_000)),
                ..Resources::default()
            },
            queue_sidecar_limits: Resources::default(),
            queue_sidecar_token_audiences: BTreeSet::from([String::new()]),
            queue_sidecar_root_ca: String::new(),
            queue_sidecar_tls: BTreeMap::new(),
            default_affinity: DefaultAffinity::default(),
            runtime_classes: BTreeMap::new(),
            pod_is_always_schedulable: false,
        }
    }
}

impl Deployment {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-deployment";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// A value that cannot be parsed or is out of bounds, in Knative's words.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut config = Self::default();
        let reader = Reader(data);
        config.read_legacy(&reader)?;
        config.read(&reader)?;
        config.check()?;
        config.read_choices(data)?;
        Ok(config)
    }

    /// The runtime class of a Pod with `labels`, if one is configured for it.
    pub fn runtime_class(&self, labels: &BTreeMap<String, String>) -> Option<&str> {
        most_specific(&self.runtime_classes, labels)
    }

    fn read_legacy(&mut self, reader: &Reader<'_>) -> Result<(), Error> {
        reader.string("queueSidecarImage", &mut self.queue_sidecar_image);
        reader.duration("progressDeadline", &mut self.progress_deadline)?;
        reader.duration(
            "digestResolutionTimeout",
            &mut self.digest_resolution_timeout,
        )?;
        reader.strings(
            "registriesSkippingTagResolving",
            &mut self.registries_skipping_tag_resolving,
        );
        for (resources, kind) in [
            (&mut self.queue_sidecar_requests, "Request"),
            (&mut self.queue_sidecar_limits, "Limit"),
        ] {
            let key = |name: &str| format!("queueSidecar{name}{kind}");
            reader.quantity(&key("CPU"), &mut resources.cpu)?;
            reader.quantity(&key("Memory"), &mut resources.memory)?;
            reader.quantity(&key("EphemeralStorage"), &mut resources.ephemeral_storage)?;
        }
        Ok(())
    }

    fn read(&mut self, reader: &Reader<'_>) -> Result<(), Error> {
        reader.string("queue-sidecar-image", &mut self.queue_sidecar_image);
        reader.duration("progress-deadline", &mut self.progress_deadline)?;
        reader.duration(
            "digest-resolution-timeout",
            &mut self.digest_resolution_timeout,
        )?;
        reader.strings(
            "registries-skipping-tag-resolving",
            &mut self.registries_skipping_tag_resolving,
        );
        for (resources, kind) in [
            (&mut self.queue_sidecar_requests, "request"),
            (&mut self.queue_sidecar_limits, "limit"),
        ] {
            let key = |name: &str| format!("queue-sidecar-{name}-{kind}");
            reader.quantity(&key("cpu"), &mut resources.cpu)?;
            reader.quantity(&key("memory"), &mut resources.memory)?;
            reader.quantity(&key("ephemeral-storage"), &mut resources.ephemeral_storage)?;
        }
        reader.strings(
            "queue-sidecar-token-audiences",
            &mut self.queue_sidecar_token_audiences,
        );
        reader.string("queue-sidecar-rootca", &mut self.queue_sidecar_root_ca);
        reader.bool(
            "pod-is-always-schedulable",
            &mut self.pod_is_always_schedulable,
        )
    }

    fn check(&self) -> Result<(), Error> {
        require(!self.queue_sidecar_image.is_empty(), || {
            "queue-sidecar-image cannot be empty or unset".to_owned()
        })?;
        let deadline = self.progress_deadline;
        require(deadline > 0, || {
            let deadline = format_duration(deadline);
            format!("progress-deadline cannot be a non-positive duration, was {deadline}")
        })?;
        require(deadline % SECOND == 0, || {
            let deadline = format_duration(deadline);
            format!("progress-deadline must be rounded to a whole second, was: {deadline}")
        })?;
        let timeout = self.digest_resolution_timeout;
        require(timeout > 0, || {
            let timeout = format_duration(timeout);
            format!("digest-resolution-timeout cannot be a non-positive duration, was {timeout}")
        })
    }

    fn read_choices(&mut self, data: &Data) -> Result<(), Error> {
        if let Some(value) = data.get("default-affinity-type") {
            self.default_affinity = match value.as_str() {
                "none" => DefaultAffinity::None,
                "prefer-spread-revision-over-nodes" => {
                    DefaultAffinity::PreferSpreadRevisionOverNodes
                }
                other => {
                    let other = quote(other);
                    let text = format!("unsupported default-affinity-type value: {other}");
                    return Err(Error(text));
                }
            };
        }
        if let Some(yaml) = data
            .get("runtime-class-name")
            .filter(|y| !y.trim().is_empty())
        {
            let classes: BTreeMap<String, Option<Selector>> = from_yaml(yaml).map_err(|error| {
                let hint = "cannot be parsed, please check the format";
                Error(format!("runtime-class-name {hint}: {error}"))
            })?;
            self.runtime_classes = classes
                .into_iter()
                .map(|(class, selector)| (class, selector.unwrap_or_default()))
                .collect();
        }
        for (key, allowed) in TLS_KEYS {
            let value = data.get(key).map_or("", String::as_str);
            require(allowed.contains(&value), || {
                format!("unsupported {key} value: {}", quote(value))
            })?;
        }
        self.queue_sidecar_tls = data
            .iter()
            .filter_map(|(key, value)| {
                let part = key.strip_prefix("queue-sidecar-tls-")?;
                Some((part.to_owned(), value.clone()))
            })
            .collect();
        Ok(())
    }
}
