//! Following a Build: the log of each step as it is written, a line between steps, until the Build
//! has ended.

use std::time::{Duration, Instant};

use ::build::STEP_PREFIX;
use anyhow::{Context, Result};
use futures_util::io::AsyncReadExt;
use futures_util::pin_mut;
use serde_json::Value;

use super::builds;
use crate::cli::client::Api;
use crate::cli::output;

/// Between two looks at the Build or its Pod.
const PAUSE: Duration = Duration::from_millis(100);

/// Shows a Build to its end, and why it failed if it did.
pub(super) async fn logs(api: &Api, name: &str) -> Result<()> {
    let build = follow(api, name).await?;
    if succeeded(&build) == "True" {
        return Ok(());
    }
    output::line(&end(&build))?;
    match pod(api, &build).await? {
        Some(_) => Ok(()),
        None => output::line("Its Pod is gone, and what its steps wrote with it."),
    }
}

/// How a Build ended, in one line.
pub(super) fn end(build: &Value) -> String {
    let condition = &build["status"]["conditions"][0];
    let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    let name = build["metadata"]["name"].as_str().unwrap_or_default();
    format!("Build {name}: {}: {}", text("reason"), text("message"))
}

/// Shows a Build to its end; gives it as it is then.
pub(super) async fn follow(api: &Api, name: &str) -> Result<Value> {
    let path = builds().path(&api.namespace, Some(name));
    let begun = Instant::now();
    let mut shown = 0;
    let mut said = String::new();
    loop {
        let build = api.get(&path).await?;
        let has_ended = ["True", "False"]
            .iter()
            .any(|end| succeeded(&build) == *end);
        if let Some(pod) = pod(api, &build).await? {
            shown = steps(api, &pod, shown, begun).await?;
        }
        if has_ended {
            return Ok(build);
        }
        let message = build["status"]["conditions"][0]["message"].as_str();
        let message = message.unwrap_or_default();
        if message != said && !message.is_empty() {
            output::line(&format!("{:7.3}s {message}", begun.elapsed().as_secs_f64()))?;
            said = message.to_owned();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn succeeded(build: &Value) -> &str {
    build["status"]["conditions"][0]["status"]
        .as_str()
        .unwrap_or_default()
}

/// The Build's Pod; a Build that was stopped has none any more.
async fn pod(api: &Api, build: &Value) -> Result<Option<Value>> {
    let Some(name) = build["status"]["cluster"]["podName"].as_str() else {
        return Ok(None);
    };
    api.find(&pod_path(api, name)).await
}

fn pod_path(api: &Api, name: &str) -> String {
    format!("/api/v1/namespaces/{}/pods/{name}", api.namespace)
}

/// Shows the steps behind the first `shown` that have begun; gives how many are shown now. The log
/// of a step that runs is followed to its end.
async fn steps(api: &Api, pod: &Value, shown: usize, begun: Instant) -> Result<usize> {
    let statuses = pod["status"]["initContainerStatuses"].as_array();
    let mut count = shown;
    for status in statuses.into_iter().flatten().skip(shown) {
        let state = &status["state"];
        if !state["running"].is_object() && !state["terminated"].is_object() {
            break;
        }
        let container = status["name"].as_str().unwrap_or_default();
        let step = container.strip_prefix(STEP_PREFIX).unwrap_or(container);
        output::line(&format!("{:7.3}s [{step}]", begun.elapsed().as_secs_f64()))?;
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        copy(
            api,
            &format!(
                "{}/log?container={container}&follow=true",
                pod_path(api, name)
            ),
        )
        .await
        .with_context(|| format!("read the log of step {step}"))?;
        count += 1;
    }
    Ok(count)
}

async fn copy(api: &Api, path: &str) -> Result<()> {
    let stream = api.stream(path).await?;
    pin_mut!(stream);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        output::print(&String::from_utf8_lossy(&buffer[..count]))?;
    }
}
