//! `/version`, `/healthz`, `/livez`, `/readyz`, `/metrics`.

use serde_json::json;

use super::Reply;
use crate::core::Core;
use crate::request::Query;

/// The Kubernetes version whose behaviour is served.
pub const VERSION: &str = "v1.32.4";

/// The answer, if `path` is one of these.
pub(super) fn answer(core: &Core, path: &str, query: &Query) -> Option<Reply> {
    match path {
        "/version" => Some(version()),
        "/metrics" => {
            let text = core.metrics.render(&core.store);
            Some(Reply::new(
                200,
                "text/plain; version=0.0.4",
                super::Body::full(text),
            ))
        }
        "/healthz" | "/livez" | "/readyz" => Some(health(core, &path[1..], query)),
        _ => {
            let (_, check) = path[1.min(path.len())..].split_once('/')?;
            let probe = ["/healthz/", "/livez/", "/readyz/"]
                .iter()
                .any(|p| path.starts_with(p));
            let known = CHECKS.contains(&check);
            (probe && known).then(|| Reply::text(200, "ok"))
        }
    }
}

fn version() -> Reply {
    Reply::value(
        200,
        &json!({
            "major": "1",
            "minor": "32",
            "gitVersion": format!("{VERSION}+rekindle"),
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "none",
            "compiler": "rustc",
            "platform": format!("linux/{}", match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            }),
        }),
    )
}

const CHECKS: &[&str] = &["ping", "log", "etcd"];

fn health(core: &Core, probe: &str, query: &Query) -> Reply {
    let failure = core.store.failure();
    let verbose = query.all("verbose").next().is_some();
    if failure.is_none() && !verbose {
        return Reply::text(200, "ok");
    }
    let mut text = String::new();
    for check in CHECKS {
        let failed = failure.is_some() && *check == "etcd";
        let line = if failed {
            format!("[-]{check} failed: reason withheld\n")
        } else {
            format!("[+]{check} ok\n")
        };
        text.push_str(&line);
    }
    match failure {
        None => Reply::text(200, format!("{text}{probe} check passed\n")),
        Some(_) => Reply::text(500, format!("{text}{probe} check failed\n")),
    }
}
