//! `config-network`: names, classes and TLS of what is routed. The rules of
//! knative.dev/networking/pkg/config.

use serde_json::{Value, json};

use super::data::{Data, Error, Reader, from_yaml, require};
use crate::gotext::{Template, quote};

/// How plain HTTP is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HttpProtocol {
    /// Served.
    #[default]
    Enabled,
    /// Not served.
    Disabled,
    /// Redirected to https.
    Redirected,
}

/// Whether Pods are dialled by their own address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MeshCompatibility {
    /// By the Service's address.
    Enabled,
    /// By the Pod's.
    Disabled,
    /// By the Pod's, until a mesh is found in the way.
    #[default]
    Auto,
}

/// The settings of routing.
#[derive(Clone, PartialEq, Debug)]
pub struct Network {
    /// `ingress-class`.
    pub ingress_class: String,
    /// `certificate-class`.
    pub certificate_class: String,
    /// `domain-template`.
    pub domain_template: Template,
    /// `tag-template`.
    pub tag_template: Template,
    /// `external-domain-tls`.
    pub external_domain_tls: bool,
    /// `cluster-local-domain-tls`.
    pub cluster_local_domain_tls: bool,
    /// `system-internal-tls`.
    pub system_internal_tls: bool,
    /// `http-protocol`.
    pub http_protocol: HttpProtocol,
    /// `namespace-wildcard-cert-selector`: a Kubernetes label selector; null selects nothing.
    pub namespace_wildcard_cert_selector: Value,
    /// `rollout-duration` in seconds.
    pub rollout_duration_s: i64,
    /// `autocreate-cluster-domain-claims`.
    pub autocreate_cluster_domain_claims: bool,
    /// `enable-mesh-pod-addressability`.
    pub enable_mesh_pod_addressability: bool,
    /// `mesh-compatibility-mode`.
    pub mesh_compatibility: MeshCompatibility,
    /// `default-external-scheme`.
    pub default_external_scheme: String,
}

impl Default for Network {
    fn default() -> Self {
        let template = |name, text| {
            Template::parse(name, text).expect("the built-in templates are valid; tested")
        };
        Self {
            ingress_class: "istio.ingress.networking.knative.dev".to_owned(),
            certificate_class: "cert-manager.certificate.networking.knative.dev".to_owned(),
            domain_template: template("domain-template", "{{.Name}}.{{.Namespace}}.{{.Domain}}"),
            tag_template: template("tag-template", "{{.Tag}}-{{.Name}}"),
            external_domain_tls: false,
            cluster_local_domain_tls: false,
            system_internal_tls: false,
            http_protocol: HttpProtocol::default(),
            namespace_wildcard_cert_selector: Value::Null,
            rollout_duration_s: 0,
            autocreate_cluster_domain_claims: false,
            enable_mesh_pod_addressability: false,
            mesh_compatibility: MeshCompatibility::default(),
            default_external_scheme: "http".to_owned(),
        }
    }
}

impl Network {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-network";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// A value that cannot be parsed or is out of bounds, in Knative's words.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut config = Self::default();
        config.read(&Reader(data))?;
        let duration = config.rollout_duration_s;
        require(duration >= 0, || {
            format!("rollout-duration must be a positive integer, but was {duration}")
        })?;
        config.read_templates(data)?;
        config.read_tls(data)?;
        Ok(config)
    }

    /// The host of Route `name` in `namespace` under `domain`, by the domain template.
    ///
    /// # Errors
    /// The template does not fit the Route.
    pub fn host(
        &self,
        (namespace, name): (&str, &str),
        domain: &str,
        metadata: &Value,
    ) -> Result<String, String> {
        self.domain_template
            .execute(&template_values(name, namespace, domain, metadata))
    }

    /// The name that stands for tag `tag` of Route `name`, by the tag template.
    ///
    /// # Errors
    /// The template does not fit the Route.
    pub fn tag_host(&self, name: &str, tag: &str) -> Result<String, String> {
        self.tag_template
            .execute(&json!({"Name": name, "Tag": tag}))
    }

    fn read(&mut self, reader: &Reader<'_>) -> Result<(), Error> {
        for (legacy, key, target) in [
            ("ingress.class", "ingress-class", &mut self.ingress_class),
            (
                "certificate.class",
                "certificate-class",
                &mut self.certificate_class,
            ),
            (
                "defaultExternalScheme",
                "default-external-scheme",
                &mut self.default_external_scheme,
            ),
        ] {
            reader.string(legacy, target);
            reader.string(key, target);
        }
        reader.int("rolloutDuration", &mut self.rollout_duration_s)?;
        reader.int("rollout-duration", &mut self.rollout_duration_s)?;
        let claims = &mut self.autocreate_cluster_domain_claims;
        reader.bool("autocreateClusterDomainClaims", claims)?;
        reader.bool("autocreate-cluster-domain-claims", claims)?;
        reader.bool(
            "enable-mesh-pod-addressability",
            &mut self.enable_mesh_pod_addressability,
        )?;
        if let Some(mode) = reader.0.get("mesh-compatibility-mode") {
            self.mesh_compatibility = match mode.to_ascii_lowercase().as_str() {
                "enabled" => MeshCompatibility::Enabled,
                "disabled" => MeshCompatibility::Disabled,
                _ => MeshCompatibility::Auto,
            };
        }
        let selector = reader.0.get("namespace-wildcard-cert-selector");
        if let Some(yaml) = selector.filter(|yaml| !yaml.is_empty()) {
            self.namespace_wildcard_cert_selector = from_yaml(yaml).map_err(Error)?;
        }
        Ok(())
    }

    fn read_templates(&mut self, data: &Data) -> Result<(), Error> {
        if let Some(text) = current_or_legacy(data, "domain-template", "domainTemplate") {
            self.domain_template = Template::parse("domain-template", text).map_err(Error)?;
        }
        let values = template_values("foo", "bar", "baz.com", &Value::Null);
        let host = self.domain_template.execute(&values).map_err(Error)?;
        let (host, path) = host.split_at(host.find(['/', '?', '#']).unwrap_or(host.len()));
        require(!host.is_empty(), || "empty hostname".to_owned())?;
        require(path.is_empty() || path == "/", || {
            format!("domain template has url path: {path}")
        })?;
        if let Some(text) = current_or_legacy(data, "tag-template", "tagTemplate") {
            self.tag_template = Template::parse("tag-template", text).map_err(Error)?;
        }
        self.tag_host("foo", "v2").map(drop).map_err(Error)
    }

    fn read_tls(&mut self, data: &Data) -> Result<(), Error> {
        let auto_tls = current_or_legacy(data, "auto-tls", "autoTLS");
        let external = data
            .get("external-domain-tls")
            .map(String::as_str)
            .or(auto_tls);
        self.external_domain_tls = external.is_some_and(|v| v.eq_ignore_ascii_case("enabled"));
        let protocol = current_or_legacy(data, "http-protocol", "httpProtocol").unwrap_or("");
        self.http_protocol = match protocol.to_ascii_lowercase().as_str() {
            "" | "enabled" => HttpProtocol::Enabled,
            "disabled" => HttpProtocol::Disabled,
            "redirected" => HttpProtocol::Redirected,
            _ => {
                let text =
                    format!("httpProtocol {protocol} in config-network ConfigMap is not supported");
                return Err(Error(text));
            }
        };
        let mut encrypted_before = false;
        Reader(data).bool("internal-encryption", &mut encrypted_before)?;
        self.system_internal_tls = encryption(data, "system-internal-tls")? || encrypted_before;
        self.cluster_local_domain_tls = encryption(data, "cluster-local-domain-tls")?;
        Ok(())
    }
}

fn current_or_legacy<'a>(data: &'a Data, current: &str, legacy: &str) -> Option<&'a str> {
    data.get(current)
        .or_else(|| data.get(legacy))
        .map(String::as_str)
}

fn encryption(data: &Data, key: &str) -> Result<bool, Error> {
    let value = data.get(key).map_or("", String::as_str);
    match value.to_ascii_lowercase().as_str() {
        "" | "disabled" => Ok(false),
        "enabled" => Ok(true),
        _ => {
            let value = quote(value);
            let text =
                format!("{key} with value: {value} in config-network ConfigMap is not supported");
            Err(Error(text))
        }
    }
}

fn template_values(name: &str, namespace: &str, domain: &str, metadata: &Value) -> Value {
    json!({
        "Name": name,
        "Namespace": namespace,
        "Domain": domain,
        "Annotations": metadata["annotations"],
        "Labels": metadata["labels"],
    })
}
