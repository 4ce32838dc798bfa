//! `v1beta1`: hosts of one's own.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::cluster::DOMAIN_MAPPINGS;
use crate::draft::Draft;
use crate::row::Rows;
use crate::test::{Test, condition};

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestDomainMapping",
        "a mapping of a host to a Service serves; the same host in another namespace is refused its \
         claim until the first goes",
        domain_mapping,
    )
}

fn mapping(host: &str, service: &str) -> Draft {
    Draft(json!({
        "apiVersion": "serving.knative.dev/v1beta1", "kind": "DomainMapping",
        "metadata": {"name": host},
        "spec": {"ref": {
            "apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": service,
        }},
    }))
}

async fn domain_mapping(test: Test) -> Result<()> {
    let host = format!("{}.example.org", test.name);
    let service = test.serve(&test.draft("pizzaplanetv1")).await?;
    test.create(DOMAIN_MAPPINGS, &mapping(&host, &service.name()))
        .await?;
    let ready = test.ready(DOMAIN_MAPPINGS, &host).await?;
    let url = &ready["status"]["url"];
    let url = url.as_str().unwrap_or_default();
    ensure!(crate::web::host(url).starts_with(&host), "{url}");
    ensure!(test.fetch(&host).await? == "What a spaceport!", "its text");
    let other = test.elsewhere();
    let second = other.serve(&other.draft("pizzaplanetv2")).await?;
    other
        .create(DOMAIN_MAPPINGS, &mapping(&host, &second.name()))
        .await?;
    let refused = other
        .until(DOMAIN_MAPPINGS, &host, "refused", |object| {
            condition(object, "DomainClaimed")["status"] == "False"
        })
        .await?;
    let reason = &condition(&refused, "DomainClaimed")["reason"];
    ensure!(*reason == "DomainAlreadyClaimed", "{reason}");
    ensure!(
        test.fetch(&host).await? == "What a spaceport!",
        "still its text"
    );
    test.delete(DOMAIN_MAPPINGS, &host).await?;
    other.ready(DOMAIN_MAPPINGS, &host).await?;
    let said = other.fetch(&host).await?;
    ensure!(said.starts_with("Re-energize"), "{said}");
    other.delete(DOMAIN_MAPPINGS, &host).await
}
