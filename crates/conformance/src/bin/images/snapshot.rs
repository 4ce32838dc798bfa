//! `runtime`: answers a JSON picture of what the process finds around it.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;

use http::{Request, Version};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::serve;

const FILES: [&str; 19] = [
    "/dev/console",
    "/dev/fd",
    "/dev/full",
    "/dev/null",
    "/dev/ptmx",
    "/dev/random",
    "/dev/stderr",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/proc/self/fd",
    "/proc/self/fd/0",
    "/proc/self/fd/1",
    "/proc/self/fd/2",
    "/tmp",
];
const CGROUP_FILES: [&str; 9] = [
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
    "/sys/fs/cgroup/cpu/cpu.shares",
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/cpu.max",
    "/sys/fs/cgroup/cpu.weight",
    "/sys/fs/cgroup/pids.max",
    "/sys/fs/cgroup/cgroup.procs",
];
const SYSCTLS: [&str; 2] = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/panic"];

/// Serves the picture on `$PORT`; `/start-failing` and the like are `readiness`'s.
pub(crate) async fn serve() {
    let stdin = stdin();
    serve::on(serve::port(), move |request| {
        let picture = json!({"request": request_of(&request), "host": host(&stdin)});
        async move { serve::ok(picture.to_string()) }
    })
    .await;
}

fn stdin() -> Value {
    match std::io::stdin().read(&mut [0]) {
        Ok(count) => json!({"eof": count == 0}),
        Err(error) => json!({"error": error.to_string()}),
    }
}

fn request_of(request: &Request<Incoming>) -> Value {
    let mut headers = Map::new();
    for (name, value) in request.headers() {
        headers.insert(
            name.to_string(),
            json!(String::from_utf8_lossy(value.as_bytes())),
        );
    }
    let (version, major) = match request.version() {
        Version::HTTP_2 => ("HTTP/2.0", 2),
        Version::HTTP_10 => ("HTTP/1.0", 1),
        _ => ("HTTP/1.1", 1),
    };
    let host = request.uri().authority().map(ToString::to_string);
    json!({
        "method": request.method().as_str(),
        "uri": request.uri().path(),
        "host": host.map_or_else(|| headers.get("host").cloned(), |host| Some(json!(host))),
        "proto": version,
        "protoMajor": major,
        "headers": headers,
    })
}

fn host(stdin: &Value) -> Value {
    let envs: Map<_, _> = std::env::vars()
        .map(|(key, value)| (key, json!(value)))
        .collect();
    let files = FILES.iter().map(|path| ((*path).to_owned(), file(path)));
    let numbers = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let status = numbers("/proc/self/status");
    let ids = |word: &str| -> Vec<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(word));
        let ids = line.unwrap_or_default().split_whitespace();
        ids.filter_map(|id| id.parse().ok()).collect()
    };
    let word = |word: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(word));
        line.unwrap_or_default().trim().to_owned()
    };
    json!({
        "files": files.collect::<Map<_, _>>(),
        "envs": envs,
        "cgroups": CGROUP_FILES.iter().map(|path| writable(path)).collect::<Vec<_>>(),
        "sysctls": SYSCTLS.iter().map(|path| writable(path)).collect::<Vec<_>>(),
        "mounts": numbers("/proc/mounts").lines().collect::<Vec<_>>(),
        "resolv": numbers("/etc/resolv.conf"),
        "hosts": numbers("/etc/hosts"),
        "hostname": numbers("/proc/sys/kernel/hostname").trim(),
        "stdin": stdin,
        "user": {
            "uid": ids("Uid:").first(), "euid": ids("Uid:").get(1),
            "gid": ids("Gid:").first(), "egid": ids("Gid:").get(1), "groups": ids("Groups:"),
        },
        "umask": word("Umask:"),
        "capabilities": word("CapEff:"),
        "noNewPrivs": word("NoNewPrivs:"),
        "seccomp": word("Seccomp:"),
        "cwd": std::env::current_dir().ok(),
        "args": std::env::args().collect::<Vec<_>>(),
    })
}

fn file(path: &str) -> Value {
    let own = match fs::symlink_metadata(path) {
        Ok(own) => own,
        Err(error) => return json!({"error": error.to_string()}),
    };
    let target = fs::read_link(path).ok().filter(|_| own.is_symlink());
    // Where a link leads to may be a pipe or a socket, which have no path.
    let meta = fs::metadata(path).unwrap_or(own);
    json!({
        "size": meta.len(),
        "mode": format!("{:04o}", meta.permissions().mode() & 0o7777),
        "isDir": meta.is_dir(),
        "sourceFile": target,
    })
}

/// A file of the kernel's: what it says and whether it could be written.
fn writable(path: &str) -> Value {
    match fs::read_to_string(path) {
        Ok(value) => json!({
            "name": path,
            "value": value.trim(),
            "readOnly": fs::File::options().write(true).open(path).is_err(),
        }),
        Err(error) => json!({"name": path, "error": error.to_string()}),
    }
}
