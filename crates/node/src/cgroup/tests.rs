//! The spelling of limits and the reading of usage, on directories that look like the kernel's.

use super::*;

fn check_limits(limits: &Limits, version: Version, want: &[(&str, &str)]) {
    let got = limits.files(version);
    let got: Vec<(&str, &str)> = got
        .iter()
        .map(|(file, value)| (*file, value.as_str()))
        .collect();
    assert_eq!(got, want);
}

#[test]
fn limits_in_both_spellings() {
    let limits = Limits {
        cpu_request_milli: Some(250),
        cpu_limit_milli: Some(1500),
        memory_bytes: Some(64 << 20),
        pids: Some(100),
    };
    check_limits(
        &limits,
        Version::V1,
        &[
            ("cpu.shares", "256"),
            ("cpu.cfs_quota_us", "150000"),
            ("memory.limit_in_bytes", "67108864"),
            ("pids.max", "100"),
        ],
    );
    check_limits(
        &limits,
        Version::V2,
        &[
            ("cpu.weight", "10"),
            ("cpu.max", "150000 100000"),
            ("memory.max", "67108864"),
            ("pids.max", "100"),
        ],
    );
    check_limits(&Limits::default(), Version::V2, &[]);
}

#[test]
fn all_containers_together_weigh_as_much_as_the_processors() {
    for (controllers, tree, file, want) in [
        ("cpu memory pids", "base", "cpu.weight", "400"),
        ("", "cpu/base", "cpu.shares", "4096"),
    ] {
        let root = tempfile::tempdir().expect("temp dir");
        fs::write(root.path().join("cgroup.controllers"), controllers).expect("write");
        let dir = root.path().join(tree);
        fs::create_dir_all(&dir).expect("create");
        fs::write(dir.join(file), "default").expect("write");
        let hierarchy = Hierarchy::open_at(root.path(), "base").expect("open");
        hierarchy.weigh(4);
        assert_eq!(fs::read_to_string(dir.join(file)).expect("read"), want);
    }
}

#[test]
fn a_unified_tree_is_read_as_version_2() {
    let root = tempfile::tempdir().expect("temp dir");
    fs::write(root.path().join("cgroup.controllers"), "cpu memory pids").expect("write");
    let tree = Hierarchy::open_at(root.path(), "base").expect("open");
    assert_eq!(tree.version(), Version::V2);
    let group = tree.create("c1").expect("create");
    let dir = root.path().join("base/c1");
    fs::write(dir.join("memory.events"), "low 0\noom 3\noom_kill 2\n").expect("write");
    fs::write(dir.join("cpu.stat"), "usage_usec 1500\nuser_usec 1\n").expect("write");
    fs::write(dir.join("memory.current"), "5000\n").expect("write");
    fs::write(dir.join("memory.stat"), "anon 1\ninactive_file 1000\n").expect("write");
    assert_eq!(group.oom_kills(), 2);
    assert_eq!(
        group.usage(),
        Usage {
            cpu_ns: 1_500_000,
            memory_bytes: 4000
        }
    );
    assert_eq!(tree.names(), ["c1"]);
}

#[test]
fn separate_trees_are_read_as_version_1() {
    let root = tempfile::tempdir().expect("temp dir");
    for controller in ["memory", "pids", "cpu"] {
        fs::create_dir(root.path().join(controller)).expect("mkdir");
    }
    let tree = Hierarchy::open_at(root.path(), "base").expect("open");
    assert_eq!(tree.version(), Version::V1);
    let group = tree.create("c1").expect("create");
    assert_eq!(group.dirs().len(), 3);
    let limits = Limits {
        pids: Some(7),
        ..Limits::default()
    };
    fs::write(root.path().join("pids/base/c1/pids.max"), "max").expect("write");
    group.limit(&limits).expect("limit");
    let written = fs::read_to_string(root.path().join("pids/base/c1/pids.max")).expect("read");
    assert_eq!(written, "7");
}
