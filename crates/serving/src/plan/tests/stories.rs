//! The life of Services: ready, updated, failing, split, scaled to zero and back.

use std::time::Duration;

use api::object::ObjectExt;
use api::world::{
    CONFIGURATION, DEPLOYMENT, DOMAIN_MAPPING, INGRESS, KNATIVE_SERVICE, POD, POD_AUTOSCALER,
    REVISION, ROUTE, SERVICE,
};
use expect_test::{Expect, expect};
use serde_json::json;

use super::cluster::{Cluster, service_yaml};

const LATEST: &[&str] = &[
    "latestCreatedRevisionName",
    "latestReadyRevisionName",
    "url",
];

fn check(actual: impl AsRef<str>, expected: &Expect) {
    expected.assert_eq(actual.as_ref());
}

#[test]
fn a_service_becomes_ready() {
    let mut cluster = Cluster::new();
    cluster.service("hello", "example/hello");
    check(
        cluster.status(KNATIVE_SERVICE, "hello", LATEST),
        &expect![[r#"
            ConfigurationsReady True
            Ready True
            RoutesReady True
            latestCreatedRevisionName: "hello-00001"
            latestReadyRevisionName: "hello-00001"
            url: "http://hello.default.localhost:8080"
        "#]],
    );
    check(
        cluster.status(REVISION, "hello-00001", &["containerStatuses"]),
        &expect![[r#"
            Active True
            ContainerHealthy True
            Ready True
            ResourcesAvailable True
            containerStatuses: [{"imageDigest":"example/hello@sha256:1234","name":"user-container"}]
        "#]],
    );
    check(
        cluster.status(ROUTE, "hello", &["traffic", "address"]),
        &expect![[r#"
            AllTrafficAssigned True
            CertificateProvisioned True TLSNotEnabled external-domain-tls is not enabled
            IngressReady True
            Ready True
            traffic: [{"latestRevision":true,"percent":100,"revisionName":"hello-00001"}]
            address: {"url":"http://hello.default.svc.cluster.local"}
        "#]],
    );
    check(
        cluster.status(
            POD_AUTOSCALER,
            "hello-00001",
            &["desiredScale", "actualScale"],
        ),
        &expect![[r#"
            Active True
            Ready True
            SKSReady True
            ScaleTargetInitialized True
            desiredScale: -1
            actualScale: 1
        "#]],
    );
    check(
        cluster.routes(),
        &expect![[r#"
        hello.default (ClusterLocal): 100% hello-00001
        hello.default.example.com (External): 100% hello-00001
        hello.default.localhost (External): 100% hello-00001
        hello.default.svc (ClusterLocal): 100% hello-00001
        hello.default.svc.cluster.local (ClusterLocal): 100% hello-00001
        hello-00001: 1 ready, via activator
    "#]],
    );
    check(
        cluster.events.join("\n"),
        &expect![[r#"
        Normal Created Service hello: Created Configuration "hello"
        Normal Created Service hello: Created Route "hello"
        Normal Created Configuration hello: Created Revision "hello-00001"
        Normal RevisionReady Revision hello-00001: Revision becomes ready upon all resources being ready
        Normal ConfigurationReady Configuration hello: Configuration becomes ready
        Normal LatestReadyUpdate Configuration hello: LatestReadyRevisionName updated to "hello-00001"
        Normal Created Route hello: Created placeholder service "hello"
        Normal Created Route hello: Created Ingress "hello""#]],
    );
}

#[test]
fn an_update_makes_a_new_revision() {
    let mut cluster = Cluster::new();
    cluster.service("hello", "example/hello");
    cluster.service("hello", "example/hello:2");
    check(
        cluster.status(KNATIVE_SERVICE, "hello", LATEST),
        &expect![[r#"
            ConfigurationsReady True
            Ready True
            RoutesReady True
            latestCreatedRevisionName: "hello-00002"
            latestReadyRevisionName: "hello-00002"
            url: "http://hello.default.localhost:8080"
        "#]],
    );
    check(
        cluster.routes(),
        &expect![[r#"
        hello.default (ClusterLocal): 100% hello-00002
        hello.default.example.com (External): 100% hello-00002
        hello.default.localhost (External): 100% hello-00002
        hello.default.svc (ClusterLocal): 100% hello-00002
        hello.default.svc.cluster.local (ClusterLocal): 100% hello-00002
        hello-00001: 1 ready, via activator
        hello-00002: 1 ready, via activator
    "#]],
    );
}

#[test]
fn a_failing_update_leaves_the_old_revision_serving() {
    for image in ["example/missing", "example/crash"] {
        let mut cluster = Cluster::new();
        cluster.service("hello", "example/hello");
        cluster.service("hello", image);
        let text = cluster.status(KNATIVE_SERVICE, "hello", LATEST);
        let expected = if image.contains("missing") {
            expect![[r#"
                ConfigurationsReady False RevisionFailed Revision "hello-00002" failed with message: Unable to fetch image "example/missing": 404 Not Found.
                Ready False RevisionFailed Revision "hello-00002" failed with message: Unable to fetch image "example/missing": 404 Not Found.
                RoutesReady True
                latestCreatedRevisionName: "hello-00002"
                latestReadyRevisionName: "hello-00001"
                url: "http://hello.default.localhost:8080"
            "#]]
        } else {
            expect![[r#"
                ConfigurationsReady False RevisionFailed Revision "hello-00002" failed with message: Container failed with: out of cheese.
                Ready False RevisionFailed Revision "hello-00002" failed with message: Container failed with: out of cheese.
                RoutesReady True
                latestCreatedRevisionName: "hello-00002"
                latestReadyRevisionName: "hello-00001"
                url: "http://hello.default.localhost:8080"
            "#]]
        };
        check(text, &expected);
        assert!(
            cluster
                .routes()
                .contains("hello.default.localhost (External): 100% hello-00001\n")
        );
    }
}

#[test]
fn a_first_revision_that_fails_fails_the_service() {
    let mut cluster = Cluster::new();
    cluster.service("hello", "example/crash");
    check(
        cluster.status(KNATIVE_SERVICE, "hello", LATEST),
        &expect![[r#"
            ConfigurationsReady False RevisionFailed Revision "hello-00001" failed with message: Container failed with: out of cheese.
            Ready False RevisionMissing Configuration "hello" does not have any ready Revision.
            RoutesReady False RevisionMissing Configuration "hello" does not have any ready Revision.
            latestCreatedRevisionName: "hello-00001"
            latestReadyRevisionName: null
            url: null
        "#]],
    );
}

#[test]
fn a_revision_that_never_gets_ready_times_out() {
    let mut cluster = Cluster::new();
    cluster.service("hello", "example/hang");
    cluster.wait(Duration::from_secs(700));
    check(
        cluster.status(REVISION, "hello-00001", &[]),
        &expect![[r#"
        Active False NoTraffic The target is not receiving traffic.
        ContainerHealthy Unknown Deploying
        Ready False ProgressDeadlineExceeded Initial scale was never achieved
        ResourcesAvailable False ProgressDeadlineExceeded Initial scale was never achieved
    "#]],
    );
    assert_eq!(cluster.replicas("hello-00001"), 0);
}

#[test]
fn traffic_is_split_and_tagged() {
    let mut cluster = Cluster::new();
    cluster.service("hello", "example/hello");
    let traffic = "  traffic:
  - {revisionName: hello-00001, percent: 80, latestRevision: false}
  - {latestRevision: true, percent: 20}
  - {latestRevision: true, tag: candidate, percent: 0}
";
    cluster.apply(&service_yaml("hello", "example/hello:2", traffic));
    check(
        cluster.routes(),
        &expect![[r#"
        candidate-hello.default (ClusterLocal): 100% hello-00002
        candidate-hello.default.example.com (External): 100% hello-00002
        candidate-hello.default.localhost (External): 100% hello-00002
        candidate-hello.default.svc (ClusterLocal): 100% hello-00002
        candidate-hello.default.svc.cluster.local (ClusterLocal): 100% hello-00002
        hello.default (ClusterLocal): 80% hello-00001 20% hello-00002
        hello.default.example.com (External): 80% hello-00001 20% hello-00002
        hello.default.localhost (External): 80% hello-00001 20% hello-00002
        hello.default.svc (ClusterLocal): 80% hello-00001 20% hello-00002
        hello.default.svc.cluster.local (ClusterLocal): 80% hello-00001 20% hello-00002
        hello-00001: 1 ready, via activator
        hello-00002: 1 ready, via activator
    "#]],
    );
    check(
        cluster.status(ROUTE, "hello", &["traffic"]),
        &expect![[r#"
        AllTrafficAssigned True
        CertificateProvisioned True TLSNotEnabled external-domain-tls is not enabled
        IngressReady True
        Ready True
        traffic: [{"latestRevision":false,"percent":80,"revisionName":"hello-00001"},{"latestRevision":true,"percent":20,"revisionName":"hello-00002"},{"latestRevision":true,"percent":0,"revisionName":"hello-00002","tag":"candidate","url":"http://candidate-hello.default.localhost:8080"}]
    "#]],
    );
    let mut names: Vec<_> = cluster
        .world
        .keys(SERVICE)
        .into_iter()
        .map(|k| k.name)
        .collect();
    names.retain(|name| !name.contains("-0000"));
    assert_eq!(names, ["candidate-hello", "hello"]);

    // Without the tag, its Service and host go.
    cluster.service("hello", "example/hello:2");
    assert!(
        !cluster.routes().contains("candidate"),
        "{}",
        cluster.routes()
    );
}

#[test]
fn a_service_goes_to_zero_and_comes_back() {
    let mut cluster = Cluster::new();
    cluster.service("hello", "example/hello");
    cluster.decide("hello-00001", 1);
    assert!(cluster.routes().contains("hello-00001: 1 ready, via pods"));
    cluster.decide("hello-00001", 0);
    assert_eq!(
        cluster.replicas("hello-00001"),
        1,
        "within the stable window"
    );
    cluster.wait(Duration::from_secs(61));
    assert_eq!(
        cluster.replicas("hello-00001"),
        1,
        "within the grace period"
    );
    assert!(
        cluster
            .routes()
            .contains("hello-00001: 1 ready, via activator")
    );
    cluster.wait(Duration::from_secs(31));
    assert_eq!(cluster.replicas("hello-00001"), 0);
    assert_eq!(cluster.pods("hello-00001"), 0);
    check(
        cluster.status(
            POD_AUTOSCALER,
            "hello-00001",
            &["desiredScale", "actualScale"],
        ),
        &expect![[r#"
            Active False NoTraffic The target is not receiving traffic.
            Ready False NoTraffic The target is not receiving traffic.
            SKSReady Unknown NotReady K8s Service is not ready
            ScaleTargetInitialized True
            desiredScale: 0
            actualScale: 0
        "#]],
    );
    check(
        cluster.status(KNATIVE_SERVICE, "hello", &[]),
        &expect![[r#"
            ConfigurationsReady True
            Ready True
            RoutesReady True
        "#]],
    );
    cluster.decide("hello-00001", 1);
    assert_eq!(cluster.replicas("hello-00001"), 1);
    assert!(cluster.routes().contains("hello-00001: 1 ready, via pods"));
}

#[test]
fn a_deleted_service_leaves_nothing() {
    let mut cluster = Cluster::new();
    cluster.service("hello", "example/hello");
    cluster.delete(KNATIVE_SERVICE, "hello");
    for kind in [CONFIGURATION, REVISION, ROUTE, INGRESS, DEPLOYMENT, SERVICE] {
        assert!(cluster.world.keys(kind).is_empty(), "{}", kind.plural);
    }
    assert_eq!(cluster.routes(), "");
}

fn states(cluster: &Cluster) -> String {
    let mut lines = String::new();
    for key in cluster.world.keys(REVISION) {
        let revision = cluster.get(REVISION, &key.name);
        let state = revision.label("serving.knative.dev/routingState");
        let routes = revision.annotation("serving.knative.dev/routes");
        let line = format!("{}: {state:?} {routes:?}\n", key.name);
        lines.push_str(&line);
    }
    lines
}

#[test]
fn revisions_know_their_routes() {
    let mut cluster = Cluster::new();
    cluster.service("hello", "example/hello");
    cluster.service("hello", "example/hello:2");
    check(
        states(&cluster),
        &expect![[r#"
        hello-00001: Some("reserve") None
        hello-00002: Some("active") Some("hello")
    "#]],
    );
    cluster.apply(
        "
apiVersion: serving.knative.dev/v1
kind: Route
metadata: {name: old, namespace: default, annotations: {made-by-user: 'yes'}}
spec: {traffic: [{revisionName: hello-00001, percent: 100}]}
",
    );
    check(
        states(&cluster),
        &expect![[r#"
        hello-00001: Some("active") Some("old")
        hello-00002: Some("active") Some("hello")
    "#]],
    );
    cluster.delete(ROUTE, "old");
    check(
        states(&cluster),
        &expect![[r#"
        hello-00001: Some("reserve") None
        hello-00002: Some("active") Some("hello")
    "#]],
    );
}

#[test]
fn old_revisions_are_collected() {
    let mut cluster = Cluster::new();
    cluster.configure("config-gc", "min-non-active-revisions", "1");
    for version in 1..=4 {
        cluster.service("hello", &format!("example/hello:{version}"));
        cluster.wait(Duration::from_secs(3600));
    }
    let names = |cluster: &Cluster| -> Vec<String> {
        let keys = cluster.world.keys(REVISION).into_iter();
        keys.map(|key| key.name).collect()
    };
    assert_eq!(names(&cluster).len(), 4);
    // Two of the three idle ones are old enough after 48 hours; one must stay.
    cluster.wait(Duration::from_secs(48 * 3600));
    assert_eq!(names(&cluster), ["hello-00003", "hello-00004"]);
}

#[test]
fn a_domain_is_mapped() {
    let mut cluster = Cluster::new();
    cluster.service("hello", "example/hello");
    let mapping = "
apiVersion: serving.knative.dev/v1beta1
kind: DomainMapping
metadata: {name: hello.home.arpa, namespace: default}
spec: {ref: {kind: Service, name: hello, apiVersion: serving.knative.dev/v1}}
";
    cluster.configure(
        "config-network",
        "autocreate-cluster-domain-claims",
        "false",
    );
    cluster.apply(mapping);
    check(
        cluster.status(DOMAIN_MAPPING, "hello.home.arpa", &[]),
        &expect![[r#"
            CertificateProvisioned True TLSNotEnabled external-domain-tls is not enabled
            DomainClaimed False DomainClaimFailed no ClusterDomainClaim found for domain "hello.home.arpa"
            IngressReady Unknown
            Ready False DomainClaimFailed no ClusterDomainClaim found for domain "hello.home.arpa"
            ReferenceResolved Unknown
        "#]],
    );
    cluster.configure("config-network", "autocreate-cluster-domain-claims", "true");
    check(
        cluster.status(DOMAIN_MAPPING, "hello.home.arpa", &["url"]),
        &expect![[r#"
            CertificateProvisioned True TLSNotEnabled external-domain-tls is not enabled
            DomainClaimed True
            IngressReady True
            Ready True
            ReferenceResolved True
            url: "http://hello.home.arpa:8080"
        "#]],
    );
    let routes = cluster.routes();
    let mapped = routes.lines().find(|line| line.contains("home.arpa"));
    check(
        mapped.unwrap(),
        &expect!["hello.home.arpa (External): as hello.default.svc.cluster.local 100% hello-00001"],
    );
}

#[test]
fn a_private_service_has_no_outside() {
    let mut cluster = Cluster::new();
    let yaml = service_yaml("hello", "example/hello", "").replace(
        "  annotations:",
        "  labels: {networking.knative.dev/visibility: cluster-local}\n  annotations:",
    );
    cluster.apply(&yaml);
    check(
        cluster.status(KNATIVE_SERVICE, "hello", &["url"]),
        &expect![[r#"
            ConfigurationsReady True
            Ready True
            RoutesReady True
            url: "http://hello.default.svc.cluster.local"
        "#]],
    );
    assert!(
        !cluster.routes().contains("External"),
        "{}",
        cluster.routes()
    );
}

#[test]
fn a_name_of_ones_own() {
    let mut cluster = Cluster::new();
    let named = |name: &str, image: &str| {
        service_yaml("hello", image, "").replace(
            "  template:\n",
            &format!("  template:\n    metadata: {{name: {name}}}\n"),
        )
    };
    cluster.apply(&named("hello-first", "example/hello"));
    assert!(cluster.routes().contains("100% hello-first"));
    // The same name for other contents is refused.
    cluster.apply(&named("hello-first", "example/hello:2"));
    check(
        cluster.status(KNATIVE_SERVICE, "hello", LATEST),
        &expect![[r#"
            ConfigurationsReady False RevisionFailed Revision creation failed with message: revisions.serving.knative.dev "hello-first" already exists.
            Ready False RevisionNameTaken The revision name "hello-first" is taken by a conflicting Revision, so traffic will not be migrated
            RoutesReady False RevisionNameTaken The revision name "hello-first" is taken by a conflicting Revision, so traffic will not be migrated
            latestCreatedRevisionName: "hello-first"
            latestReadyRevisionName: "hello-first"
            url: "http://hello.default.localhost:8080"
        "#]],
    );
    cluster.apply(&named("hello-second", "example/hello:2"));
    assert!(cluster.routes().contains("100% hello-second"));
}

#[test]
fn the_chosen_name_is_newer_than_what_is_imported_beside_it() {
    let mut cluster = Cluster::new();
    let template = "  template:\n    metadata: {name: hello-late}\n";
    let service = service_yaml("hello", "example/hello", "");
    cluster.apply(&service.replace("  template:\n", template));
    let uid = cluster.get(CONFIGURATION, "hello").uid().to_owned();
    cluster.apply(&format!(
        "apiVersion: serving.knative.dev/v1
kind: Revision
metadata:
  name: hello-early
  namespace: default
  labels:
    serving.knative.dev/service: hello
    serving.knative.dev/configuration: hello
    serving.knative.dev/configurationGeneration: '1'
  ownerReferences:
    - apiVersion: serving.knative.dev/v1
      kind: Configuration
      name: hello
      uid: {uid}
      controller: true
spec: {{containers: [{{image: example/hello}}]}}
"
    ));
    let ready = cluster.status(REVISION, "hello-early", &[]);
    assert!(ready.contains("\nReady True"), "{ready}");
    check(
        cluster.status(KNATIVE_SERVICE, "hello", LATEST),
        &expect![[r#"
            ConfigurationsReady True
            Ready True
            RoutesReady True
            latestCreatedRevisionName: "hello-late"
            latestReadyRevisionName: "hello-late"
            url: "http://hello.default.localhost:8080"
        "#]],
    );
}

#[test]
fn a_new_revision_gets_its_traffic_gradually() {
    let mut cluster = Cluster::new();
    cluster.configure("config-network", "rollout-duration", "60");
    cluster.service("hello", "example/hello");
    cluster.service("hello", "example/hello:2");
    let mut shares = String::new();
    for _ in 0..8 {
        let routes = cluster.routes();
        let host = routes
            .lines()
            .find(|line| line.starts_with("hello.default.localhost"));
        let ready = cluster.status(KNATIVE_SERVICE, "hello", &[]);
        let ready = ready.lines().find(|line| line.starts_with("Ready"));
        shares.push_str(&format!("{} {}\n", host.unwrap(), ready.unwrap()));
        cluster.wait(Duration::from_secs(10));
    }
    check(
        shares,
        &expect![[r#"
        hello.default.localhost (External): 99% hello-00001 1% hello-00002 Ready Unknown RolloutInProgress A gradual rollout of the latest revision(s) is in progress.
        hello.default.localhost (External): 79% hello-00001 21% hello-00002 Ready Unknown RolloutInProgress A gradual rollout of the latest revision(s) is in progress.
        hello.default.localhost (External): 59% hello-00001 41% hello-00002 Ready Unknown RolloutInProgress A gradual rollout of the latest revision(s) is in progress.
        hello.default.localhost (External): 39% hello-00001 61% hello-00002 Ready Unknown RolloutInProgress A gradual rollout of the latest revision(s) is in progress.
        hello.default.localhost (External): 19% hello-00001 81% hello-00002 Ready Unknown RolloutInProgress A gradual rollout of the latest revision(s) is in progress.
        hello.default.localhost (External): 100% hello-00002 Ready True
        hello.default.localhost (External): 100% hello-00002 Ready True
        hello.default.localhost (External): 100% hello-00002 Ready True
    "#]],
    );
}

#[test]
fn what_does_not_concern_it_writes_nothing() {
    let mut cluster = Cluster::new();
    cluster.service("hello", "example/hello");
    let before = cluster.version_max();
    cluster.configure("config-observability", "unheard-of", "1");
    cluster.world.insert(
        POD,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": "other", "namespace": "default", "resourceVersion": "1",
            "annotations": {"made-by-user": "yes"},
        }}),
    );
    cluster.settle();
    assert_eq!(cluster.version_max(), before);
}

#[test]
fn several_containers_share_a_pod() {
    let mut cluster = Cluster::new();
    cluster.apply(
        "
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: hello, namespace: default}
spec:
  template:
    spec:
      timeoutSeconds: 60
      initContainers: [{name: first, image: example/init}]
      containers:
      - {name: side, image: example/side, readinessProbe: {exec: {command: ['true']}}}
      - {name: app, image: example/app, ports: [{name: h2c, containerPort: 9000}], livenessProbe: {tcpSocket: {port: 0}}}
",
    );
    let deployment = cluster.get(DEPLOYMENT, "hello-00001-deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let mut text = format!("grace {}\n", pod["terminationGracePeriodSeconds"]);
    for field in ["initContainers", "containers"] {
        for container in pod[field].as_array().unwrap() {
            let env = container["env"].as_array();
            let names = env.into_iter().flatten().filter_map(|e| e["name"].as_str());
            let own: Vec<_> = names
                .filter(|n| *n == "PORT" || n.starts_with("K_"))
                .collect();
            let port = container["ports"][0]["containerPort"].clone();
            text.push_str(&format!(
                "{} {} {own:?} port {port} readiness {} liveness {}\n",
                container["name"],
                container["image"],
                container["readinessProbe"].is_object(),
                container["livenessProbe"],
            ));
        }
    }
    check(
        text,
        &expect![[r#"
        grace 60
        "first" "example/init@sha256:1234" [] port null readiness false liveness null
        "side" "example/side@sha256:1234" ["K_REVISION", "K_CONFIGURATION", "K_SERVICE"] port null readiness true liveness null
        "app" "example/app@sha256:1234" ["K_REVISION", "K_CONFIGURATION", "K_SERVICE", "PORT"] port 9000 readiness false liveness {"tcpSocket":{"port":9000}}
        "queue-proxy" "rekindle.local/queue-proxy" [] port 8022 readiness true liveness null
    "#]],
    );
    let service = cluster.get(SERVICE, "hello-00001");
    assert_eq!(service["spec"]["ports"][0]["port"], 81);
    assert!(cluster.routes().contains("hello-00001: 1 ready"));
}

#[test]
fn a_tag_can_be_chosen_by_header() {
    let mut cluster = Cluster::new();
    cluster.configure("config-features", "tag-header-based-routing", "enabled");
    let traffic = "  traffic:
  - {latestRevision: true, percent: 100}
  - {latestRevision: true, tag: blue}
";
    cluster.apply(&service_yaml("hello", "example/hello", traffic));
    let routes = cluster.routes();
    let local = routes.lines().filter(|line| line.contains(".localhost"));
    check(
        local.collect::<Vec<_>>().join("\n"),
        &expect![[r#"
        blue-hello.default.localhost (External): 100% hello-00001
        hello.default.localhost (External): [knative-serving-tag=blue] 100% hello-00001 100% hello-00001"#]],
    );
}
