//! The network for real, in network and mount namespaces of its own. Needs root; skipped without.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;

use super::*;

mod services;

/// Runs `test` on a thread in namespaces of its own, with loopback up, and a runtime of its own.
pub(crate) fn isolated<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let thread = std::thread::spawn(move || {
        enter_own_namespaces();
        let mut socket = netlink::Socket::route().expect("a socket");
        socket.request(link::set_loopback_up()).expect("loopback");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[allow(unsafe_code)]
fn enter_own_namespaces() {
    // SAFETY: the thread is new and shares no file descriptor table changes with others; only its
    // view of mounts and interfaces changes.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }
        .expect("root may unshare");
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).expect("private mounts");
}

pub(crate) fn config(data_dir: &std::path::Path) -> NetConfig {
    NetConfig {
        pod_cidr: "10.42.0.0/16".parse().expect("a range"),
        service_cidr: "10.43.0.0/16".parse().expect("a range"),
        bridge: "rktest0".to_owned(),
        data_dir: data_dir.to_owned(),
        ready: 4,
    }
}

/// Connects from `from` (the node when none) to a listener inside `to` and sends a word each way.
fn talk(from: Option<&PodNet>, to: &PodNet) {
    let listener = in_netns(to.netns(), || TcpListener::bind((to.ip(), 0)));
    let listener = listener.expect("in").expect("bind");
    let target = SocketAddr::new(
        IpAddr::V4(to.ip()),
        listener.local_addr().expect("a").port(),
    );
    let connect = || TcpStream::connect_timeout(&target, std::time::Duration::from_millis(500));
    let client = match from {
        Some(pod) => in_netns(pod.netns(), connect).expect("in"),
        None => connect(),
    };
    let mut client = client.expect("connect without losing the first packet");
    let (mut server, peer) = listener.accept().expect("accept");
    let expected = match from {
        Some(pod) => pod.ip().octets().to_vec(),
        None => vec![10, to.ip().octets()[1], 0, 1],
    };
    match peer.ip() {
        IpAddr::V4(ip) => assert!(ip.octets().starts_with(&expected), "{ip}"),
        IpAddr::V6(ip) => panic!("{ip}"),
    }
    client.write_all(b"ping").expect("write");
    let mut word = [0; 4];
    server.read_exact(&mut word).expect("read");
    assert_eq!(&word, b"ping");
}

fn veths() -> usize {
    let mut socket = netlink::Socket::route().expect("a socket");
    let links = link::list(&mut socket).expect("links");
    links
        .iter()
        .filter(|link| link.kind.as_deref() == Some("veth"))
        .count()
}

#[test]
fn pods_and_node_reach_each_other_and_nothing_remains() {
    isolated(|| async {
        let directory = tempfile::tempdir().expect("a directory");
        let network = Network::start(config(directory.path())).expect("a network");
        let (a, b) = (
            network.take().await.expect("a"),
            network.take().await.expect("b"),
        );
        assert_eq!(a.ip().to_string(), "10.42.0.2");
        talk(None, &a);
        talk(Some(&a), &b);
        talk(Some(&b), &a);
        network.release(a);
        network.release(b);
        network.stop().expect("a clean stop");
        assert_eq!(veths(), 0);
        assert!(!directory.path().join("netns").exists());
    });
}

#[test]
fn a_burst_beyond_the_stock_is_served() {
    isolated(|| async {
        let directory = tempfile::tempdir().expect("a directory");
        let network = Network::start(config(directory.path())).expect("a network");
        let mut pods = Vec::new();
        let mut slowest = std::time::Duration::ZERO;
        let start = Instant::now();
        for _ in 0..40 {
            let begin = Instant::now();
            pods.push(network.take().await.expect("a Pod network"));
            slowest = slowest.max(begin.elapsed());
        }
        eprintln!("40 taken in {:?}, slowest {slowest:?}", start.elapsed());
        talk(Some(&pods[0]), &pods[39]);
        let begin = Instant::now();
        pods.into_iter().for_each(|pod| network.release(pod));
        network.stop().expect("a clean stop");
        eprintln!("40 released and stopped in {:?}", begin.elapsed());
        assert_eq!(veths(), 0);
    });
}

#[test]
fn a_new_process_adopts_what_lives_and_sweeps_the_rest() {
    isolated(|| async {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Network::start(config(directory.path())).expect("a network");
        let (kept, lost) = (
            first.take().await.expect("a"),
            first.take().await.expect("b"),
        );
        first.detach();
        drop(first);
        assert_eq!(veths(), 2, "the stock is gone, what is in use is not");
        let (name, ip, lost) = (kept.name().to_owned(), kept.ip(), lost.name().to_owned());
        drop(kept);

        let second = Network::start(config(directory.path())).expect("a network");
        let kept = second
            .adopt(&name)
            .expect("the Pod network of the first process");
        assert_eq!(kept.ip(), ip);
        assert!(second.adopt(&name).is_none(), "only once");
        second.sweep();
        assert!(second.adopt(&lost).is_none());
        let new = second.take().await.expect("a Pod network");
        assert!(new.ip() > ip);
        talk(Some(&new), &kept);
        talk(None, &kept);
        [new, kept].into_iter().for_each(|pod| second.release(pod));
        second.stop().expect("a clean stop");
        assert_eq!(veths(), 0);
    });
}

#[test]
fn two_networks_live_side_by_side() {
    isolated(|| async {
        let (one, two) = (
            tempfile::tempdir().expect("d"),
            tempfile::tempdir().expect("d"),
        );
        let first = Network::start(config(one.path())).expect("a network");
        let other = NetConfig {
            pod_cidr: "10.52.0.0/16".parse().expect("a range"),
            service_cidr: "10.53.0.0/16".parse().expect("a range"),
            bridge: "rktest1".to_owned(),
            ..config(two.path())
        };
        let second = Network::start(other).expect("a network");
        let (a, b) = (
            first.take().await.expect("a"),
            second.take().await.expect("b"),
        );
        talk(None, &a);
        talk(None, &b);
        second.stop().expect("a clean stop");
        talk(None, &a);
        first.stop().expect("a clean stop");
        assert_eq!(veths(), 0);
    });
}
