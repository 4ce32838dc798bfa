//! What a fresh installation holds.

use std::collections::BTreeMap;

use super::*;
use crate::object::ObjectExt;

fn context() -> Context {
    Context {
        http_port: 8080,
        https_port: 8443,
        gateway_addresses: vec!["10.42.0.1:8012".parse().unwrap()],
        ..Context::default()
    }
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found = objects
        .iter()
        .filter(|o| o.kind() == kind && o.name() == name);
    found.next().unwrap()
}

#[test]
fn a_fresh_installation() {
    let objects = bootstrap(&context());
    let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for object in &objects {
        let kind = format!("{} {}", object.kind(), object.namespace());
        names.entry(kind).or_default().push(object.name());
    }
    let lines = names
        .iter()
        .map(|(kind, names)| format!("{kind}: {}", names.join(" ")));
    let summary: Vec<String> = lines.collect();
    expect_test::expect![[r#"
        ClusterRole : addressable-resolver channelable-manipulator source-observer podspecable-binding crossnamespace-subscriber service-addressable-resolver serving-addressable-resolver channel-addressable-resolver imc-addressable-resolver broker-addressable-resolver eventtransforms-addressable-resolver requestreplies-addressable-resolver flows-addressable-resolver jobsinks-addressable-resolver integrationsinks-addressable-resolver meta-channelable-manipulator imc-channelable-manipulator eventing-sources-source-observer builtin-podspecable-binding jobs-podspecable-binding knative-serving-podspecable-binding broker-subscriber channel-subscriber imc-subscriber knative-serving-namespaced-admin knative-serving-namespaced-edit knative-serving-namespaced-view knative-eventing-namespaced-admin knative-eventing-namespaced-edit knative-eventing-namespaced-view knative-messaging-namespaced-admin knative-messaging-namespaced-edit knative-messaging-namespaced-view knative-flows-namespaced-admin knative-flows-namespaced-edit knative-flows-namespaced-view knative-sources-namespaced-admin knative-sources-namespaced-edit knative-sources-namespaced-view knative-sinks-namespaced-admin knative-sinks-namespaced-edit knative-sinks-namespaced-view
        Deployment knative-eventing: eventing-controller eventing-webhook imc-controller imc-dispatcher mt-broker-controller mt-broker-filter mt-broker-ingress
        Deployment knative-serving: activator autoscaler controller webhook
        EndpointSlice istio-system: istio-ingressgateway knative-local-gateway
        EndpointSlice knative-eventing: broker-ingress broker-filter imc-dispatcher job-sink request-reply
        EndpointSlice knative-serving: activator-service acme-challenges
        EndpointSlice kourier-system: kourier kourier-internal
        Endpoints istio-system: istio-ingressgateway knative-local-gateway
        Endpoints knative-eventing: broker-ingress broker-filter imc-dispatcher job-sink request-reply
        Endpoints knative-serving: activator-service acme-challenges
        Endpoints kourier-system: kourier kourier-internal
        IngressClass : rekindle
        Namespace : knative-serving knative-eventing istio-system kourier-system
        Service istio-system: istio-ingressgateway knative-local-gateway
        Service knative-eventing: broker-ingress broker-filter imc-dispatcher job-sink request-reply
        Service knative-serving: activator-service acme-challenges
        Service kourier-system: kourier kourier-internal
        ServiceAccount knative-eventing: eventing-controller eventing-webhook imc-controller imc-dispatcher job-sink mt-broker-filter mt-broker-ingress pingsource-mt-adapter"#]].assert_eq(&summary.join("\n"));
    let kourier = find(&objects, "Service", "kourier");
    assert_eq!(kourier["spec"]["ports"][0]["nodePort"], 8080);
    let ingress = find(&objects, "Endpoints", "broker-ingress");
    assert_eq!(ingress["subsets"][0]["ports"][0]["port"], 8088);
}

#[test]
fn the_context_can_be_read_back() {
    let objects = bootstrap(&context());
    let public = find(&objects, "Service", PUBLIC_GATEWAY.1);
    let activator = find(&objects, "Endpoints", ACTIVATOR_SERVICE);
    assert_eq!(context_of(public, activator), context());
}

#[test]
fn roles_add_up_by_their_labels() {
    let objects = bootstrap(&context());
    let rules_of = |name: &str| {
        let role = find(&objects, "ClusterRole", name);
        let selectors = &role["aggregationRule"]["clusterRoleSelectors"];
        let labels = selectors[0]["matchLabels"].as_object().unwrap();
        let (label, _) = labels.iter().next().unwrap();
        let shares = objects
            .iter()
            .filter(|o| o.kind() == "ClusterRole" && o.label(label) == Some("true"));
        let rules = shares.flat_map(|role| role["rules"].as_array().unwrap());
        rules
            .map(|rule| rule["resources"].to_string())
            .collect::<String>()
    };
    assert!(rules_of("channelable-manipulator").contains("inmemorychannels/status"));
    assert!(rules_of("addressable-resolver").contains("brokers/status"));
    assert!(rules_of("source-observer").contains("pingsources"));
    assert!(rules_of("podspecable-binding").contains("deployments"));
    assert!(rules_of("crossnamespace-subscriber").contains("channels"));
}
