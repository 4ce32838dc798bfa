//! Schemas of kinds Kubernetes has dropped and old manifests still have: Ingress of
//! `extensions/v1beta1` and `networking.k8s.io/v1beta1`. The two are the same but for the name.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::TypedLocalObjectReference;
use k8s_openapi::api::networking::v1::{IngressStatus, IngressTLS};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// `extensions/v1beta1`.
pub(super) mod extensions_v1beta1 {
    pub(crate) type Ingress = super::Ingress<true>;
}

/// `networking.k8s.io/v1beta1`.
pub(super) mod networking_v1beta1 {
    pub(crate) type Ingress = super::Ingress<false>;
}

/// An Ingress whose backends are a name and a port side by side.
pub(super) struct Ingress<const IN_EXTENSIONS: bool>;

impl<const IN_EXTENSIONS: bool> JsonSchema for Ingress<IN_EXTENSIONS> {
    fn schema_name() -> Cow<'static, str> {
        let name = if IN_EXTENSIONS {
            "io.k8s.api.extensions.v1beta1.Ingress"
        } else {
            "io.k8s.api.networking.v1beta1.Ingress"
        };
        name.into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let backend = backend(generator);
        let path = json_schema!({
            "type": "object",
            "required": ["backend"],
            "properties": {
                "path": {"type": "string"},
                "pathType": {"type": "string"},
                "backend": backend,
            },
        });
        let rule = json_schema!({
            "type": "object",
            "properties": {
                "host": {"type": "string"},
                "http": {
                    "type": "object",
                    "required": ["paths"],
                    "properties": {"paths": {"type": "array", "items": path}},
                },
            },
        });
        json_schema!({
            "description": "Ingress is a collection of rules that allow inbound connections to \
                            reach the endpoints defined by a backend. Superseded by \
                            networking.k8s.io/v1.",
            "type": "object",
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": generator.subschema_for::<ObjectMeta>(),
                "spec": {
                    "type": "object",
                    "properties": {
                        "ingressClassName": {"type": "string"},
                        "backend": backend,
                        "tls": {
                            "type": "array",
                            "items": generator.subschema_for::<IngressTLS>(),
                        },
                        "rules": {"type": "array", "items": rule},
                    },
                },
                "status": generator.subschema_for::<IngressStatus>(),
            },
        })
    }
}

fn backend(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "serviceName": {"type": "string"},
            "servicePort": generator.subschema_for::<IntOrString>(),
            "resource": generator.subschema_for::<TypedLocalObjectReference>(),
        },
    })
}
