//! `serving.knative.dev`: labels, annotations and condition sets of its kinds, and how to read a
//! Revision. The objects themselves stay JSON values; nothing here copies a whole one.

pub mod revision;

use crate::conditions::Set;

/// The API group.
pub const GROUP: &str = "serving.knative.dev";
/// Label on everything a Service made: its name.
pub const SERVICE: &str = "serving.knative.dev/service";
/// Label on Revisions and what they make: the Service's UID.
pub const SERVICE_UID: &str = "serving.knative.dev/serviceUID";
/// Label on Revisions and what they make: the Configuration's name.
pub const CONFIGURATION: &str = "serving.knative.dev/configuration";
/// Label on Revisions: the Configuration's UID.
pub const CONFIGURATION_UID: &str = "serving.knative.dev/configurationUID";
/// Label on Revisions: the generation of the Configuration they were made of.
pub const CONFIGURATION_GENERATION: &str = "serving.knative.dev/configurationGeneration";
/// Label on what a Revision made: the Revision's name.
pub const REVISION: &str = "serving.knative.dev/revision";
/// Label on what a Revision made: the Revision's UID.
pub const REVISION_UID: &str = "serving.knative.dev/revisionUID";
/// Label on what a Route made: its name.
pub const ROUTE: &str = "serving.knative.dev/route";
/// Label on an Ingress: the namespace of its Route.
pub const ROUTE_NAMESPACE: &str = "serving.knative.dev/routeNamespace";
/// Label on Revisions: `pending`, `active` or `reserve`.
pub const ROUTING_STATE: &str = "serving.knative.dev/routingState";
/// Annotation on Revisions: when the routing state last changed, RFC 3339.
pub const ROUTING_STATE_MODIFIED: &str = "serving.knative.dev/routingStateModified";
/// Annotation on Configurations and Revisions: the Routes that point at them, comma separated.
pub const ROUTES: &str = "serving.knative.dev/routes";
/// Annotation: who created the object.
pub const CREATOR: &str = "serving.knative.dev/creator";
/// Annotation: who last changed its spec.
pub const LAST_MODIFIER: &str = "serving.knative.dev/lastModifier";
/// Label on Builds: the hash of what a Configuration says of its build.
pub const BUILD_HASH: &str = "serving.knative.dev/buildHash";
/// Annotation on Revisions: `"true"` keeps the garbage collector away.
pub const NO_GC: &str = "serving.knative.dev/no-gc";
/// Annotation of old Revisions, replaced by [`ROUTING_STATE_MODIFIED`].
pub const LAST_PINNED: &str = "serving.knative.dev/lastPinned";
/// Label on what a DomainMapping made: its UID.
pub const DOMAIN_MAPPING_UID: &str = "serving.knative.dev/domainMappingUID";
/// Label on what a DomainMapping made: its namespace.
pub const DOMAIN_MAPPING_NAMESPACE: &str = "serving.knative.dev/domainMappingNamespace";
/// What `kubectl apply` leaves on objects; never passed on to children.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The condition set of each kind, in the order Knative declares the dependents.
pub mod sets {
    use super::Set;

    /// Service.
    pub const SERVICE: Set = Set::living(&["ConfigurationsReady", "RoutesReady"]);
    /// Configuration.
    pub const CONFIGURATION: Set = Set::living(&[]);
    /// Revision; `Active` is informational.
    pub const REVISION: Set = Set::living(&["ResourcesAvailable", "ContainerHealthy"]);
    /// Revision that waits for a build, as until v0.6.
    pub const BUILT_REVISION: Set =
        Set::living(&["ResourcesAvailable", "ContainerHealthy", "BuildSucceeded"]);
    /// Route.
    pub const ROUTE: Set = Set::living(&[
        "AllTrafficAssigned",
        "IngressReady",
        "CertificateProvisioned",
    ]);
    /// DomainMapping.
    pub const DOMAIN_MAPPING: Set = Set::living(&[
        "DomainClaimed",
        "ReferenceResolved",
        "IngressReady",
        "CertificateProvisioned",
    ]);
}
