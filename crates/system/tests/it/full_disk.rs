//! A disk that is full: writes are refused with a clear error, nothing that was acknowledged is
//! lost, what runs goes on, and freeing space is all it takes.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use system::{App, Instance, Options};

const PATIENCE: Duration = Duration::from_secs(60);
const FULL: &str = "no space left on the device";
/// The journal reserves space ahead: it takes a few of these until a write is refused.
const VALUE_BYTES: usize = 60_000;
const WRITES_MAX: usize = 100;

/// Writes zeroes until there is no room for more.
fn fill(ballast: &Path) {
    let mut file = File::create(ballast).expect("a new file");
    for chunk in [1 << 20, 1 << 12] {
        while file.write_all(&vec![0; chunk]).is_ok() {}
    }
}

fn config_map(number: usize) -> String {
    let value = format!("{number:0VALUE_BYTES$}");
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: cm-{number}}}\ndata: {{k: '{value}'}}\n"
    )
}

/// Creates ConfigMaps from `from` on until one is refused; gives its number.
fn write_until_refused(instance: &Instance, from: usize) -> usize {
    for number in from..from + WRITES_MAX {
        let outcome = instance.kubectl_args(&["create", "-f", "-"], &config_map(number));
        if !outcome.ok {
            let said = outcome.expect_failure();
            assert!(said.contains(FULL) && said.contains("free some"), "{said}");
            return number;
        }
    }
    panic!("{WRITES_MAX} writes went to a full disk");
}

#[track_caller]
fn assert_kept(instance: &Instance, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let value = format!("get cm cm-{number} -o jsonpath={{.data.k}}");
        let value = instance.kubectl(&value).expect();
        assert_eq!(value, format!("{number:0VALUE_BYTES$}"));
    }
}

#[test]
fn writes_are_refused_and_none_is_lost() {
    let mut instance = Instance::with(Options {
        data_mib: Some(48),
        ..Options::default()
    });
    instance.load(App::Hello, "example.com/hello");
    let run = "service create hello --image example.com/hello --scale-min 1";
    instance.verb(run).expect();
    let ballast = instance.data_dir().join("ballast");

    fill(&ballast);
    let refused = write_until_refused(&instance, 0);
    let again = instance.kubectl_args(&["create", "-f", "-"], &config_map(refused));
    assert!(again.expect_failure().contains(FULL));
    // Reading works, and so does what runs.
    assert_kept(&instance, 0..refused);
    let answer = instance.curl("hello.default.localhost", "/").expect();
    assert_eq!(answer, "Hello World!\n");

    fs::remove_file(&ballast).expect("the ballast");
    for number in refused..refused + 3 {
        let outcome = instance.kubectl_args(&["create", "-f", "-"], &config_map(number));
        outcome.expect();
    }
    instance.kubectl("delete pods --all --wait=false").expect();
    instance.eventually(PATIENCE, || {
        let pods = instance.kubectl("get pods --no-headers").expect();
        pods.lines().count() == 1 && pods.contains("2/2")
    });

    // A daemon that dies on a full disk has lost nothing either.
    fill(&ballast);
    let last = write_until_refused(&instance, refused + 3);
    instance.kill_9();
    // What the end of the process freed is not there for its successor either.
    fill(&ballast);
    instance.restart();
    assert_kept(&instance, 0..last);
    let gone = instance.kubectl(&format!("get cm cm-{last}"));
    assert!(gone.expect_failure().contains("not found"));
    fs::remove_file(&ballast).expect("the ballast");
    let outcome = instance.kubectl_args(&["create", "-f", "-"], &config_map(last));
    outcome.expect();
    // Controllers lead by a Lease, which must be written first.
    instance.eventually(PATIENCE, || {
        instance.curl("hello.default.localhost", "/").ok
    });
}
