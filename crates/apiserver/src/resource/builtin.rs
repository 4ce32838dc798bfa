//! The rows of Kubernetes' own resources.

use super::{Resource, VERBS};
use crate::field;
use crate::store::Store;

/// What can only be created: reviews and bindings, which are answered and not stored.
const CREATE: &[&str] = &["create"];
/// What can only be read.
const READ: &[&str] = &["get", "list"];

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) namespaced: bool,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) in_all: bool,
    pub(crate) subresources: &'static [&'static str],
    pub(crate) verbs: &'static [&'static str],
    pub(crate) has_generation: bool,
    pub(crate) storage_version: &'static str,
    /// The group whose resource objects are kept under: another one where two groups have the
    /// same objects (Events, Ingresses).
    pub(crate) storage_group: &'static str,
    /// What Kubernetes warned users of this version with, before it dropped it.
    pub(crate) deprecation: Option<&'static str>,
    /// Field selectors beyond name and namespace.
    pub(crate) fields: &'static [&'static str],
    /// What is wrong with a name.
    pub(crate) name_errors: fn(&str) -> Vec<String>,
}

impl Row {
    const fn new(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
            namespaced: true,
            short_names: &[],
            in_all: false,
            subresources: &[],
            verbs: VERBS,
            has_generation: false,
            storage_version: version,
            storage_group: group,
            deprecation: None,
            fields: &[],
            name_errors: field::dns_subdomain,
        }
    }

    const fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short_names = names;
        self
    }

    const fn all(mut self) -> Self {
        self.in_all = true;
        self
    }

    const fn sub(mut self, subresources: &'static [&'static str]) -> Self {
        self.subresources = subresources;
        self
    }

    const fn only(mut self, verbs: &'static [&'static str]) -> Self {
        self.verbs = verbs;
        self
    }

    const fn generation(mut self) -> Self {
        self.has_generation = true;
        self
    }

    const fn stored_as(mut self, version: &'static str) -> Self {
        self.storage_version = version;
        self
    }

    const fn stored_under(mut self, group: &'static str) -> Self {
        self.storage_group = group;
        self
    }

    const fn deprecated(mut self, warning: &'static str) -> Self {
        self.deprecation = Some(warning);
        self
    }

    const fn fields(mut self, fields: &'static [&'static str]) -> Self {
        self.fields = fields;
        self
    }

    const fn named(mut self, errors: fn(&str) -> Vec<String>) -> Self {
        self.name_errors = errors;
        self
    }

    pub(super) fn resource(&'static self, store: &Store) -> Resource {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Resource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            kind: self.kind.to_owned(),
            list_kind: format!("{}List", self.kind),
            plural: self.plural.to_owned(),
            singular: self.kind.to_lowercase(),
            short_names: owned(self.short_names),
            categories: if self.in_all {
                owned(&["all"])
            } else {
                Vec::new()
            },
            namespaced: self.namespaced,
            verbs: self.verbs,
            subresources: owned(self.subresources),
            storage_version: self.storage_version.to_owned(),
            has_generation: self.has_generation,
            id: store.resource(&format!("{}/{}", self.storage_group, self.plural)),
            row: Some(self),
            custom: None,
            schema: std::sync::OnceLock::new(),
        }
    }
}

const APPS: &str = "apps";
const RBAC: &str = "rbac.authorization.k8s.io";
const AUTHZ: &str = "authorization.k8s.io";
const AUTHN: &str = "authentication.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

const POD_FIELDS: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];
const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "regarding.kind",
    "regarding.name",
    "regarding.namespace",
    "regarding.uid",
    "reason",
    "reportingComponent",
    "reportingController",
    "source.component",
    "type",
];

const STATUS: &[&str] = &["status"];
const SCALE: &[&str] = &["scale", "status"];

/// Kubernetes' resources, ordered as discovery lists them.
pub(super) static ROWS: &[Row] = &[
    Row::new("", "v1", "Binding", "bindings").only(CREATE),
    Row::new("", "v1", "ConfigMap", "configmaps").short(&["cm"]),
    Row::new("", "v1", "Endpoints", "endpoints").short(&["ep"]),
    Row::new("", "v1", "Event", "events")
        .short(&["ev"])
        .fields(EVENT_FIELDS),
    Row::new("", "v1", "LimitRange", "limitranges").short(&["limits"]),
    Row::new("", "v1", "Namespace", "namespaces")
        .cluster()
        .short(&["ns"])
        .sub(&["finalize", "status"])
        .fields(&["status.phase"])
        .named(field::dns_label),
    Row::new("", "v1", "Node", "nodes")
        .cluster()
        .short(&["no"])
        .sub(&["proxy", "status"])
        .fields(&["spec.unschedulable"]),
    Row::new("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
        .short(&["pvc"])
        .sub(STATUS),
    Row::new("", "v1", "PersistentVolume", "persistentvolumes")
        .cluster()
        .short(&["pv"])
        .sub(STATUS),
    Row::new("", "v1", "Pod", "pods")
        .short(&["po"])
        .all()
        .sub(&[
            "attach",
            "binding",
            "ephemeralcontainers",
            "eviction",
            "exec",
            "log",
            "portforward",
            "proxy",
            "status",
        ])
        .fields(POD_FIELDS),
    Row::new("", "v1", "PodTemplate", "podtemplates").generation(),
    Row::new("", "v1", "ReplicationController", "replicationcontrollers")
        .short(&["rc"])
        .all()
        .sub(SCALE)
        .generation()
        .fields(&["status.replicas"]),
    Row::new("", "v1", "ResourceQuota", "resourcequotas")
        .short(&["quota"])
        .sub(STATUS),
    Row::new("", "v1", "Secret", "secrets").fields(&["type"]),
    Row::new("", "v1", "ServiceAccount", "serviceaccounts")
        .short(&["sa"])
        .sub(&["token"]),
    Row::new("", "v1", "Service", "services")
        .short(&["svc"])
        .all()
        .sub(&["proxy", "status"])
        .fields(&["spec.clusterIP", "spec.type"])
        .named(field::dns1035_label),
    Row::new(
        ADMISSION,
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    )
    .cluster()
    .generation(),
    Row::new(
        ADMISSION,
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    )
    .cluster()
    .generation(),
    Row::new(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
    )
    .cluster()
    .short(&["crd", "crds"])
    .sub(STATUS)
    .generation(),
    Row::new(APPS, "v1", "ControllerRevision", "controllerrevisions"),
    Row::new(APPS, "v1", "DaemonSet", "daemonsets")
        .short(&["ds"])
        .all()
        .sub(STATUS)
        .generation(),
    Row::new(APPS, "v1", "Deployment", "deployments")
        .short(&["deploy"])
        .all()
        .sub(SCALE)
        .generation(),
    Row::new(APPS, "v1", "ReplicaSet", "replicasets")
        .short(&["rs"])
        .all()
        .sub(SCALE)
        .generation()
        .fields(&["status.replicas"]),
    Row::new(APPS, "v1", "StatefulSet", "statefulsets")
        .short(&["sts"])
        .all()
        .sub(SCALE)
        .generation(),
    Row::new(AUTHN, "v1", "SelfSubjectReview", "selfsubjectreviews")
        .cluster()
        .only(CREATE),
    Row::new(AUTHN, "v1", "TokenReview", "tokenreviews")
        .cluster()
        .only(CREATE),
    Row::new(
        AUTHZ,
        "v1",
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
    )
    .only(CREATE),
    Row::new(
        AUTHZ,
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
    )
    .cluster()
    .only(CREATE),
    Row::new(
        AUTHZ,
        "v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
    )
    .cluster()
    .only(CREATE),
    Row::new(AUTHZ, "v1", "SubjectAccessReview", "subjectaccessreviews")
        .cluster()
        .only(CREATE),
    Row::new(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
    )
    .short(&["hpa"])
    .all()
    .sub(STATUS),
    Row::new(
        "autoscaling",
        "v1",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
    )
    .short(&["hpa"])
    .all()
    .sub(STATUS)
    .stored_as("v2"),
    Row::new("batch", "v1", "CronJob", "cronjobs")
        .short(&["cj"])
        .all()
        .sub(STATUS)
        .generation(),
    Row::new("batch", "v1", "Job", "jobs")
        .all()
        .sub(STATUS)
        .generation()
        .fields(&["status.successful"]),
    Row::new("coordination.k8s.io", "v1", "Lease", "leases"),
    Row::new("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices").generation(),
    Row::new("events.k8s.io", "v1", "Event", "events")
        .stored_under("")
        .short(&["ev"])
        .fields(EVENT_FIELDS),
    Row::new("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes")
        .cluster()
        .only(READ),
    Row::new("metrics.k8s.io", "v1beta1", "PodMetrics", "pods").only(READ),
    Row::new(NETWORKING, "v1", "IngressClass", "ingressclasses")
        .cluster()
        .generation(),
    Row::new(NETWORKING, "v1", "Ingress", "ingresses")
        .short(&["ing"])
        .sub(STATUS)
        .generation(),
    Row::new(NETWORKING, "v1beta1", "Ingress", "ingresses")
        .stored_as("v1")
        .deprecated(
            "networking.k8s.io/v1beta1 Ingress is deprecated in v1.19+, unavailable in v1.22+; \
             use networking.k8s.io/v1 Ingress",
        )
        .short(&["ing"])
        .sub(STATUS)
        .generation(),
    Row::new(NETWORKING, "v1", "NetworkPolicy", "networkpolicies")
        .short(&["netpol"])
        .generation(),
    Row::new("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses").cluster(),
    Row::new(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
    )
    .short(&["pdb"])
    .sub(STATUS)
    .generation(),
    Row::new(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings")
        .cluster()
        .named(field::path_segment),
    Row::new(RBAC, "v1", "ClusterRole", "clusterroles")
        .cluster()
        .named(field::path_segment),
    Row::new(RBAC, "v1", "RoleBinding", "rolebindings").named(field::path_segment),
    Row::new(RBAC, "v1", "Role", "roles").named(field::path_segment),
    Row::new(
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
    )
    .cluster()
    .short(&["pc"])
    .generation(),
    Row::new("storage.k8s.io", "v1", "StorageClass", "storageclasses")
        .cluster()
        .short(&["sc"]),
    // Last, so that clients which do not name a group find the Ingress that Kubernetes has.
    Row::new("extensions", "v1beta1", "Ingress", "ingresses")
        .stored_under(NETWORKING)
        .stored_as("v1")
        .deprecated(
            "extensions/v1beta1 Ingress is deprecated in v1.14+, unavailable in v1.22+; \
             use networking.k8s.io/v1 Ingress",
        )
        .short(&["ing"])
        .sub(STATUS)
        .generation(),
];
