//! Services for real: from Pods and from the node, TCP and UDP, with and without nf_tables.

use std::net::{Ipv4Addr, UdpSocket as StdUdpSocket};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::*;

const SERVICE_IP: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 7);

/// A server in a Pod that reads to the end and then answers with its address and what it read.
fn echo_in(pod: &PodNet) -> SocketAddr {
    let address = (pod.ip(), 0);
    let listener = in_netns(pod.netns(), || std::net::TcpListener::bind(address));
    let listener = listener.expect("in").expect("bind");
    listener.set_nonblocking(true).expect("nonblocking");
    let listener = TcpListener::from_std(listener).expect("a listener");
    let own = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut said = Vec::new();
                stream.read_to_end(&mut said).await.expect("read");
                stream
                    .write_all(own.ip().to_string().as_bytes())
                    .await
                    .expect("write");
                stream.write_all(b" ").await.expect("write");
                stream.write_all(&said).await.expect("write");
            });
        }
    });
    own
}

/// Says a word, closes that direction, and returns what comes back; or the error.
async fn say(from: Option<&PodNet>, to: (Ipv4Addr, u16), word: &[u8]) -> String {
    let socket = || tokio::net::TcpSocket::new_v4().expect("a socket");
    let socket = match from {
        Some(pod) => in_netns(pod.netns(), socket).expect("in"),
        None => socket(),
    };
    let talk = async {
        let mut stream = socket.connect(to.into()).await?;
        stream.write_all(word).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    match tokio::time::timeout(Duration::from_secs(5), talk).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => format!("{:?}", error.kind()),
        Err(_) => "timeout".to_owned(),
    }
}

fn upsert(services: &Services, endpoints: Vec<SocketAddr>, change: impl FnOnce(&mut Service)) {
    let port = ServicePort {
        port: 80,
        node_port: Some(30_080),
        endpoints,
        ..ServicePort::default()
    };
    let mut service = Service {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
        cluster_ip: Some(SERVICE_IP),
        ports: vec![port],
        ..Service::default()
    };
    change(&mut service);
    services.apply(ServiceChange::Upsert(service));
}

/// Repeats until the answer is this one; changes of the table reach listeners in the background.
async fn becomes(expected: &str, from: Option<&PodNet>, to: (Ipv4Addr, u16)) {
    let mut answer = String::new();
    for _ in 0..1000 {
        answer = say(from, to, b"x").await;
        if answer == expected {
            return;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(answer, expected);
}

async fn check_tcp(network: &Network, services: &Services) {
    let (a, b) = (
        network.take().await.expect("a"),
        network.take().await.expect("b"),
    );
    let endpoint = echo_in(&a);
    upsert(services, vec![endpoint], |_| {});
    let service = (SERVICE_IP, 80);
    let expected = format!("{} x", a.ip());
    becomes(&expected, None, service).await;
    becomes(&expected, Some(&b), service).await;
    // A Pod reaches itself through its own Service.
    becomes(&expected, Some(&a), service).await;
    becomes(&expected, None, (network.gateway(), 30_080)).await;
    becomes(&expected, Some(&b), (network.gateway(), 30_080)).await;

    let long = vec![b'y'; 3_000_000];
    assert_eq!(
        say(Some(&b), service, &long).await.len(),
        long.len() + expected.len() - 1
    );

    let dead = SocketAddr::new(IpAddr::V4(b.ip()), 9);
    upsert(services, vec![dead, endpoint, dead], |_| {});
    for _ in 0..8 {
        assert_eq!(
            say(None, service, b"x").await,
            expected,
            "a refusal is not the client's"
        );
    }
    upsert(services, vec![], |_| {});
    assert_eq!(say(None, service, b"").await, "ConnectionReset");

    let other = echo_in(&b);
    upsert(services, vec![endpoint, other], |s| {
        s.affinity = Some(Duration::from_secs(60))
    });
    let first = say(None, service, b"x").await;
    for _ in 0..8 {
        assert_eq!(say(None, service, b"x").await, first);
    }
    [a, b].into_iter().for_each(|pod| network.release(pod));
}

#[test]
fn tcp_services_work_from_pods_and_from_the_node() {
    isolated(|| async {
        let directory = tempfile::tempdir().expect("a directory");
        let network = Network::start(config(directory.path())).expect("a network");
        let services = Services::default();
        let proxy = ServiceProxy::start(&network, services.clone())
            .await
            .expect("a proxy");
        check_tcp(&network, &services).await;
        drop(proxy);
        network.stop().expect("a clean stop");
    });
}

#[test]
fn tcp_services_work_without_nf_tables() {
    isolated(|| async {
        let directory = tempfile::tempdir().expect("a directory");
        let network = Network::start(config(directory.path())).expect("a network");
        let services = Services::default();
        let none = Err(std::io::ErrorKind::Unsupported.into());
        let proxy = ServiceProxy::run(&network, services.clone(), none).expect("a proxy");
        // Until the listener is there the connection is refused at once.
        check_tcp_without_listener_race(&network, &services).await;
        drop(proxy);
        network.stop().expect("a clean stop");
    });
}

async fn check_tcp_without_listener_race(network: &Network, services: &Services) {
    let pod = network.take().await.expect("a Pod network");
    upsert(services, vec![echo_in(&pod)], |_| {});
    let expected = format!("{} x", pod.ip());
    becomes(&expected, None, (SERVICE_IP, 80)).await;
    becomes(&expected, Some(&pod), (SERVICE_IP, 80)).await;
    services.apply(ServiceChange::Remove {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
    });
    becomes("ConnectionRefused", None, (SERVICE_IP, 80)).await;
    network.release(pod);
}

/// A server in a Pod that answers each datagram with the Pod's address.
fn udp_echo_in(pod: &PodNet) -> SocketAddr {
    let address = (pod.ip(), 0);
    let socket = in_netns(pod.netns(), || StdUdpSocket::bind(address))
        .expect("in")
        .expect("bind");
    socket.set_nonblocking(true).expect("nonblocking");
    let socket = UdpSocket::from_std(socket).expect("a socket");
    let own = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer).await {
            socket
                .send_to(own.ip().to_string().as_bytes(), peer)
                .await
                .expect("sent");
        }
    });
    own
}

async fn ask(from: Option<&PodNet>) -> String {
    let socket = || StdUdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    let socket = match from {
        Some(pod) => in_netns(pod.netns(), socket).expect("in"),
        None => socket(),
    };
    socket.set_nonblocking(true).expect("nonblocking");
    let socket = UdpSocket::from_std(socket).expect("a socket");
    socket.connect((SERVICE_IP, 53)).await.expect("connected");
    let mut buffer = [0; 64];
    for _ in 0..100 {
        socket.send(b"?").await.expect("sent");
        let answer = tokio::time::timeout(Duration::from_millis(50), socket.recv(&mut buffer));
        if let Ok(Ok(length)) = answer.await {
            return String::from_utf8_lossy(&buffer[..length]).into_owned();
        }
    }
    "nothing".to_owned()
}

#[test]
fn udp_services_follow_their_endpoints() {
    isolated(|| async {
        let directory = tempfile::tempdir().expect("a directory");
        let network = Network::start(config(directory.path())).expect("a network");
        let services = Services::default();
        let proxy = ServiceProxy::start(&network, services.clone())
            .await
            .expect("a proxy");
        let (a, b) = (
            network.take().await.expect("a"),
            network.take().await.expect("b"),
        );
        for pod in [&a, &b] {
            let endpoint = udp_echo_in(pod);
            upsert(&services, vec![endpoint], |service| {
                service.ports[0].port = 53;
                service.ports[0].protocol = Protocol::Udp;
            });
            // The background task takes the change up at the next turn.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!(ask(None).await, pod.ip().to_string());
            // A Pod that is its own endpoint is another matter: where the kernel filters bridged
            // frames (br_netfilter), nothing goes back out of the port it came in by.
            for asker in [&a, &b].into_iter().filter(|asker| asker.ip() != pod.ip()) {
                assert_eq!(ask(Some(asker)).await, pod.ip().to_string());
            }
        }
        drop(proxy);
        [a, b].into_iter().for_each(|pod| network.release(pod));
        network.stop().expect("a clean stop");
    });
}

#[test]
fn pods_go_out_under_the_nodes_address() {
    isolated(|| async {
        let (one, two) = (
            tempfile::tempdir().expect("d"),
            tempfile::tempdir().expect("d"),
        );
        let network = Network::start(config(one.path())).expect("a network");
        let outside = NetConfig {
            pod_cidr: "10.52.0.0/16".parse().expect("a range"),
            service_cidr: "10.53.0.0/16".parse().expect("a range"),
            bridge: "rktest1".to_owned(),
            ..config(two.path())
        };
        let outside = Network::start(outside).expect("a network");
        let (pod, host) = (
            network.take().await.expect("a"),
            outside.take().await.expect("b"),
        );
        let listener = in_netns(host.netns(), || {
            std::net::TcpListener::bind((host.ip(), 80))
        });
        let listener = listener.expect("in").expect("bind");
        listener.set_nonblocking(true).expect("nonblocking");
        let listener = TcpListener::from_std(listener).expect("a listener");
        let socket = in_netns(pod.netns(), tokio::net::TcpSocket::new_v4).expect("in");
        let connect = socket.expect("a socket").connect((host.ip(), 80).into());
        let (client, accepted) = tokio::join!(connect, listener.accept());
        let _client: TcpStream = client.expect("connects");
        let (_, peer) = accepted.expect("accepts");
        assert_eq!(peer.ip(), IpAddr::V4(outside.gateway()));
        network.release(pod);
        outside.release(host);
        network.stop().expect("a clean stop");
        outside.stop().expect("a clean stop");
    });
}

#[test]
fn the_rules_are_accepted() {
    isolated(|| async {
        let rules = firewall::Rules {
            bridge: "rktest0".to_owned(),
            pods: "10.42.0.0/16".parse().expect("a range"),
            services: "10.43.0.0/16".parse().expect("a range"),
            forwarder: Some("10.42.0.1:4000".parse().expect("an address")),
        };
        rules.install().expect("installed");
        rules.install().expect("installed over itself");
        let services = Services::default();
        let mut map = firewall::UdpMap::new("rktest0");
        for endpoint in ["10.42.0.5:53", "10.42.0.6:53"] {
            let endpoint = endpoint.parse().expect("an address");
            upsert(&services, vec![endpoint], |s| {
                s.ports[0].protocol = Protocol::Udp
            });
            map.update(&services.read()).expect("updated");
        }
        rules.remove().expect("removed");
        rules.remove().expect("removed when there is nothing");
    });
}
