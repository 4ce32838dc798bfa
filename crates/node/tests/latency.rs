//! How long from the decision to run a Pod to its first answer. Not a test of a bound: it prints
//! what this machine does. `cargo test --release -p node --test latency -- --ignored --nocapture`

#![allow(clippy::print_stdout)]

mod support;

use std::time::{Duration, Instant};

use node::Dialer;
use serde_json::json;
use support::{IMAGE, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ROUNDS: usize = 100;
/// The pools fill again between two rounds.
const PAUSE: Duration = Duration::from_millis(150);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_micros(100);

/// The first answer of a server at 127.0.0.1, and when it could first be dialled.
async fn first_answer(dial: impl Fn() -> Option<Dialer>, port: u16) -> std::io::Result<Instant> {
    let dialer = loop {
        match dial() {
            Some(dialer) => break dialer,
            None => tokio::time::sleep(Duration::ZERO).await,
        }
    };
    let dialled = Instant::now();
    let mut request = loop {
        match dialer.connect(([127, 0, 0, 1], port).into()).await {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(RETRY),
        }
    };
    request.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = Vec::new();
    request.read_to_end(&mut answer).await?;
    Ok(dialled)
}

/// The floor: the same server as a plain child process.
async fn plain(times: &mut Vec<Duration>) {
    let begin = Instant::now();
    let mut command = std::process::Command::new(support::server());
    command
        .env("PORT", "18080")
        .stdout(std::process::Stdio::null());
    let mut child = command.spawn().expect("spawn");
    first_answer(|| Some(Dialer::machine()), 18080)
        .await
        .expect("an answer");
    times.push(begin.elapsed());
    child.kill().expect("kill");
    child.wait().expect("wait");
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
        let (mut floor, mut grounded) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            tokio::time::sleep(PAUSE).await;
            plain(&mut floor).await;
            let name = format!("p{round}");
            let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [
                {"name": "a", "image": IMAGE, "env": [{"name": "PORT", "value": "8080"}]}]});
            let begin = Instant::now();
            let pod = world.run(&name, spec);
            let uid = pod.metadata.uid.clone().expect("a UID");
            let dialled = first_answer(|| world.node.dialer(&uid), 8080)
                .await
                .expect("an answer");
            answered.push(begin.elapsed());
            grounded.push(dialled - begin);
            world.wait_ready(&name).await;
            running.push(begin.elapsed());
            world.delete(&pod);
            world.wait_gone(&name).await;
        }
        report("plain process to first answer", floor);
        report("decision to network", grounded);
        report("decision to first answer", answered);
        report("decision to Ready seen after it", running);
    });
}
