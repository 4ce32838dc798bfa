//! The roles and bindings every cluster has.

use serde_json::{Value, json};

const ALL: &[&str] = &["*"];
const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

/// Resources by group that `view` reads and `edit` writes.
const CONTENT: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "configmaps",
            "endpoints",
            "persistentvolumeclaims",
            "pods",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "serviceaccounts",
            "services",
        ],
    ),
    (
        "apps",
        &[
            "daemonsets",
            "deployments",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
        ],
    ),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("batch", &["cronjobs", "jobs"]),
    ("networking.k8s.io", &["ingresses", "networkpolicies"]),
    ("policy", &["poddisruptionbudgets"]),
];

/// What can only be looked at.
const STATUS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "bindings",
            "events",
            "limitranges",
            "namespaces",
            "namespaces/status",
            "pods/log",
            "pods/status",
            "resourcequotas",
            "resourcequotas/status",
            "services/status",
        ],
    ),
    (
        "apps",
        &[
            "controllerrevisions",
            "daemonsets/status",
            "deployments/status",
            "replicasets/status",
            "statefulsets/status",
        ],
    ),
    ("autoscaling", &["horizontalpodautoscalers/status"]),
    ("batch", &["cronjobs/status", "jobs/status"]),
    ("discovery.k8s.io", &["endpointslices"]),
    ("metrics.k8s.io", &["nodes", "pods"]),
    ("networking.k8s.io", &["ingresses/status"]),
    ("policy", &["poddisruptionbudgets/status"]),
];

/// All of them under the RBAC version `api_version`.
pub(super) fn objects(api_version: &str) -> Vec<Value> {
    let mut out = people();
    out.extend(system());
    for object in &mut out {
        object["apiVersion"] = api_version.into();
        let labels = &mut object["metadata"]["labels"];
        if !labels.is_object() {
            *labels = json!({});
        }
        labels["kubernetes.io/bootstrapping"] = "rbac-defaults".into();
        object["metadata"]["annotations"] =
            json!({"rbac.authorization.kubernetes.io/autoupdate": "true"});
    }
    out
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn role(name: &str, rules: Vec<Value>) -> Value {
    json!({"kind": "ClusterRole", "metadata": {"name": name}, "rules": rules})
}

fn paths(paths: &[&str]) -> Value {
    json!({"nonResourceURLs": paths, "verbs": ["get"]})
}

fn bind(name: &str, groups: &[&str]) -> Value {
    let subject = |group: &&str| json!({"kind": "Group", "name": group});
    json!({
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"kind": "ClusterRole", "name": name},
        "subjects": groups.iter().map(subject).collect::<Vec<_>>(),
    })
}

/// A role whose rules are those of the roles labelled `aggregate-to-LABEL`.
fn aggregate(name: &str, label: &str, also: Option<&str>) -> Value {
    let key = format!("rbac.authorization.k8s.io/aggregate-to-{label}");
    let mut role = json!({
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {key: "true"}}]},
        "rules": [],
    });
    if let Some(also) = also {
        let key = format!("rbac.authorization.k8s.io/aggregate-to-{also}");
        role["metadata"]["labels"] = json!({key: "true"});
    }
    role
}

fn part(name: &str, label: &str, rules: Vec<Value>) -> Value {
    let mut role = role(name, rules);
    let key = format!("rbac.authorization.k8s.io/aggregate-to-{label}");
    role["metadata"]["labels"] = json!({key: "true"});
    role
}

fn people() -> Vec<Value> {
    let each = |table: &[(&str, &[&str])], verbs: &[&str]| -> Vec<Value> {
        table
            .iter()
            .map(|(group, resources)| rule(group, resources, verbs))
            .collect()
    };
    let mut view = each(CONTENT, READ);
    view.extend(each(STATUS, READ));
    let mut edit = each(CONTENT, WRITE);
    let reach = [
        "pods/attach",
        "pods/exec",
        "pods/portforward",
        "pods/proxy",
        "secrets",
        "services/proxy",
    ];
    edit.push(rule("", &reach, READ));
    edit.push(rule("", &reach, WRITE));
    edit.push(rule("", &["serviceaccounts"], &["impersonate"]));
    edit.push(rule(
        "",
        &["pods/eviction", "serviceaccounts/token"],
        &["create"],
    ));
    edit.push(rule("", &["events"], WRITE));
    edit.push(rule("coordination.k8s.io", &["leases"], WRITE));
    edit.push(rule("coordination.k8s.io", &["leases"], READ));
    let admin = vec![
        rule(
            "authorization.k8s.io",
            &["localsubjectaccessreviews"],
            &["create"],
        ),
        rule(
            "rbac.authorization.k8s.io",
            &["rolebindings", "roles"],
            READ,
        ),
        rule(
            "rbac.authorization.k8s.io",
            &["rolebindings", "roles"],
            WRITE,
        ),
    ];
    vec![
        role(
            "cluster-admin",
            vec![
                rule("*", ALL, ALL),
                json!({"nonResourceURLs": ["*"], "verbs": ["*"]}),
            ],
        ),
        bind("cluster-admin", &["system:masters"]),
        aggregate("admin", "admin", None),
        aggregate("edit", "edit", Some("admin")),
        aggregate("view", "view", Some("edit")),
        part("system:aggregate-to-admin", "admin", admin),
        part("system:aggregate-to-edit", "edit", edit),
        part("system:aggregate-to-view", "view", view),
    ]
}

fn system() -> Vec<Value> {
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let health = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let reviews = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"];
    let delegator = vec![
        rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
        rule(
            "authorization.k8s.io",
            &["subjectaccessreviews"],
            &["create"],
        ),
    ];
    vec![
        role("system:discovery", vec![paths(&discovery)]),
        bind("system:discovery", &["system:authenticated"]),
        role(
            "system:service-account-issuer-discovery",
            vec![paths(&[
                "/.well-known/openid-configuration",
                "/.well-known/openid-configuration/",
                "/openid/v1/jwks",
                "/openid/v1/jwks/",
            ])],
        ),
        bind(
            "system:service-account-issuer-discovery",
            &["system:serviceaccounts"],
        ),
        role("system:public-info-viewer", vec![paths(&health)]),
        bind(
            "system:public-info-viewer",
            &["system:authenticated", "system:unauthenticated"],
        ),
        role(
            "system:basic-user",
            vec![
                rule("authorization.k8s.io", &reviews, &["create"]),
                rule(
                    "authentication.k8s.io",
                    &["selfsubjectreviews"],
                    &["create"],
                ),
            ],
        ),
        bind("system:basic-user", &["system:authenticated"]),
        role("system:auth-delegator", delegator),
        role(
            "system:monitoring",
            vec![paths(&[
                "/healthz",
                "/healthz/*",
                "/livez",
                "/livez/*",
                "/metrics",
                "/metrics/slis",
                "/readyz",
                "/readyz/*",
            ])],
        ),
        bind("system:monitoring", &["system:monitoring"]),
    ]
}
