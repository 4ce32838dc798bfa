//! Kubernetes' own Go client, as operators use it: protobuf bodies, informers with watch lists and
//! without, leader election, exec both ways. The checks are in `fixtures/go`.

use system::{App, Image, Instance, go_client, run};

/// Whether informers open with a watch list and a bookmark, or list and then watch.
const WATCH_LIST: &str = "KUBE_FEATURE_WatchListClient";

#[test]
fn client_go_works_as_on_a_cluster() {
    let program = go_client().expect("the program and its library");
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    let busybox = Image::busybox("example.com/busybox").expect("the image");
    instance.load_image(&busybox);
    for (namespace, watch_list) in [("watch-list", "true"), ("list-and-watch", "false")] {
        let mut client = instance.inside(&program.to_string_lossy());
        client
            .arg(instance.kubeconfig())
            .args([namespace, "example.com/busybox", "example.com/hello"])
            .env(WATCH_LIST, watch_list);
        let outcome = run(&mut client, "");
        // What the library says when a server lacks what it asks for.
        assert!(!outcome.stderr.contains("falling back"), "{outcome:?}");
        let said = outcome.expect();
        assert!(said.lines().all(|line| line.starts_with("ok ")), "{said}");
    }
}
