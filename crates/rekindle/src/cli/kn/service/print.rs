//! `rekindle service describe`.

use serde_json::Value;

use super::super::show;

/// A Service and its Revisions, as kn shows them: those with traffic or a tag, the newest first.
pub(super) fn describe(service: &Value, revisions: &[Value]) -> String {
    let mut rows = show::head(service);
    rows.push(show::row("URL:", show::text(&service["status"]["url"])));
    let address = show::text(&service["status"]["address"]["url"]);
    if !address.is_empty() {
        rows.push(show::row("Address:", address));
    }
    let account = show::text(&service["spec"]["template"]["spec"]["serviceAccountName"]);
    if !account.is_empty() {
        rows.push(show::row("Service Account:", account));
    }
    rows.push(vec![String::new()]);
    rows.push(vec!["Revisions:".to_owned()]);
    let targets = service["status"]["traffic"].as_array();
    for target in targets.into_iter().flatten() {
        rows.extend(share(target, revisions));
    }
    show::page(&rows, service)
}

/// The lines of one share of the traffic.
fn share(target: &Value, revisions: &[Value]) -> Vec<Vec<String>> {
    let name = show::text(&target["revisionName"]);
    let percent = match target["percent"].as_i64().unwrap_or(0) {
        0 => "   +".to_owned(),
        percent => format!("{percent:3}%"),
    };
    let revision = revisions
        .iter()
        .find(|revision| show::name(revision) == name);
    let mut title = match target["latestRevision"] == true {
        true => format!("@latest ({name})"),
        false => name,
    };
    if let Some(tag) = target["tag"].as_str() {
        title.push_str(&format!(" #{tag}"));
    }
    let Some(revision) = revision else {
        return vec![show::row(&format!(" {percent}"), title)];
    };
    let generation = &revision["metadata"]["labels"]["serving.knative.dev/configurationGeneration"];
    let generation = show::text(generation);
    title.push_str(&format!(" [{generation}] ({})", show::age(revision)));
    let mut rows = vec![show::row(&format!(" {percent}"), title)];
    let indented = |key: &str, value: String| vec![String::new(), format!("{key:<10}{value}")];
    rows.push(indented("Image:", image(revision)));
    rows.push(indented("Replicas:", replicas(revision)));
    rows
}

/// The image as written, and the digest it is pinned to.
pub(in super::super) fn image(revision: &Value) -> String {
    let written = show::text(&revision["spec"]["containers"][0]["image"]);
    let digest = show::text(&revision["status"]["containerStatuses"][0]["imageDigest"]);
    match digest.split_once("@sha256:") {
        Some((_, hash)) if !written.contains('@') => {
            let short = hash.get(..6).unwrap_or(hash);
            format!("{written} (pinned to {short})")
        }
        _ => written,
    }
}

/// `1/2`: ready of wanted.
pub(in super::super) fn replicas(revision: &Value) -> String {
    let number = |field: &str| revision["status"][field].as_i64().unwrap_or(0);
    format!("{}/{}", number("actualReplicas"), number("desiredReplicas"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_split_service() {
        let service = json!({
            "metadata": {"name": "hello", "namespace": "default", "labels": {"a": "b"}},
            "status": {
                "url": "http://hello.default.localhost",
                "traffic": [
                    {"latestRevision": true, "revisionName": "hello-00002", "percent": 80},
                    {"revisionName": "hello-00001", "percent": 20, "tag": "old"},
                ],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        let revision = json!({
            "metadata": {
                "name": "hello-00002",
                "labels": {"serving.knative.dev/configurationGeneration": "2"},
            },
            "spec": {"containers": [{"image": "example/hello"}]},
            "status": {
                "actualReplicas": 1,
                "desiredReplicas": 2,
                "containerStatuses": [{"imageDigest": "example/hello@sha256:0123456789"}],
            },
        });
        expect![[r#"
            Name:        hello
            Namespace:   default
            Labels:      a=b
            Age:
            URL:         http://hello.default.localhost

            Revisions:
              80%        @latest (hello-00002) [2] ()
                         Image:    example/hello (pinned to 012345)
                         Replicas: 1/2
              20%        hello-00001 #old

            Conditions:
              OK TYPE    AGE   REASON
              ++ Ready
        "#]]
        .assert_eq(&describe(&service, &[revision]));
    }
}
