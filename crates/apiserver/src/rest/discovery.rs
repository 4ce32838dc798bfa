//! What is served, for kubectl and client libraries: the legacy documents and the aggregated one.

use http::header::HeaderName;
use serde_json::{Value, json};

use super::Reply;
use crate::request::Accept;
use crate::resource::{Group, Resource, Table, Version, join_version};

/// The document at `path`, if it is one of discovery's.
pub(super) fn answer(table: &Table, path: &str, accept: &Accept) -> Option<Reply> {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let document = match &*segments {
        [] => json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics",
            "/openapi/v2", "/openapi/v3", "/readyz", "/version"]}),
        [root @ ("api" | "apis")] => match &accept.discovery {
            Some(version) => return Some(aggregated(table, *root == "api", version)),
            None if *root == "api" => api_versions(),
            None => groups(table),
        },
        ["api", version] => resources(table.version("", version)?, ""),
        ["apis", name] => group(
            table.group(name).filter(|group| !group.name.is_empty())?,
            true,
        ),
        ["apis", name, version] => resources(table.version(name, version)?, name),
        _ => return None,
    };
    Some(Reply::value(200, &document))
}

fn api_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
    })
}

fn groups(table: &Table) -> Value {
    let named = table.groups.iter().filter(|group| !group.name.is_empty());
    let groups: Vec<_> = named.map(|named| group(named, false)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group(group: &Group, typed: bool) -> Value {
    let version = |version: &Version| {
        json!({
            "groupVersion": join_version(&group.name, &version.name),
            "version": version.name,
        })
    };
    let versions: Vec<_> = group.versions.iter().map(version).collect();
    let mut out = json!({
        "name": group.name,
        "preferredVersion": versions.first(),
        "versions": versions,
    });
    if typed {
        out["kind"] = "APIGroup".into();
        out["apiVersion"] = "v1".into();
    }
    out
}

fn resources(version: &Version, group: &str) -> Value {
    let mut resources = Vec::new();
    for resource in &version.resources {
        resources.push(legacy(resource));
        for subresource in &resource.subresources {
            let Subresource {
                group,
                version,
                kind,
                verbs,
            } = subresource_of(resource, subresource);
            let mut entry = json!({
                "name": format!("{}/{subresource}", resource.plural),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": kind,
                "verbs": verbs,
            });
            if (group, version) != (&*resource.group, &*resource.version) {
                entry["group"] = group.into();
                entry["version"] = version.into();
            }
            resources.push(entry);
        }
    }
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": join_version(group, &version.name),
        "resources": resources,
    })
}

fn legacy(resource: &Resource) -> Value {
    let mut out = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        out["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        out["categories"] = json!(resource.categories);
    }
    if resource.verbs.contains(&"list") && resource.group != "metrics.k8s.io" {
        out["storageVersionHash"] = storage_hash(resource).into();
    }
    out
}

/// Tells clients when objects have to be read anew after a change of the storage version.
fn storage_hash(resource: &Resource) -> String {
    use base64::Engine;
    use sha2::Digest;
    let text = format!(
        "{}/{}/{}",
        resource.group, resource.storage_version, resource.kind
    );
    base64::engine::general_purpose::STANDARD.encode(&sha2::Sha256::digest(text)[..8])
}

struct Subresource<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    verbs: &'static [&'static str],
}

fn subresource_of<'a>(resource: &'a Resource, subresource: &str) -> Subresource<'a> {
    const CHANGE: &[&str] = &["get", "patch", "update"];
    const CREATE: &[&str] = &["create"];
    const STREAM: &[&str] = &["create", "get"];
    const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
    let own = (&*resource.group, &*resource.version);
    let ((group, version), kind, verbs) = match subresource {
        "scale" => (("autoscaling", "v1"), "Scale", CHANGE),
        "eviction" => (("policy", "v1"), "Eviction", CREATE),
        "binding" => (("", "v1"), "Binding", CREATE),
        "token" => (("authentication.k8s.io", "v1"), "TokenRequest", CREATE),
        "log" => (own, &*resource.kind, &["get"][..]),
        "exec" => (own, "PodExecOptions", STREAM),
        "attach" => (own, "PodAttachOptions", STREAM),
        "portforward" => (own, "PodPortForwardOptions", STREAM),
        "proxy" if resource.kind == "Pod" => (own, "PodProxyOptions", PROXY),
        "proxy" if resource.kind == "Service" => (own, "ServiceProxyOptions", PROXY),
        "proxy" => (own, "NodeProxyOptions", PROXY),
        "finalize" => (own, &*resource.kind, &["update"][..]),
        _ => (own, &*resource.kind, CHANGE),
    };
    Subresource {
        group,
        version,
        kind,
        verbs,
    }
}

fn aggregated(table: &Table, core: bool, version: &str) -> Reply {
    let groups = table
        .groups
        .iter()
        .filter(|group| group.name.is_empty() == core);
    let items: Vec<_> = groups.map(aggregated_group).collect();
    let document = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    });
    let content_type =
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    let body = super::view::encode(&document);
    let tag = format!(
        "\"{}\"",
        hex::encode_upper(<sha2::Sha256 as sha2::Digest>::digest(&body))
    );
    Reply::new(200, &content_type, super::Body::full(body))
        .with_header(http::header::ETAG, tag)
        .with_header(HeaderName::from_static("vary"), "Accept")
}

fn aggregated_group(group: &Group) -> Value {
    let version = |version: &Version| {
        let resources: Vec<_> = version
            .resources
            .iter()
            .map(|r| aggregated_resource(r))
            .collect();
        json!({"version": version.name, "resources": resources, "freshness": "Current"})
    };
    let versions: Vec<_> = group.versions.iter().map(version).collect();
    let metadata = match &*group.name {
        "" => json!({"creationTimestamp": null}),
        name => json!({"name": name, "creationTimestamp": null}),
    };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut out = json!({
        "resource": resource.plural,
        "responseKind": kind(&resource.group, &resource.version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        out["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        out["categories"] = json!(resource.categories);
    }
    let subresources: Vec<_> = resource
        .subresources
        .iter()
        .map(|name| {
            let of = subresource_of(resource, name);
            json!({
                "subresource": name,
                "responseKind": kind(of.group, of.version, of.kind),
                "verbs": of.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        out["subresources"] = json!(subresources);
    }
    out
}
