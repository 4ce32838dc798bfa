//! A container's environment: Service links, `envFrom`, `env` with its references, and the
//! expansion of `$(NAME)`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

use super::fields::{self, Facts};
use crate::cluster::Cluster;
use crate::net::{Service, Services};

/// Names and values in the order they were first set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Env {
    order: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Env {
    pub(crate) fn set(&mut self, name: &str, value: String) {
        if self.values.insert(name.to_owned(), value).is_none() {
            self.order.push(name.to_owned());
        }
    }

    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let value = |name: &String| self.values.get(name).cloned().unwrap_or_default();
        self.order
            .iter()
            .map(|name| (name.clone(), value(name)))
            .collect()
    }

    /// Replaces `$(NAME)` for known names; `$$` stands for a dollar sign.
    pub(crate) fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
                continue;
            }
            let named = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            match named.and_then(|(name, after)| Some((self.values.get(name)?, after))) {
                Some((value, after)) => {
                    out.push_str(value);
                    rest = after;
                }
                None => out.push('$'),
            }
        }
        out.push_str(rest);
        out
    }
}

/// Everything an environment is made from.
pub(crate) struct Sources<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) facts: &'a Facts,
    pub(crate) cluster: &'a dyn Cluster,
    pub(crate) services: &'a Services,
}

impl Sources<'_> {
    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or("default")
    }

    /// The environment of `container` on top of the image's. The error is the message of
    /// `CreateContainerConfigError`.
    pub(crate) async fn env(&self, container: &Container, image: &[String]) -> Result<Env, String> {
        let mut env = Env::default();
        for pair in image {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            env.set(name, value.to_owned());
        }
        self.service_links(&mut env);
        for from in container.env_from.iter().flatten() {
            let prefix = from.prefix.as_deref().unwrap_or_default();
            if let Some(wanted) = &from.config_map_ref {
                let data = self.config_map(&wanted.name, wanted.optional).await?;
                for (key, value) in data.unwrap_or_default() {
                    env.set(&format!("{prefix}{key}"), value);
                }
            }
            if let Some(wanted) = &from.secret_ref {
                let data = self.secret(&wanted.name, wanted.optional).await?;
                for (key, value) in data.unwrap_or_default() {
                    env.set(&format!("{prefix}{key}"), value);
                }
            }
        }
        for var in container.env.iter().flatten() {
            if let Some(value) = self.value(var, container, &env).await? {
                env.set(&var.name, value);
            }
        }
        Ok(env)
    }

    async fn value(
        &self,
        var: &EnvVar,
        container: &Container,
        env: &Env,
    ) -> Result<Option<String>, String> {
        let Some(from) = &var.value_from else {
            return Ok(Some(env.expand(var.value.as_deref().unwrap_or_default())));
        };
        if let Some(wanted) = &from.field_ref {
            return fields::field(self.pod, self.facts, &wanted.field_path).map(Some);
        }
        if let Some(wanted) = &from.resource_field_ref {
            return fields::resource(self.pod, Some(container), self.facts, wanted).map(Some);
        }
        let (kind, key, data, optional) = if let Some(wanted) = &from.config_map_key_ref {
            let data = self.config_map(&wanted.name, wanted.optional).await?;
            (
                format!("ConfigMap {}/{}", self.namespace(), wanted.name),
                &wanted.key,
                data,
                wanted.optional,
            )
        } else if let Some(wanted) = &from.secret_key_ref {
            let data = self.secret(&wanted.name, wanted.optional).await?;
            (
                format!("Secret {}/{}", self.namespace(), wanted.name),
                &wanted.key,
                data,
                wanted.optional,
            )
        } else {
            return Err(format!(
                "environment variable {:?} has an unknown source",
                var.name
            ));
        };
        match data.and_then(|mut data| data.remove(key)) {
            Some(value) => Ok(Some(value)),
            None if optional == Some(true) => Ok(None),
            None => Err(format!("couldn't find key {key} in {kind}")),
        }
    }

    async fn config_map(
        &self,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<BTreeMap<String, String>>, String> {
        let found = self.cluster.config_map(self.namespace(), name).await?;
        match found {
            Some(map) => Ok(Some(map.data.unwrap_or_default())),
            None if optional == Some(true) => Ok(None),
            None => Err(format!("configmap \"{name}\" not found")),
        }
    }

    async fn secret(
        &self,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<BTreeMap<String, String>>, String> {
        let found = self.cluster.secret(self.namespace(), name).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match found {
            Some(secret) => {
                let data = secret.data.unwrap_or_default();
                Ok(Some(
                    data.into_iter()
                        .map(|(key, value)| (key, text(&value.0)))
                        .collect(),
                ))
            }
            None if optional == Some(true) => Ok(None),
            None => Err(format!("secret \"{name}\" not found")),
        }
    }

    /// The API server's Service always, those of the Pod's namespace unless it declines.
    fn service_links(&self, env: &mut Env) {
        let table = self.services.read();
        if let Some(service) = table.get("default", "kubernetes") {
            link(env, service);
        }
        let spec = self.pod.spec.as_ref();
        if spec.and_then(|spec| spec.enable_service_links) == Some(false) {
            return;
        }
        for service in table.in_namespace(self.namespace()) {
            link(env, service);
        }
    }
}

/// The variables of one Service, in the names container links once gave them.
fn link(env: &mut Env, service: &Service) {
    let (Some(ip), Some(first)) = (service.cluster_ip, service.ports.first()) else {
        return;
    };
    let upper = |text: &str| text.to_ascii_uppercase().replace('-', "_");
    let name = upper(&service.name);
    env.set(&format!("{name}_SERVICE_HOST"), ip.to_string());
    env.set(&format!("{name}_SERVICE_PORT"), first.port.to_string());
    for port in service.ports.iter().filter(|port| !port.name.is_empty()) {
        env.set(
            &format!("{name}_SERVICE_PORT_{}", upper(&port.name)),
            port.port.to_string(),
        );
    }
    let url = |protocol: &str, port: u16| format!("{protocol}://{ip}:{port}");
    env.set(
        &format!("{name}_PORT"),
        url(first.protocol.as_str(), first.port),
    );
    for port in &service.ports {
        let protocol = port.protocol.as_str();
        let prefix = format!("{name}_PORT_{}_{}", port.port, upper(protocol));
        env.set(&prefix, url(protocol, port.port));
        env.set(&format!("{prefix}_PROTO"), protocol.to_owned());
        env.set(&format!("{prefix}_PORT"), port.port.to_string());
        env.set(&format!("{prefix}_ADDR"), ip.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_expand_once() {
        let mut env = Env::default();
        env.set("A", "1".into());
        env.set("B", "$(A)".into());
        let cases = [
            ("x$(A)y", "x1y"),
            ("$(B)", "$(A)"),
            ("$(C)", "$(C)"),
            ("$$(A)", "$(A)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
        ];
        for (text, want) in cases {
            assert_eq!(env.expand(text), want, "{text}");
        }
    }
}
