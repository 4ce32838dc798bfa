//! `config-defaults`: what admission fills in. The rules of Knative's `pkg/apis/config/defaults.go`.

use serde_json::{Value, json};

use super::data::{Data, Error, Reader, require};
use crate::gotext::Template;
use crate::quantity::Quantity;

/// The defaults of Services, Configurations and Revisions.
#[derive(Clone, PartialEq, Debug)]
pub struct Defaults {
    /// `revision-timeout-seconds`.
    pub timeout_s: i64,
    /// `max-revision-timeout-seconds`.
    pub timeout_max_s: i64,
    /// `revision-response-start-timeout-seconds`.
    pub response_start_timeout_s: i64,
    /// `revision-idle-timeout-seconds`.
    pub idle_timeout_s: i64,
    /// `container-name-template`.
    pub container_name: Template,
    /// `init-container-name-template`.
    pub init_container_name: Template,
    /// `container-concurrency`.
    pub container_concurrency: i64,
    /// `container-concurrency-max-limit`.
    pub container_concurrency_max: i64,
    /// `allow-container-concurrency-zero`.
    pub allow_container_concurrency_zero: bool,
    /// `enable-service-links`; `None` leaves the field to Kubernetes.
    pub enable_service_links: Option<bool>,
    /// `revision-cpu-request` and so on.
    pub requests: Resources,
    /// `revision-cpu-limit` and so on.
    pub limits: Resources,
}

/// Amounts of the resources that have defaults.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Resources {
    /// `cpu`.
    pub cpu: Option<Quantity>,
    /// `memory`.
    pub memory: Option<Quantity>,
    /// `ephemeral-storage`.
    pub ephemeral_storage: Option<Quantity>,
}

impl Resources {
    /// The amounts that are set, by the name of the resource.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Quantity)> {
        [
            ("cpu", &self.cpu),
            ("memory", &self.memory),
            ("ephemeral-storage", &self.ephemeral_storage),
        ]
        .into_iter()
        .filter_map(|(name, amount)| Some((name, amount.as_ref()?)))
    }
}

impl Default for Defaults {
    fn default() -> Self {
        let constant = |text| {
            Template::parse("container-template", text).expect("plain text is a valid template")
        };
        Self {
            timeout_s: 300,
            timeout_max_s: 600,
            response_start_timeout_s: 300,
            idle_timeout_s: 0,
            container_name: constant("user-container"),
            init_container_name: constant("init-container"),
            container_concurrency: 0,
            container_concurrency_max: 1000,
            allow_container_concurrency_zero: true,
            enable_service_links: Some(false),
            requests: Resources::default(),
            limits: Resources::default(),
        }
    }
}

impl Defaults {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-defaults";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// A value that cannot be parsed or is out of bounds, in Knative's words.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut config = Self::default();
        config.read(&Reader(data))?;
        config.check_timeouts()?;
        config.check_concurrency()?;
        for template in [&config.container_name, &config.init_container_name] {
            template
                .execute(&object_meta(&Value::Null))
                .map_err(|error| Error(format!("error executing template: {error}")))?;
        }
        Ok(config)
    }

    fn read(&mut self, reader: &Reader<'_>) -> Result<(), Error> {
        let template = |key: &str, target: &mut Template| match reader.0.get(key) {
            Some(raw) => {
                *target = Template::parse("container-template", raw).map_err(Error)?;
                Ok(())
            }
            None => Ok(()),
        };
        template(
            "init-container-name-template",
            &mut self.init_container_name,
        )?;
        template("container-name-template", &mut self.container_name)?;
        reader.bool(
            "allow-container-concurrency-zero",
            &mut self.allow_container_concurrency_zero,
        )?;
        if let Some(raw) = reader.0.get("enable-service-links") {
            self.enable_service_links = match raw.to_ascii_lowercase().as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            };
        }
        reader.int("revision-timeout-seconds", &mut self.timeout_s)?;
        reader.int("max-revision-timeout-seconds", &mut self.timeout_max_s)?;
        reader.int("revision-idle-timeout-seconds", &mut self.idle_timeout_s)?;
        reader.int("container-concurrency", &mut self.container_concurrency)?;
        reader.int(
            "container-concurrency-max-limit",
            &mut self.container_concurrency_max,
        )?;
        for (resources, kind) in [(&mut self.requests, "request"), (&mut self.limits, "limit")] {
            reader.quantity(&format!("revision-cpu-{kind}"), &mut resources.cpu)?;
            reader.quantity(&format!("revision-memory-{kind}"), &mut resources.memory)?;
            reader.quantity(
                &format!("revision-ephemeral-storage-{kind}"),
                &mut resources.ephemeral_storage,
            )?;
        }
        self.response_start_timeout_s = self.timeout_s;
        reader.int(
            "revision-response-start-timeout-seconds",
            &mut self.response_start_timeout_s,
        )
    }

    fn check_timeouts(&self) -> Result<(), Error> {
        let (timeout, most) = (self.timeout_s, self.timeout_max_s);
        require(timeout <= most, || {
            format!(
                "revision-timeout-seconds ({timeout}) cannot be greater than \
                 max-revision-timeout-seconds ({most})"
            )
        })?;
        for (key, value) in [
            (
                "revision-response-start-timeout-seconds",
                self.response_start_timeout_s,
            ),
            ("revision-idle-timeout-seconds", self.idle_timeout_s),
        ] {
            require(value <= 0 || value <= timeout, || {
                format!(
                    "{key} ({value}) cannot be greater than revision-timeout-seconds ({timeout})"
                )
            })?;
        }
        Ok(())
    }

    fn check_concurrency(&self) -> Result<(), Error> {
        let most = self.container_concurrency_max;
        require(most >= 1, || {
            format!("expected 1 <= {most} <= 2147483647: container-concurrency-max-limit")
        })?;
        let value = self.container_concurrency;
        require((0..=most).contains(&value), || {
            format!("expected 0 <= {value} <= {most}: container-concurrency")
        })
    }
}

/// The fields of `metadata` as the container-name templates see them.
pub fn object_meta(metadata: &Value) -> Value {
    let text = |key: &str| metadata[key].as_str().unwrap_or_default();
    json!({
        "Name": text("name"),
        "GenerateName": text("generateName"),
        "Namespace": text("namespace"),
        "UID": text("uid"),
        "ResourceVersion": text("resourceVersion"),
        "Generation": metadata["generation"].as_i64().unwrap_or(0),
        "Labels": metadata["labels"],
        "Annotations": metadata["annotations"],
    })
}
