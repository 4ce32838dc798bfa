//! The Ingress of a Route.

use api::annotation;
use api::config::Network;
use api::networking::{
    DEFAULT_ROUTE_HEADER, INGRESS_CLASS, NAMESPACE_HEADER, REVISION_HEADER, ROLLOUT,
    SERVICE_H2C_PORT, SERVICE_HTTP_PORT, TAG_HEADER,
};
use api::object::ObjectExt;
use api::serving;
use api::world::INGRESS;
use serde_json::{Value, json};

use super::Parts;
use super::gradual;
use super::traffic::{Target, Targets};
use crate::plan::config::Config;
use crate::plan::tls::{challenge_paths, http_option};
use crate::route::rollout::Rollout;
use api::draft::{Draft, set_or_remove, strings};

/// The Ingress as it should be.
pub(super) struct Wanted {
    pub(super) object: Value,
    /// How far new Revisions have got.
    pub(super) rollout: Rollout,
}

/// Works the Ingress out.
pub(super) fn wanted(draft: &mut Draft<'_>, parts: &Parts<'_>, have: Option<&Value>) -> Wanted {
    let Parts {
        targets,
        domains,
        network,
        tls,
    } = *parts;
    let rollout = gradual::reconcile(draft, targets, network, have);
    let features = Config::read(draft.cx, draft.world, "features");
    let by_header = features.is_on("tag-header-based-routing");
    let mut rules = Vec::new();
    for tag in targets.groups.keys() {
        let paths = paths(draft, targets, &rollout, tag, by_header);
        let local = expanded(domains.local(tag), &draft.cx.cluster_domain);
        rules.push(rule("ClusterLocal", &local, &paths));
        if let Some(host) = domains.external(tag) {
            let mut all = challenge_paths(&tls.challenges, host);
            all.extend(paths.as_array().into_iter().flatten().cloned());
            rules.push(rule("ExternalIP", &[host.to_owned()], &json!(all)));
        }
    }
    let mut spec = json!({"httpOption": http_option(&draft.object, network), "rules": rules});
    let entries = (!tls.entries.is_empty()).then(|| json!(tls.entries));
    set_or_remove(&mut spec, "tls", entries);
    let object = json!({
        "apiVersion": INGRESS.api_version(),
        "kind": INGRESS.kind,
        "metadata": metadata(draft, network, &rollout),
        "spec": spec,
    });
    Wanted { object, rollout }
}

fn metadata(draft: &Draft<'_>, network: &Network, rollout: &Rollout) -> Value {
    let route = &draft.object;
    let labels = strings(
        &route["metadata"]["labels"],
        &[],
        &[
            (serving::ROUTE, route.name()),
            (serving::ROUTE_NAMESPACE, route.namespace()),
        ],
    );
    let class = annotation::get(route, INGRESS_CLASS);
    let class = class.map_or(network.ingress_class.as_str(), |(_, class)| class);
    let excluded = [serving::LAST_APPLIED, INGRESS_CLASS[1], ROLLOUT];
    let annotations = strings(
        &route["metadata"]["annotations"],
        &excluded,
        &[
            (INGRESS_CLASS[0], class),
            (ROLLOUT, &rollout.to_annotation()),
        ],
    );
    draft.child_meta(route.name(), labels, annotations)
}

fn rule(visibility: &str, hosts: &[String], paths: &Value) -> Value {
    json!({"hosts": hosts, "visibility": visibility, "http": {"paths": paths}})
}

/// The ways a host inside the cluster is written.
pub(super) fn expanded(host: &str, cluster_domain: &str) -> Vec<String> {
    let short = host.strip_suffix(&format!(".{cluster_domain}"));
    let shortest = short.and_then(|host| host.strip_suffix(".svc"));
    [shortest, short, Some(host)]
        .into_iter()
        .flatten()
        .map(str::to_owned)
        .collect()
}

fn paths(
    draft: &Draft<'_>,
    targets: &Targets,
    rollout: &Rollout,
    tag: &str,
    by_header: bool,
) -> Value {
    let splits = |tag: &str| {
        let group = targets.groups.get(tag).map_or(&[][..], Vec::as_slice);
        splits(draft, rollout, tag, group)
    };
    let mut path = json!({"splits": splits(tag)});
    if !by_header {
        return json!([path]);
    }
    let mut paths = Vec::new();
    if tag.is_empty() {
        path["appendHeaders"] = json!({DEFAULT_ROUTE_HEADER: "true"});
        let tags = targets.groups.keys().filter(|tag| !tag.is_empty());
        paths.extend(tags.map(|tag| {
            json!({
                "headers": {TAG_HEADER: {"exact": tag}},
                "splits": splits(tag),
            })
        }));
    } else {
        // Who looks at the header finds it however the tag was chosen.
        path["appendHeaders"] = json!({TAG_HEADER: tag});
    }
    paths.push(path);
    json!(paths)
}

fn splits(draft: &Draft<'_>, rollout: &Rollout, tag: &str, group: &[Target]) -> Vec<Value> {
    let all = group.iter().flat_map(|target| {
        let shares = gradual::shares(rollout, tag, target);
        shares.into_iter().map(move |share| (target.h2c, share))
    });
    all.map(|(h2c, (revision, percent))| {
        json!({
            "serviceNamespace": draft.namespace(),
            "serviceName": revision,
            "servicePort": if h2c { SERVICE_H2C_PORT } else { SERVICE_HTTP_PORT },
            "percent": percent,
            "appendHeaders": {
                NAMESPACE_HEADER: draft.namespace(),
                REVISION_HEADER: revision,
            },
        })
    })
    .collect()
}
