//! Runs the rows that are asked for, side by side on one thread, and says what came of each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::json;

use crate::cluster::{CONFIG_MAPS, Cluster, SECRETS};
use crate::row::{Proof, Row};
use crate::test::{ALT_NAMESPACE, NAMESPACE, Setup, Test};

/// No test takes longer.
const TEST_MAX: Duration = Duration::from_secs(300);
const SYSTEM: &str = "knative-serving";

/// What is asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// What image names begin with.
    pub images: String,
    /// Only tests whose name contains this.
    pub only: String,
    /// The long ones too.
    pub long: bool,
    /// So many at once.
    pub at_once: usize,
}

/// What came of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not, and why.
    Failed(String),
    /// It cannot be asked, and why.
    NotApplicable(String),
    /// It was not asked this time.
    NotRun,
}

/// Prepares the cluster, runs the rows and returns their outcomes in the same order.
pub async fn run(
    client: kube::Client,
    rows: &[Row],
    options: &Options,
) -> Result<Vec<(Outcome, Duration)>> {
    let setup = Rc::new(Setup {
        cluster: Cluster::new(client),
        gateway: options.gateway,
        images: options.images.clone(),
    });
    prepare(&setup.cluster)
        .await
        .context("prepare the cluster")?;
    let asked = rows.iter().map(|row| run_row(row, &setup, options));
    let mut outcomes: Vec<_> = stream::iter(asked)
        .buffered(options.at_once.max(1))
        .collect()
        .await;
    // Knative's tests have times in them that presuppose a machine with time to spare; what failed
    // beside all the others is asked again alone, and that is what counts.
    for (row, outcome) in rows.iter().zip(&mut outcomes) {
        if matches!(outcome.0, Outcome::Failed(_)) {
            *outcome = run_row(row, &setup, options).await;
        }
    }
    Ok(conclude(rows, outcomes))
}

async fn run_row(row: &Row, setup: &Rc<Setup>, options: &Options) -> (Outcome, Duration) {
    let run = match &row.proof {
        Proof::NotApplicable(why) => {
            return (Outcome::NotApplicable((*why).to_owned()), Duration::ZERO);
        }
        Proof::Short(run) => run,
        Proof::Long(run) if options.long => run,
        Proof::Long(_) | Proof::Shown(_) => return (Outcome::NotRun, Duration::ZERO),
    };
    if !row.name.contains(&options.only) {
        return (Outcome::NotRun, Duration::ZERO);
    }
    let began = Instant::now();
    let test = Test::new(Rc::clone(setup), row.name);
    let asked = async {
        run(test.clone()).await?;
        test.clean_up().await
    };
    let outcome = match tokio::time::timeout(TEST_MAX, asked).await {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(error)) => Outcome::Failed(format!("{error:#}")),
        Err(_) => Outcome::Failed(format!("did not end within {TEST_MAX:?}")),
    };
    let took = began.elapsed();
    if outcome != Outcome::Passed {
        // Best effort: the failure itself is what is told.
        let _ = test.clean_up().await;
    }
    (outcome, took)
}

/// The sentences that other tests show.
fn conclude(rows: &[Row], mut outcomes: Vec<(Outcome, Duration)>) -> Vec<(Outcome, Duration)> {
    let known: BTreeMap<&str, Outcome> = rows
        .iter()
        .zip(&outcomes)
        .filter(|(row, _)| !matches!(row.proof, Proof::Shown(_)))
        .map(|(row, (outcome, _))| (row.name, outcome.clone()))
        .collect();
    for (row, (outcome, _)) in rows.iter().zip(&mut outcomes) {
        if let Proof::Shown(by) = row.proof {
            *outcome = together(by, &known);
        }
    }
    outcomes
}

fn together(by: &[&str], known: &BTreeMap<&str, Outcome>) -> Outcome {
    let mut sum = Outcome::Passed;
    for name in by {
        match known.get(name) {
            Some(Outcome::Passed) => {}
            Some(Outcome::Failed(_)) => return Outcome::Failed(format!("{name} failed")),
            Some(_) => sum = Outcome::NotRun,
            None => return Outcome::Failed(format!("there is no test {name}")),
        }
    }
    sum
}

/// The namespaces and objects that Knative's `test/config` makes, and the features its tests turn on.
async fn prepare(cluster: &Cluster) -> Result<()> {
    for namespace in [NAMESPACE, ALT_NAMESPACE] {
        cluster.namespace(namespace).await?;
        let config = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"testKey": "testValue"},
            "metadata": {"name": "conformance-test-configmap"},
        });
        ensure_object(cluster.create(CONFIG_MAPS, namespace, &config, "").await)?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": {"testKey": "testValue"},
            "metadata": {"name": "conformance-test-secret"},
        });
        ensure_object(cluster.create(SECRETS, namespace, &secret, "").await)?;
    }
    let settings = [
        (
            "config-features",
            json!({
                "tag-header-based-routing": "enabled",
                "kubernetes.podspec-init-containers": "enabled",
                "multi-container-probing": "enabled",
            }),
        ),
        (
            "config-autoscaler",
            json!({"allow-zero-initial-scale": "true"}),
        ),
        (
            "config-network",
            json!({"autocreate-cluster-domain-claims": "true"}),
        ),
        (
            "config-observability",
            json!({
                "logging.enable-request-log": "true", "logging.enable-probe-request-log": "true",
            }),
        ),
    ];
    for (name, data) in settings {
        let patch = json!({"data": data});
        cluster
            .merge_patch(CONFIG_MAPS, SYSTEM, name, &patch)
            .await
            .with_context(|| name.to_owned())?;
    }
    Ok(())
}

fn ensure_object(made: Result<serde_json::Value>) -> Result<()> {
    match made {
        Err(error) if crate::cluster::refusal(&error).is_none_or(|said| said.code != 409) => {
            Err(error)
        }
        _ => Ok(()),
    }
}
