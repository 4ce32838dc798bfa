//! What a build is given besides its source, secrets and ssh agents, and what it may not take: more of
//! the disk than it has, more time than its Pod.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use system::{GitServer, Image, run};

use super::builder::{PATIENCE, Workshop};

const KEY_COMMENT: &str = "key-of-the-test";
const DOCKERFILE: &str = r#"
FROM dev.local/tools:1
RUN --mount=type=secret,id=token,required test "$(cat /run/secrets/token)" = s3"c"ret && test "$(stat -c %a /run/secrets/token)" = 400
RUN --mount=type=secret,id=word,env=WORD,required test -n "$WORD" && test ! -e /run/secrets/word
RUN --mount=type=secret,id=token,target=/srv/t,uid=7,mode=0440 test "$(stat -c %u:%a /srv/t)" = 7:440
RUN --mount=type=ssh,required ssh-add -l && test "$SSH_AUTH_SOCK" = /run/buildkit/ssh_agent.0
RUN test ! -e /run/secrets/token && test ! -e /srv/t && test ! -e /run/buildkit && test -z "$WORD$SSH_AUTH_SOCK"
"#;

/// Debian's ssh-agent with one key; it ends with this.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(shop: &Workshop, directory: &Path) -> Self {
        let (key, socket) = (directory.join("key"), directory.join("agent"));
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", KEY_COMMENT, "-f"]);
        run(keygen.arg(&key), "").expect();
        let mut agent = Command::new("ssh-agent");
        let child = agent.args(["-D", "-a"]).arg(&socket);
        let child = child.stdout(Stdio::null()).spawn().expect("ssh-agent");
        let started = Self { child, socket };
        shop.instance.eventually(PATIENCE, || {
            let mut add = Command::new("ssh-add");
            let add = add.arg(&key).env("SSH_AUTH_SOCK", &started.socket);
            run(add, "").ok
        });
        started
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn secrets_and_agents_are_shown_and_not_kept() {
    let shop = Workshop::new();
    let tools = Image::busybox("dev.local/tools:1").expect("busybox");
    let tools = tools.with_program("/usr/bin/ssh-add").expect("ssh-add");
    shop.instance.load_image(&tools);
    let aside = tempfile::tempdir().expect("a directory");
    let agent = Agent::start(&shop, aside.path());
    let token = aside.path().join("token");
    fs::write(&token, "s3cret").expect("write");
    shop.file("Dockerfile", DOCKERFILE);
    let source = shop.context.path().display();
    let build = format!("build {source} --image dev.local/given");
    let given = format!(
        "--secret id=token,src={} --secret id=word,env=PATH --ssh default={}",
        token.display(),
        agent.socket.display()
    );
    let said = shop.instance.verb(&format!("{build} {given}")).expect();
    assert!(said.contains(KEY_COMMENT), "{said}");
    assert!(!said.contains("s3cret"), "{said}");

    // The Secret goes with its Build.
    let secrets = || shop.instance.kubectl("get secrets -o name").expect();
    assert!(secrets().contains("-build-"), "{}", secrets());
    let delete = "delete builds --all --timeout=60s";
    shop.instance.kubectl(delete).expect();
    shop.instance
        .eventually(PATIENCE, || !secrets().contains("-build-"));

    // What counts for the cache is what is asked for, not what is given.
    fs::write(&token, "another").expect("write");
    let said = shop.instance.verb(&format!("{build} {given}")).expect();
    assert_eq!(said.matches("using cache").count(), 5, "{said}");

    // What is missing is named, and so is what cannot be done.
    for (dockerfile, flags, why) in [
        (
            "RUN --mount=type=secret,id=token,required true",
            "",
            "secret token: not found",
        ),
        (
            "RUN --mount=type=ssh,required true",
            "",
            "ssh agent default: not found",
        ),
        (
            "RUN true",
            "--platform linux/s390x",
            "--custom-platform=linux/s390x: this node builds for linux/",
        ),
    ] {
        shop.file("Dockerfile", &format!("FROM scratch\n{dockerfile}\n"));
        let said = shop.instance.verb(&format!("{build} {flags}"));
        let said = said.expect_failure();
        assert!(said.contains(why), "{said}");
    }
}

/// Bytes the builds of the next test may make.
const ROOM: u64 = 32 << 20;

#[test]
fn what_a_build_takes_is_bounded() {
    let mut shop = Workshop::new();
    shop.room = Some(ROOM);
    let busybox = Image::busybox("dev.local/busybox:1").expect("busybox");
    shop.instance.load_image(&busybox);
    let server = GitServer::start(&shop.instance, None);
    let large = "0123456789abcdef".repeat(3 << 20);
    server.commit("large.git", &[("large", &large)]);
    server.file("large", &large);
    fs::write(shop.context.path().join("large"), &large).expect("write");
    let mut gzip = Command::new("tar");
    gzip.args(["-czf", "small.tar.gz", "large"]);
    run(gzip.current_dir(shop.context.path()), "").expect();
    for instruction in [
        format!("ADD {} /x", server.url("large.git")),
        format!("ADD {} /x", server.url("files/large")),
        "ADD small.tar.gz /x".to_owned(),
        "COPY large /x".to_owned(),
        // It would never end by itself.
        "RUN cat /dev/zero | head -c 100000000 > /x; sleep 98762".to_owned(),
        "RUN --mount=type=tmpfs,target=/t head -c 100000000 /dev/zero > /t/x; sleep 98762"
            .to_owned(),
    ] {
        shop.file(
            "Dockerfile",
            &format!("FROM dev.local/busybox:1\n{instruction}\n"),
        );
        let built = shop.build(&["--no-push"]);
        let why = format!("the build has made more than {ROOM} bytes of files");
        assert_eq!(built.code, 1, "{instruction}");
        assert!(built.message.contains(&why), "{instruction}: {}", built.log);
    }
    // Without the step's own limit there is room.
    shop.room = None;
    shop.file("Dockerfile", "FROM scratch\nCOPY large /x\n");
    assert_eq!(shop.build(&["--no-push"]).code, 0);
}

#[test]
fn a_repository_that_never_comes_ends_with_its_build() {
    let mut shop = Workshop::new();
    // It accepts and says nothing.
    let silent = shop.instance.within(|| TcpListener::bind("0.0.0.0:0"));
    let silent = silent.expect("listen");
    let port = silent.local_addr().expect("it listens").port();
    let url = format!("http://10.42.0.1:{port}/silent.git");
    shop.file("Dockerfile", &format!("FROM scratch\nADD {url} /x\n"));
    let fetches = || {
        let mut pgrep = Command::new("pgrep");
        run(pgrep.args(["-f", &format!("git-init -url={url}")]), "").ok
    };
    let name = shop.start(&["--no-push"]);
    shop.instance.eventually(PATIENCE, fetches);
    let delete = format!("delete pod {name} --wait=true --timeout=60s");
    shop.instance.kubectl(&delete).expect();
    shop.instance.eventually(PATIENCE, || !fetches());
}
