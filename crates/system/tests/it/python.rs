//! The official Python client as Debian has it: typed objects, watches, the dynamic client, leader
//! election, exec over WebSocket.

use system::run;

use crate::kubectl::{POD, with_kubectl};

#[test]
fn a_program_in_python_works_as_on_a_cluster() {
    with_kubectl(|client| {
        client.send("apply", POD).expect();
        client
            .k("wait pod/box --for=condition=Ready --timeout=60s")
            .expect();
        let mut python = client.instance.inside("/usr/bin/python3");
        python
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/client.py"))
            .arg(&client.namespace)
            .env("KUBECONFIG", client.instance.kubeconfig());
        let said = run(&mut python, "").expect();
        assert!(said.ends_with("done\n"), "{said}");
    });
}
