//! Single plans over Worlds written down as YAML.

use api::object::ObjectExt;
use api::world::{Action, Context, Fact, Key, Kind, World};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::plan::planners;

/// Runs one planner on `default/NAME` and shows what it wants, a line or a status per action.
fn check(planner: &str, name: &str, world: &[&str], expected: &Expect) {
    let mut all = World::new("2026-01-01T00:00:00Z".parse().unwrap());
    for yaml in world {
        let mut object: Value = serde_saphyr::from_str(yaml).unwrap();
        let metadata = &mut object["metadata"];
        if metadata["namespace"].is_null() {
            metadata["namespace"] = json!("default");
        }
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(format!("{}-uid", metadata["name"].as_str().unwrap()));
        }
        let kind = Kind::find(object.api_version(), object.kind()).unwrap();
        all.insert(kind, object);
    }
    all.learn(digest("example/gone"), json!({"error": "404 Not Found"}));
    let cx = Context {
        gateway_addresses: vec!["10.42.0.1:8012".parse().unwrap()],
        ..Context::default()
    };
    let planner = planners().into_iter().find(|p| p.name == planner).unwrap();
    let plan = (planner.plan)(&cx, &Key::new("default", name), &all);
    let shown: String = plan.actions.iter().map(show).collect();
    expected.assert_eq(&shown);
}

fn digest(image: &str) -> Fact {
    Fact::Digest {
        image: image.to_owned(),
        namespace: "default".to_owned(),
        service_account: "default".to_owned(),
        pull_secrets: Vec::new(),
    }
}

fn show(action: &Action) -> String {
    match action {
        Action::Create(object) => format!("create {} {}\n", object.kind(), object.name()),
        Action::Update(object) => format!("update {} {}\n", object.kind(), object.name()),
        Action::Delete { kind, name, .. } => format!("delete {} {name}\n", kind.kind),
        Action::Scale { name, replicas, .. } => format!("scale {name} to {replicas}\n"),
        Action::Need(fact) => format!("need {fact:?}\n"),
        Action::At(at) => format!("again at {at}\n"),
        Action::Route(change) => format!("{change:#?}\n"),
        Action::Deliver(change) => format!("{change:#?}\n"),
        Action::Event { reason, .. } => format!("event {reason}\n"),
        Action::Status(object) => {
            let mut status = object["status"].clone();
            for condition in status["conditions"].as_array_mut().unwrap() {
                let fields = condition.as_object_mut().unwrap();
                fields.remove("lastTransitionTime");
                *condition = json!(condition.to_string());
            }
            format!("status:\n{}", serde_saphyr::to_string(&status).unwrap())
        }
    }
}

const REVISION: &str = "
apiVersion: serving.knative.dev/v1
kind: Revision
metadata:
  name: r
  generation: 1
  labels: {serving.knative.dev/routingState: active}
spec: {containers: [{name: user-container, image: example/hello}]}
status: {containerStatuses: [{name: user-container, imageDigest: example/hello@sha256:1}]}
";

fn deployment(owner: &str, status: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: r-deployment
  ownerReferences: [{{apiVersion: serving.knative.dev/v1, kind: Revision, name: r, uid: {owner}, controller: true}}]
spec: {{replicas: 1}}
status: {status}
"
    )
}

fn pod(status: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: p, labels: {{serving.knative.dev/revision: r}}}}
status: {status}
"
    )
}

#[test]
fn an_image_that_cannot_be_had() {
    let unresolved = REVISION.split("status:").next().unwrap();
    check(
        "Revision",
        "r",
        &[unresolved],
        &expect![[r#"
        need Digest { image: "example/hello", namespace: "default", service_account: "default", pull_secrets: [] }
        status:
        conditions:
        - "{\"status\":\"Unknown\",\"type\":\"ContainerHealthy\"}"
        - "{\"reason\":\"ResolvingDigests\",\"status\":\"Unknown\",\"type\":\"Ready\"}"
        - "{\"reason\":\"ResolvingDigests\",\"status\":\"Unknown\",\"type\":\"ResourcesAvailable\"}"
        observedGeneration: 1
    "#]],
    );
    let gone = unresolved.replace("example/hello", "example/gone");
    check(
        "Revision",
        "r",
        &[&gone],
        &expect![[r#"
            event InternalError
            status:
            conditions:
            - "{\"message\":\"Unable to fetch image \\\"example/gone\\\": 404 Not Found\",\"reason\":\"ContainerMissing\",\"status\":\"False\",\"type\":\"ContainerHealthy\"}"
            - "{\"message\":\"Unable to fetch image \\\"example/gone\\\": 404 Not Found\",\"reason\":\"ContainerMissing\",\"status\":\"False\",\"type\":\"Ready\"}"
            - "{\"status\":\"Unknown\",\"type\":\"ResourcesAvailable\"}"
            observedGeneration: 1
        "#]],
    );
}

#[test]
fn a_deployment_of_somebody_else() {
    let foreign = deployment("other", "{}");
    check(
        "Revision",
        "r",
        &[REVISION, &foreign],
        &expect![[r#"
            status:
            conditions:
            - "{\"status\":\"Unknown\",\"type\":\"ContainerHealthy\"}"
            - "{\"message\":\"There is an existing Deployment \\\"r-deployment\\\" that we do not own.\",\"reason\":\"NotOwned\",\"status\":\"False\",\"type\":\"Ready\"}"
            - "{\"message\":\"There is an existing Deployment \\\"r-deployment\\\" that we do not own.\",\"reason\":\"NotOwned\",\"status\":\"False\",\"type\":\"ResourcesAvailable\"}"
            containerStatuses:
            - imageDigest: example/hello@sha256:1
              name: user-container
            observedGeneration: 1
        "#]],
    );
}

#[test]
fn a_pod_without_room() {
    let own = deployment("r-uid", "{}");
    let pod = pod(
        "{conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: no room}]}",
    );
    check(
        "Revision",
        "r",
        &[REVISION, &own, &pod],
        &expect![[r#"
        update Deployment r-deployment
        create Image r-cache-user-container
        create PodAutoscaler r
        status:
        conditions:
        - "{\"reason\":\"Deploying\",\"severity\":\"Info\",\"status\":\"Unknown\",\"type\":\"Active\"}"
        - "{\"status\":\"Unknown\",\"type\":\"ContainerHealthy\"}"
        - "{\"message\":\"no room\",\"reason\":\"Unschedulable\",\"status\":\"False\",\"type\":\"Ready\"}"
        - "{\"message\":\"no room\",\"reason\":\"Unschedulable\",\"status\":\"False\",\"type\":\"ResourcesAvailable\"}"
        containerStatuses:
        - imageDigest: example/hello@sha256:1
          name: user-container
        observedGeneration: 1
    "#]],
    );
}

#[test]
fn an_image_that_is_pulled_in_vain() {
    let late =
        "{conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]}";
    let own = deployment("r-uid", late);
    let pod = pod(
        "{containerStatuses: [{name: user-container, state: {waiting: {reason: ImagePullBackOff, message: denied}}}]}",
    );
    check(
        "Revision",
        "r",
        &[REVISION, &own, &pod],
        &expect![[r#"
        update Deployment r-deployment
        create Image r-cache-user-container
        create PodAutoscaler r
        status:
        conditions:
        - "{\"reason\":\"Deploying\",\"severity\":\"Info\",\"status\":\"Unknown\",\"type\":\"Active\"}"
        - "{\"status\":\"Unknown\",\"type\":\"ContainerHealthy\"}"
        - "{\"message\":\"denied\",\"reason\":\"ImagePullBackOff\",\"status\":\"False\",\"type\":\"Ready\"}"
        - "{\"message\":\"denied\",\"reason\":\"ImagePullBackOff\",\"status\":\"False\",\"type\":\"ResourcesAvailable\"}"
        containerStatuses:
        - imageDigest: example/hello@sha256:1
          name: user-container
        observedGeneration: 1
    "#]],
    );
}

fn route(traffic: &str) -> String {
    format!(
        "
apiVersion: serving.knative.dev/v1
kind: Route
metadata: {{name: hello, generation: 1, labels: {{serving.knative.dev/service: hello}}}}
spec: {{traffic: [{traffic}]}}
"
    )
}

#[test]
fn traffic_that_cannot_be_assigned() {
    let to_revision = route("{revisionName: r, percent: 100}");
    check(
        "Route",
        "hello",
        &[&to_revision],
        &expect![[r#"
        status:
        conditions:
        - "{\"message\":\"Revision \\\"r\\\" referenced in traffic not found.\",\"reason\":\"RevisionMissing\",\"status\":\"False\",\"type\":\"AllTrafficAssigned\"}"
        - "{\"status\":\"Unknown\",\"type\":\"CertificateProvisioned\"}"
        - "{\"status\":\"Unknown\",\"type\":\"IngressReady\"}"
        - "{\"message\":\"Revision \\\"r\\\" referenced in traffic not found.\",\"reason\":\"RevisionMissing\",\"status\":\"False\",\"type\":\"Ready\"}"
        observedGeneration: 1
    "#]],
    );
    check(
        "Route",
        "hello",
        &[&to_revision, REVISION],
        &expect![[r#"
        status:
        conditions:
        - "{\"message\":\"Revision \\\"r\\\" belongs to Service \\\"\\\", not Service \\\"hello\\\".\",\"reason\":\"RevisionNotOwned\",\"status\":\"False\",\"type\":\"AllTrafficAssigned\"}"
        - "{\"status\":\"Unknown\",\"type\":\"CertificateProvisioned\"}"
        - "{\"status\":\"Unknown\",\"type\":\"IngressReady\"}"
        - "{\"message\":\"Revision \\\"r\\\" belongs to Service \\\"\\\", not Service \\\"hello\\\".\",\"reason\":\"RevisionNotOwned\",\"status\":\"False\",\"type\":\"Ready\"}"
        observedGeneration: 1
    "#]],
    );
    let own = REVISION.replace("labels: {", "labels: {serving.knative.dev/service: hello, ");
    check(
        "Route",
        "hello",
        &[&to_revision, &own],
        &expect![[r#"
        status:
        conditions:
        - "{\"message\":\"Revision \\\"r\\\" is not yet ready.\",\"reason\":\"RevisionMissing\",\"status\":\"Unknown\",\"type\":\"AllTrafficAssigned\"}"
        - "{\"status\":\"Unknown\",\"type\":\"CertificateProvisioned\"}"
        - "{\"status\":\"Unknown\",\"type\":\"IngressReady\"}"
        - "{\"message\":\"Revision \\\"r\\\" is not yet ready.\",\"reason\":\"RevisionMissing\",\"status\":\"Unknown\",\"type\":\"Ready\"}"
        observedGeneration: 1
    "#]],
    );
    let waiting = "
apiVersion: serving.knative.dev/v1
kind: Configuration
metadata: {name: hello, generation: 1}
spec: {}
";
    let to_latest = route("{configurationName: hello, latestRevision: true, percent: 100}");
    check(
        "Route",
        "hello",
        &[&to_latest, waiting],
        &expect![[r#"
        status:
        conditions:
        - "{\"message\":\"Configuration \\\"hello\\\" is waiting for a Revision to become ready.\",\"reason\":\"RevisionMissing\",\"status\":\"Unknown\",\"type\":\"AllTrafficAssigned\"}"
        - "{\"status\":\"Unknown\",\"type\":\"CertificateProvisioned\"}"
        - "{\"status\":\"Unknown\",\"type\":\"IngressReady\"}"
        - "{\"message\":\"Configuration \\\"hello\\\" is waiting for a Revision to become ready.\",\"reason\":\"RevisionMissing\",\"status\":\"Unknown\",\"type\":\"Ready\"}"
        observedGeneration: 1
    "#]],
    );
}

#[test]
fn a_horizontal_pod_autoscaler() {
    let autoscaler = "
apiVersion: autoscaling.internal.knative.dev/v1alpha1
kind: PodAutoscaler
metadata:
  name: r
  generation: 1
  annotations:
    autoscaling.knative.dev/class: hpa.autoscaling.knative.dev
    autoscaling.knative.dev/metric: cpu
    autoscaling.knative.dev/target: '80'
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: r-deployment}, protocolType: http1}
";
    check(
        "PodAutoscaler",
        "r",
        &[autoscaler],
        &expect![[r#"
        create HorizontalPodAutoscaler r
        create ServerlessService r
        status:
        actualScale: 0
        conditions:
        - "{\"status\":\"True\",\"type\":\"Active\"}"
        - "{\"status\":\"Unknown\",\"type\":\"Ready\"}"
        - "{\"message\":\"No Private Service Name\",\"reason\":\"NotReady\",\"status\":\"Unknown\",\"type\":\"SKSReady\"}"
        - "{\"status\":\"Unknown\",\"type\":\"ScaleTargetInitialized\"}"
        desiredScale: 0
        observedGeneration: 1
    "#]],
    );
}

#[test]
fn an_ingress_becomes_hosts() {
    let ingress = "
apiVersion: networking.internal.knative.dev/v1alpha1
kind: Ingress
metadata: {name: hello, generation: 1}
spec:
  httpOption: Redirected
  tls: [{hosts: [hello.example.org], secretName: s}]
  rules:
  - hosts: [Hello.example.org]
    visibility: ExternalIP
    http:
      paths:
      - headers: {Knative-Serving-Tag: {exact: blue}}
        splits:
        - {serviceNamespace: default, serviceName: r, servicePort: 80, percent: 100,
           appendHeaders: {Knative-Serving-Namespace: default, Knative-Serving-Revision: r}}
      - appendHeaders: {Knative-Serving-Default-Route: 'true'}
        splits: [{serviceNamespace: default, serviceName: plain, servicePort: 8080}]
";
    let service = "
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {clusterIP: 10.43.0.7}
";
    check(
        "Ingress",
        "hello",
        &[ingress, service],
        &expect![[r#"
            Host(
                "hello.example.org",
                Some(
                    VirtualHost {
                        visibility: External,
                        redirect_to_https: true,
                        rules: [
                            Rule {
                                path_prefix: "",
                                path_match: Start,
                                headers: {
                                    "knative-serving-tag": "blue",
                                },
                                rewrite_host: None,
                                append_headers: {},
                                splits: [
                                    Split {
                                        percent: 100,
                                        target: Revision(
                                            RevisionKey {
                                                namespace: "default",
                                                name: "r",
                                            },
                                        ),
                                        append_headers: {
                                            "knative-serving-namespace": "default",
                                            "knative-serving-revision": "r",
                                        },
                                    },
                                ],
                            },
                            Rule {
                                path_prefix: "",
                                path_match: Start,
                                headers: {},
                                rewrite_host: None,
                                append_headers: {
                                    "knative-serving-default-route": "true",
                                },
                                splits: [
                                    Split {
                                        percent: 100,
                                        target: Address(
                                            "10.43.0.7:8080",
                                        ),
                                        append_headers: {},
                                    },
                                ],
                            },
                        ],
                    },
                ),
            )
            status:
            conditions:
            - "{\"status\":\"True\",\"type\":\"LoadBalancerReady\"}"
            - "{\"message\":\"Secret default/s is not there\",\"reason\":\"ReconcileIngressFailed\",\"status\":\"Unknown\",\"type\":\"NetworkConfigured\"}"
            - "{\"message\":\"Secret default/s is not there\",\"reason\":\"ReconcileIngressFailed\",\"status\":\"Unknown\",\"type\":\"Ready\"}"
            observedGeneration: 1
            privateLoadBalancer:
              ingress:
              - domainInternal: knative-local-gateway.istio-system.svc.cluster.local
            publicLoadBalancer:
              ingress:
              - domainInternal: istio-ingressgateway.istio-system.svc.cluster.local
        "#]],
    );
    let other = ingress.replace(
        "generation: 1",
        "annotations: {networking.knative.dev/ingress-class: other.example.org}",
    );
    check("Ingress", "hello", &[&other], &expect![[""]]);
}
