//! `rekindle domain`: names of one's own for Services.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::client::{Api, Verbs};
use super::super::output;
use super::{Listing, Names, Noun, Shown, show};

const DOMAIN: Noun = Noun {
    title: "Domain mapping",
    kind: "DomainMapping",
    group_version: "serving.knative.dev/v1beta1",
    plural: "domainmappings",
    columns: &[
        ("NAME", show::name),
        ("URL", |domain| show::text(&domain["status"]["url"])),
        ("READY", show::is_ready),
        ("KSVC", |domain| show::text(&domain["spec"]["ref"]["name"])),
    ],
};

/// A verb, and where.
pub(crate) type Flags = Verbs<Verb>;

/// What a domain stands for.
#[derive(Args, Debug)]
pub(crate) struct Spec {
    /// The domain.
    name: String,
    /// `ksvc:NAME`, `kroute:NAME`, `svc:NAME`, or the name of a Knative Service.
    #[arg(long)]
    r#ref: String,
    /// The Secret with its certificate.
    #[arg(long)]
    tls: Option<String>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Give a Service a domain of one's own.
    Create(Spec),
    /// Have a domain stand for something else.
    Update(Spec),
    /// List domains.
    List(Listing),
    /// Show one domain.
    Describe(Shown),
    /// Delete domains.
    Delete(Names),
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let api = flags.target.connect().await?;
    match flags.verb {
        Verb::Create(spec) => {
            let mut domain = DOMAIN.object(&api.namespace, &spec.name);
            shape(&api, &mut domain, &spec)?;
            DOMAIN.create(&api, &domain).await
        }
        Verb::Update(spec) => {
            let mut domain = api.get(&DOMAIN.path(&api, Some(&spec.name))).await?;
            shape(&api, &mut domain, &spec)?;
            DOMAIN.update(&api, &domain).await
        }
        Verb::List(listing) => DOMAIN.list(&api, &listing).await,
        Verb::Describe(shown) => {
            let Some(domain) = DOMAIN.shown(&api, &shown).await? else {
                return Ok(());
            };
            let mut rows = show::head(&domain);
            rows.push(show::row("URL:", show::text(&domain["status"]["url"])));
            rows.push(vec![String::new()]);
            rows.push(vec!["Reference:".to_owned()]);
            for (title, field) in [
                ("  APIVersion:", "apiVersion"),
                ("  Kind:", "kind"),
                ("  Name:", "name"),
            ] {
                let value = show::text(&domain["spec"]["ref"][field]);
                rows.push(show::row(title, value));
            }
            output::print(&show::page(&rows, &domain))
        }
        Verb::Delete(names) => DOMAIN.delete(&api, &names).await,
    }
}

fn shape(api: &Api, domain: &mut Value, spec: &Spec) -> Result<()> {
    let (api_version, kind, name) = reference(&spec.r#ref)?;
    domain["spec"]["ref"] = json!({
        "apiVersion": api_version,
        "kind": kind,
        "name": name,
        "namespace": api.namespace,
    });
    if let Some(secret) = &spec.tls {
        domain["spec"]["tls"] = json!({"secretName": secret});
    }
    Ok(())
}

/// API version, kind and name of what `text` names.
fn reference(text: &str) -> Result<(&'static str, &'static str, &str)> {
    let (prefix, name) = text.split_once(':').unwrap_or(("ksvc", text));
    let (api_version, kind) = match prefix {
        "ksvc" => ("serving.knative.dev/v1", "Service"),
        "kroute" => ("serving.knative.dev/v1", "Route"),
        "svc" => ("v1", "Service"),
        _ => bail!("--ref {text}: ksvc:NAME, kroute:NAME or svc:NAME"),
    };
    if name.is_empty() {
        bail!("--ref {text}: the name is missing");
    }
    Ok((api_version, kind, name))
}

#[cfg(test)]
mod tests {
    use super::reference;

    #[test]
    fn references_have_a_prefix() {
        let of = |text| reference(text).map_err(|error| error.to_string());
        assert_eq!(of("a"), Ok(("serving.knative.dev/v1", "Service", "a")));
        assert_eq!(of("kroute:a"), Ok(("serving.knative.dev/v1", "Route", "a")));
        assert_eq!(of("svc:a"), Ok(("v1", "Service", "a")));
        assert!(of("pod:a").unwrap_err().contains("ksvc:NAME"));
        assert!(of("ksvc:").unwrap_err().contains("missing"));
    }
}
