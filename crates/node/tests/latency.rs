//! How long from the decision to run a Pod to its first answer. Not a test of a bound: it prints
//! what this machine does. `cargo test --release -p node --test latency -- --ignored --nocapture`

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::{IMAGE, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ROUNDS: usize = 100;
/// The pools fill again between two rounds.
const PAUSE: Duration = Duration::from_millis(150);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_micros(100);

async fn first_answer(node: &node::Node, uid: &str) -> std::io::Result<()> {
    let mut request = loop {
        let Some(dialer) = node.dialer(uid) else {
            tokio::task::yield_now().await;
            continue;
        };
        match dialer.connect(([127, 0, 0, 1], 8080).into()).await {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(RETRY),
        }
    };
    request.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = Vec::new();
    request.read_to_end(&mut answer).await.map(drop)
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!(
        "{what}: p50 {:?} p90 {:?} p99 {:?} of {}",
        at(50),
        at(90),
        at(99),
        times.len()
    );
}

#[test]
#[ignore = "a measurement"]
fn from_decision_to_first_answer() {
    run(|mut world| async move {
        let (mut running, mut answered) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            tokio::time::sleep(PAUSE).await;
            let name = format!("p{round}");
            let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [
                {"name": "a", "image": IMAGE, "env": [{"name": "PORT", "value": "8080"}]}]});
            let begin = Instant::now();
            let pod = world.run(&name, spec);
            let uid = pod.metadata.uid.clone().expect("a UID");
            first_answer(&world.node, &uid).await.expect("an answer");
            answered.push(begin.elapsed());
            world.wait_ready(&name).await;
            running.push(begin.elapsed());
            world.delete(&pod);
            world.wait_gone(&name).await;
        }
        report("decision to first answer", answered);
        report("decision to Ready seen after it", running);
    });
}
