//! How long things take. Not checks: run with
//! `cargo test --release -p node measure -- --ignored --nocapture --test-threads=1`.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const SERVICE_IP: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 7);

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    eprintln!(
        "{what}: p50 {:?}, p95 {:?}, p99 {:?}",
        at(50),
        at(95),
        at(99)
    );
}

#[test]
#[ignore = "measures"]
fn measure_take_and_release() {
    isolated(|| async {
        let directory = tempfile::tempdir().expect("a directory");
        let network = Network::start(NetConfig {
            ready: 8,
            ..config(directory.path())
        });
        let network = network.expect("a network");
        let (mut taken, mut entered) = (Vec::new(), Vec::new());
        let mut pods = Vec::new();
        for _ in 0..200 {
            while network.ready() < 8 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let begin = Instant::now();
            let pod = network.take().await.expect("a Pod network");
            taken.push(begin.elapsed());
            let begin = Instant::now();
            in_netns(pod.netns(), || ()).expect("in");
            entered.push(begin.elapsed());
            pods.push(pod);
        }
        show("take from stock", taken);
        show("in and out of a namespace", entered);
        let mut made = Vec::new();
        let begin = Instant::now();
        for _ in 0..200 {
            let begin = Instant::now();
            pods.push(network.take().await.expect("a Pod network"));
            made.push(begin.elapsed());
        }
        eprintln!("200 more at once: {:?}", begin.elapsed());
        show("take without stock", made);
        let begin = Instant::now();
        let count = pods.len();
        pods.into_iter().for_each(|pod| network.release(pod));
        network.stop().expect("a clean stop");
        eprintln!("{count} released, bridge gone: {:?}", begin.elapsed());
    });
}

/// Answers one byte with one byte, for ever; a first byte of 1 asks for as many bytes as follow.
async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut buffer = vec![0; 256 * 1024];
            while let Ok(length) = stream.read(&mut buffer).await {
                if length == 0 || (length == 1 && stream.write_all(&[0]).await.is_err()) {
                    return;
                }
            }
        });
    }
}

async fn measure_path(what: &str, to: (Ipv4Addr, u16)) {
    let mut once = Vec::new();
    for _ in 0..2000 {
        let begin = Instant::now();
        let mut stream = TcpStream::connect(to).await.expect("connects");
        stream.write_all(&[0]).await.expect("write");
        stream.read_exact(&mut [0]).await.expect("read");
        once.push(begin.elapsed());
    }
    show(&format!("{what}: connect and one exchange"), once);
    let mut stream = TcpStream::connect(to).await.expect("connects");
    stream.set_nodelay(true).expect("set");
    let mut exchanges = Vec::new();
    for _ in 0..5000 {
        let begin = Instant::now();
        stream.write_all(&[0]).await.expect("write");
        stream.read_exact(&mut [0]).await.expect("read");
        exchanges.push(begin.elapsed());
    }
    show(&format!("{what}: one exchange"), exchanges);
    let chunk = vec![0; 256 * 1024];
    let (begin, count) = (Instant::now(), 4 * 1024);
    for _ in 0..count {
        stream.write_all(&chunk).await.expect("write");
    }
    stream.shutdown().await.expect("shutdown");
    let _ = stream.read(&mut [0]).await;
    let bytes = (chunk.len() * count) as f64;
    eprintln!(
        "{what}: {:.2} GB/s",
        bytes / begin.elapsed().as_secs_f64() / 1e9
    );
}

#[test]
#[ignore = "measures"]
fn measure_services() {
    isolated(|| async {
        let directory = tempfile::tempdir().expect("a directory");
        let network = Network::start(config(directory.path())).expect("a network");
        let pod = network.take().await.expect("a Pod network");
        let listener = in_netns(pod.netns(), || std::net::TcpListener::bind((pod.ip(), 80)));
        let listener = listener.expect("in").expect("bind");
        listener.set_nonblocking(true).expect("nonblocking");
        let netns = pod.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let _netns = netns;
                serve(TcpListener::from_std(listener).expect("a listener")).await;
            });
        });
        measure_path("direct", (pod.ip(), 80)).await;
        let rules = firewall::Rules {
            forwarder: Some(std::net::SocketAddrV4::new(pod.ip(), 80)),
            ..network.rules()
        };
        rules.install().expect("installed");
        measure_path("translated by the kernel", (SERVICE_IP, 80)).await;
        let services = Services::default();
        let port = ServicePort {
            port: 80,
            endpoints: vec![(pod.ip(), 80).into()],
            ..ServicePort::default()
        };
        services.apply(ServiceChange::Upsert(Service {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            cluster_ip: Some(SERVICE_IP),
            ports: vec![port],
            ..Service::default()
        }));
        let _proxy = ServiceProxy::start(&network, services)
            .await
            .expect("a proxy");
        measure_path("forwarder", (SERVICE_IP, 80)).await;
        network.release(pod);
        network.stop().expect("a clean stop");
    });
}
