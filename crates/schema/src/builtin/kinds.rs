//! The table of built-in kinds: which k8s-openapi type stands for which group, version and kind.

use std::borrow::Cow;

use k8s_openapi::api::admissionregistration::v1 as admissionregistration_v1;
use k8s_openapi::api::apps::v1 as apps_v1;
use k8s_openapi::api::authentication::v1 as authentication_v1;
use k8s_openapi::api::authorization::v1 as authorization_v1;
use k8s_openapi::api::autoscaling::v1 as autoscaling_v1;
use k8s_openapi::api::autoscaling::v2 as autoscaling_v2;
use k8s_openapi::api::batch::v1 as batch_v1;
use k8s_openapi::api::certificates::v1 as certificates_v1;
use k8s_openapi::api::coordination::v1 as coordination_v1;
use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::api::discovery::v1 as discovery_v1;
use k8s_openapi::api::events::v1 as events_v1;
use k8s_openapi::api::networking::v1 as networking_v1;
use k8s_openapi::api::node::v1 as node_v1;
use k8s_openapi::api::policy::v1 as policy_v1;
use k8s_openapi::api::rbac::v1 as rbac_v1;
use k8s_openapi::api::scheduling::v1 as scheduling_v1;
use k8s_openapi::api::storage::v1 as storage_v1;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions_v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta_v1;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration_v1;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::legacy::{extensions_v1beta1, networking_v1beta1};

/// One built-in kind.
pub(super) struct Row {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    pub(super) definition: Definition,
}

/// One definition of k8s-openapi.
#[derive(Clone, Copy)]
pub(super) struct Definition {
    /// `io.k8s.api.core.v1.Pod`.
    pub(super) name: fn() -> Cow<'static, str>,
    /// Adds the definition, and all it refers to, to the generator.
    pub(super) generate: fn(&mut SchemaGenerator) -> Schema,
}

impl Definition {
    const fn of<T: JsonSchema>() -> Self {
        Self {
            name: T::schema_name,
            generate: SchemaGenerator::subschema_for::<T>,
        }
    }
}

macro_rules! rows {
    ($($group:literal $version:literal $module:ident { $($kind:ident)* })*) => {
        &[$($(Row {
            group: $group,
            version: $version,
            kind: stringify!($kind),
            definition: Definition::of::<$module::$kind>(),
        },)*)*]
    };
}

pub(super) static KINDS: &[Row] = rows! {
    "" "v1" core_v1 {
        Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node
        PersistentVolume PersistentVolumeClaim Pod PodTemplate ReplicationController
        ResourceQuota Secret Service ServiceAccount
    }
    "" "v1" meta_v1 { DeleteOptions Status }
    "admissionregistration.k8s.io" "v1" admissionregistration_v1 {
        MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding
        ValidatingWebhookConfiguration
    }
    "apiextensions.k8s.io" "v1" apiextensions_v1 { CustomResourceDefinition }
    "apiregistration.k8s.io" "v1" apiregistration_v1 { APIService }
    "apps" "v1" apps_v1 {
        ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet
    }
    "authentication.k8s.io" "v1" authentication_v1 {
        SelfSubjectReview TokenRequest TokenReview
    }
    "authorization.k8s.io" "v1" authorization_v1 {
        LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview
        SubjectAccessReview
    }
    "autoscaling" "v1" autoscaling_v1 { HorizontalPodAutoscaler Scale }
    "autoscaling" "v2" autoscaling_v2 { HorizontalPodAutoscaler }
    "batch" "v1" batch_v1 { CronJob Job }
    "certificates.k8s.io" "v1" certificates_v1 { CertificateSigningRequest }
    "coordination.k8s.io" "v1" coordination_v1 { Lease }
    "discovery.k8s.io" "v1" discovery_v1 { EndpointSlice }
    "events.k8s.io" "v1" events_v1 { Event }
    "extensions" "v1beta1" extensions_v1beta1 { Ingress }
    "networking.k8s.io" "v1" networking_v1 {
        IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR
    }
    "networking.k8s.io" "v1beta1" networking_v1beta1 { Ingress }
    "node.k8s.io" "v1" node_v1 { RuntimeClass }
    "policy" "v1" policy_v1 { Eviction PodDisruptionBudget }
    "rbac.authorization.k8s.io" "v1" rbac_v1 {
        ClusterRole ClusterRoleBinding Role RoleBinding
    }
    "scheduling.k8s.io" "v1" scheduling_v1 { PriorityClass }
    "storage.k8s.io" "v1" storage_v1 {
        CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass
    }
};

/// The metadata of every object, for schemas that embed it.
pub(super) const OBJECT_META: Definition = Definition::of::<meta_v1::ObjectMeta>();

/// The metadata of every list.
pub(super) const LIST_META: Definition = Definition::of::<meta_v1::ListMeta>();

/// The schemas inside CustomResourceDefinitions.
pub(super) const JSON_SCHEMA_PROPS: Definition =
    Definition::of::<apiextensions_v1::JSONSchemaProps>();
