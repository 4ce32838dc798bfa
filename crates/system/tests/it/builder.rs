//! The built-in Dockerfile builder, as manifests name it: a Pod with kaniko's image and arguments.
//! Real applications are built, pushed to a real registry and run.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use system::{App, GitServer, Image, Instance, run};
use tempfile::TempDir;

/// A debug build takes its time to compress a layer.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
/// `user` with the password `secret`.
const HTPASSWD: &str = "user:$2y$05$1NUW8H0.KR.u.AFd3I9nJuTJuSLh2KBekV2C2PsOap.41.mFCmwAO\n";
const REGISTRY: &str = "127.0.0.1:5000";

/// Files to build from, and builds of them.
pub(super) struct Workshop {
    pub(super) instance: Instance,
    pub(super) context: TempDir,
    builds: u32,
    /// What steps may take of the disk, bytes.
    pub(super) room: Option<u64>,
}

/// How a build went.
pub(super) struct Outcome {
    pub(super) code: i64,
    pub(super) message: String,
    pub(super) log: String,
}

impl Workshop {
    pub(super) fn new() -> Self {
        Self {
            room: None,
            instance: Instance::start(),
            context: TempDir::new().expect("a directory"),
            builds: 0,
        }
    }

    pub(super) fn file(&self, path: &str, content: &str) {
        let path = self.context.path().join(path);
        let directory = path.parent().expect("it is below the context");
        fs::create_dir_all(directory).expect("make the directory");
        fs::write(path, content).expect("write the file");
    }

    /// Runs one step with kaniko's image and these arguments.
    pub(super) fn build(&mut self, args: &[&str]) -> Outcome {
        self.start(args);
        self.end()
    }

    /// Starts one and returns its Pod's name.
    pub(super) fn start(&mut self, args: &[&str]) -> String {
        self.builds += 1;
        let name = format!("build-{}", self.builds);
        let limits = self
            .room
            .map(|bytes| ("ephemeral-storage", bytes.to_string()));
        let limits: BTreeMap<_, _> = limits.into_iter().collect();
        let pod = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never",
                "containers": [{
                    "name": "step", "image": "gcr.io/kaniko-project/executor:v1.9.0", "args": args,
                    "resources": {"limits": limits},
                    "volumeMounts": [
                        {"name": "workspace", "mountPath": "/workspace"},
                        {"name": "secret", "mountPath": "/kaniko/.docker"},
                    ],
                }],
                "volumes": [
                    {"name": "workspace", "hostPath": {"path": self.context.path()}},
                    {"name": "secret", "secret": {"secretName": "registry", "optional": true}},
                ],
            },
        });
        self.instance.apply(&pod.to_string()).expect();
        name
    }

    fn end(&self) -> Outcome {
        let name = format!("build-{}", self.builds);
        let mut state = Value::Null;
        self.instance.eventually(PATIENCE, || {
            let pod = self.instance.kubectl(&format!("get pod {name} -o json"));
            let pod: Value = serde_json::from_str(&pod.expect()).expect("json");
            state = pod["status"]["containerStatuses"][0]["state"]["terminated"].clone();
            !state.is_null()
        });
        Outcome {
            code: state["exitCode"].as_i64().expect("an exit code"),
            message: state["message"].as_str().unwrap_or_default().to_owned(),
            log: self.instance.kubectl(&format!("logs {name}")).expect(),
        }
    }

    /// The same, and it must succeed; gives the digest and how many steps came from the cache.
    fn digest(&mut self, args: &[&str]) -> (String, usize) {
        let mut all = args.to_vec();
        all.push("--digest-file=/dev/termination-log");
        let built = self.build(&all);
        assert_eq!(built.code, 0, "{}", built.log);
        assert!(built.message.starts_with("sha256:"), "{}", built.message);
        (built.message, built.log.matches("using cache").count())
    }

    /// Deploys an image as a Service and gives what it answers.
    fn answer(&self, name: &str, image: &str) -> String {
        let service = format!(
            "
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: {name}}}
spec:
  template:
    spec:
      containers: [{{image: {image}, env: [{{name: TARGET, value: Builder}}]}}]
"
        );
        self.instance.apply(&service).expect();
        self.instance
            .kubectl(&format!(
                "wait ksvc/{name} --for=condition=Ready --timeout=60s"
            ))
            .expect();
        let host = format!("{name}.default.localhost");
        self.instance.curl(&host, "/").expect()
    }
}

/// Debian's registry, beside the instance.
struct Registry(Child);

impl Registry {
    fn start(instance: &Instance, directory: &Path, with_auth: bool) -> Self {
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).expect("write");
            path
        };
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"{REGISTRY}\"}}\n",
            directory.join("registry").display(),
        );
        if with_auth {
            let path = write("htpasswd", HTPASSWD);
            let path = path.display();
            config.push_str(&format!(
                "auth: {{htpasswd: {{realm: test, path: {path}}}}}\n"
            ));
        }
        let config = write("registry.yaml", &config);
        let mut command = instance.inside("/usr/bin/docker-registry");
        command.arg("serve").arg(config);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self(command.spawn().expect("the registry starts"));
        let address: SocketAddr = REGISTRY.parse().expect("an address");
        let url = format!("http://{address}/v2/");
        instance.eventually(PATIENCE, || {
            let mut curl = instance.inside("curl");
            run(curl.args(["-s", "-o", "/dev/null", &url]), "").ok
        });
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const FLASK: &str = "
import os
from flask import Flask
app = Flask(__name__)
@app.route('/')
def hello():
    return 'Hello ' + os.environ['TARGET'] + ' from ' + open('/built').read()
app.run(host='0.0.0.0', port=int(os.environ['PORT']))
";

const FLASK_DOCKERFILE: &str = "
# A comment
ARG BASE
FROM ${BASE:-none}
WORKDIR /app
COPY . .
ARG WHO=nobody
RUN python3 -m compileall -q . \\
    # why not
    && echo -n \"$WHO\" > /built
RUN rm -r /usr/share/zoneinfo && test ! -e /app/secret.txt
ENV PORT=8080
CMD [\"python3\", \"app.py\"]
";

#[test]
fn a_flask_app_is_built_pushed_and_served() {
    let mut shop = Workshop::new();
    let image = Image::debian("dev.local/debian-flask:1").expect("the base");
    shop.instance.load_image(&image);
    let scratch = TempDir::new().expect("a directory");
    let _registry = Registry::start(&shop.instance, scratch.path(), false);
    shop.file("app.py", FLASK);
    shop.file("Dockerfile", FLASK_DOCKERFILE);
    shop.file(".dockerignore", "*.txt\nDockerfile\n");
    shop.file("secret.txt", "s");
    let name = format!("{REGISTRY}/team/flask:1");
    let destination = format!("--destination={name}");
    let args = [
        "--dockerfile=/workspace/Dockerfile",
        destination.as_str(),
        "--build-arg=BASE=dev.local/debian-flask:1",
        "--build-arg=WHO=me",
    ];
    let (digest, cached) = shop.digest(&args);
    assert_eq!(cached, 0);
    let (again, cached) = shop.digest(&args);
    assert_eq!((&again, cached), (&digest, 4));
    let url = format!("http://{REGISTRY}/v2/team/flask/manifests/1");
    let mut curl = shop.instance.inside("curl");
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    curl.args(["-sS", "-f", "-I", "-H", accept, &url]);
    assert!(run(&mut curl, "").expect().contains(&digest));
    assert_eq!(shop.answer("flask", &name), "Hello Builder from me");

    // Other content, other layers from there on.
    shop.file("app.py", &FLASK.replace("Hello", "Bye"));
    let (other, cached) = shop.digest(&args);
    assert!(other != digest && cached == 1, "{cached} cached");
}

#[test]
fn a_registry_that_wants_a_password_gets_the_steps_own() {
    let mut shop = Workshop::new();
    let scratch = TempDir::new().expect("a directory");
    let _registry = Registry::start(&shop.instance, scratch.path(), true);
    shop.file("Dockerfile", "FROM scratch\nCOPY note /\nCMD [\"/note\"]\n");
    shop.file("note", "n");
    let destination = format!("--destination={REGISTRY}/note");
    let refused = shop.build(&[&destination]);
    assert_eq!(refused.code, 1, "{}", refused.log);
    assert!(refused.message.contains("denied"), "{}", refused.message);
    let secret = "create secret generic registry --from-literal=config.json=";
    let auth = r#"{"auths":{"127.0.0.1:5000":{"username":"user","password":"secret"}}}"#;
    shop.instance.kubectl(&format!("{secret}{auth}")).expect();
    let (digest, cached) = shop.digest(&[&destination]);
    assert_eq!(cached, 1, "the failed push has left its layer");
    let url = format!("http://{REGISTRY}/v2/note/manifests/latest");
    let mut curl = shop.instance.inside("curl");
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    curl.args(["-sS", "-f", "-I", "-u", "user:secret", "-H", accept, &url]);
    assert!(run(&mut curl, "").expect().contains(&digest));
}

#[test]
fn stages_owners_and_files_come_out_as_docker_has_them() {
    let mut shop = Workshop::new();
    let busybox = Image::busybox("dev.local/busybox:1").expect("busybox");
    shop.instance.load_image(&busybox);
    let hello = App::Hello.build().expect("a static binary");
    let copied = shop.context.path().join("hello");
    fs::copy(hello, &copied).expect("copy");
    fs::set_permissions(&copied, fs::Permissions::from_mode(0o644)).expect("mode");
    shop.file(
        "etc/passwd",
        "root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n",
    );
    shop.file("dir/sub/one", "1");
    shop.file(
        "Dockerfile",
        "
FROM dev.local/busybox:1 AS never
RUN false
FROM dev.local/busybox:1 AS build
COPY etc/passwd /etc/
COPY hello /src/hello
COPY --chown=app --chmod=700 dir /data
RUN <<EOF
set -e
test \"$(cat /data/sub/one)\" = 1
ln -s /src /link
cp /src/hello /link/server && chmod 755 /src/server
rm /src/hello
mkdir /gone && rm -r /gone
EOF
COPY --chmod=600 <<EOF /link/note
from $0 a document
EOF
RUN test -f /src/note && test ! -e /src/hello
USER app
RUN --mount=type=cache,target=/cache id -u > /tmp/who && test -d /cache
USER 0
RUN --network=none test ! -e /cache && test \"$(cat /tmp/who)\" = 1000
FROM scratch AS run
COPY --from=build /src/server /server
LABEL a=b
EXPOSE 8080/tcp
ENTRYPOINT [\"/server\"]
",
    );
    let args = [
        "--context=dir:///workspace/",
        "--destination=dev.local/server:1",
        "--label=c=d",
    ];
    let (digest, _) = shop.digest(&args);
    assert_eq!(
        shop.answer("server", "dev.local/server:1"),
        "Hello Builder!\n"
    );
    // Without the cache nothing is different either, where times do not count.
    let mut fresh = args.to_vec();
    fresh.extend(["--cache=false", "--reproducible"]);
    let (one, _) = shop.digest(&fresh);
    let (two, _) = shop.digest(&fresh);
    assert_eq!(one, two);
    let (again, cached) = shop.digest(&args);
    assert_eq!(again, digest);
    assert!(cached >= 8, "{cached} cached");

    let failed = shop.build(&["--no-push", "--target=never"]);
    assert_eq!(failed.code, 1);
    let expected =
        "Dockerfile:3: RUN false: The command '/bin/sh -c false' returned a non-zero code: 1";
    assert_eq!(failed.message, expected);
    let unknown = shop.build(&["--no-push", "--turbo"]);
    assert_eq!(
        unknown.message,
        "unknown flag: --turbo (of kaniko's executor)"
    );
}

/// Packs `one` and `two`.
fn archive(shop: &Workshop, name: &str, flag: &str) {
    let to = shop.context.path().join(name);
    let mut tar = Command::new("tar");
    tar.arg(flag).arg("-cf").arg(to).arg("-C");
    run(
        tar.arg(shop.context.path().join("packed"))
            .args(["one", "two"]),
        "",
    )
    .expect();
}

#[test]
fn later_syntax_of_dockerfiles() {
    let mut shop = Workshop::new();
    let busybox = Image::busybox("dev.local/busybox:1").expect("busybox");
    shop.instance.load_image(&busybox);
    let server = GitServer::start(&shop.instance, None);
    server.commit("lib.git", &[("docs/a", "old\n"), ("b", "b\n")]);
    server.git("lib.git", &["tag", "v1"]);
    let commit = server.commit("lib.git", &[("docs/a", "new\n")]);
    for (path, content) in [
        ("packed/one", "1\n"),
        ("packed/two", "2\n"),
        ("x/a.txt", "xa\n"),
        ("y/deep/b.txt", "yb\n"),
        ("y/deep/c.md", "yc\n"),
    ] {
        shop.file(path, content);
    }
    archive(&shop, "all.tar.bz2", "--bzip2");
    archive(&shop, "all.tar.xz", "--xz");
    let url = server.url("lib.git");
    shop.file(
        "Dockerfile",
        &format!(
            "
FROM dev.local/busybox:1
ADD all.tar.bz2 /bz/
ADD all.tar.xz /xz/
RUN test \"$(cat /bz/one /xz/two)\" = \"$(printf '1\\n2')\"
COPY --parents x/a.txt ./y/./deep/*.txt /kept/
RUN cat /kept/x/a.txt /kept/deep/b.txt && test ! -e /kept/deep/c.md
COPY --chmod=u=rwX,go= y /private
RUN test $(stat -c %a /private/deep) = 700 && test $(stat -c %a /private/deep/c.md) = 600
ADD {url}#v1:docs /docs
RUN test $(cat /docs/a) = old && test ! -e /docs/b
ADD --keep-git-dir=true --checksum={commit} {url} /lib
RUN test $(cat /lib/docs/a) = new && test -d /lib/.git
RUN --mount=type=bind,source=x,target=/x,rw echo more >> /x/a.txt && test $(wc -l < /x/a.txt) = 2
RUN --mount=type=cache,target=/c,uid=7,mode=0750 test \"$(stat -c %u:%a /c)\" = 7:750
RUN --mount=type=secret,id=none test ! -e /run/secrets/none
"
        ),
    );
    let args = [
        "--context=dir:///workspace/",
        "--destination=dev.local/later:1",
        "--no-push",
    ];
    let (digest, _) = shop.digest(&args);
    let (again, cached) = shop.digest(&args);
    assert_eq!((again, cached), (digest, 14));

    shop.file(
        "Dockerfile",
        &format!("FROM scratch\nADD --checksum=abc {url} /lib\n"),
    );
    let wrong = shop.build(&["--no-push"]);
    let why = format!("digest mismatch: {commit}, expected abc");
    assert!(wrong.message.contains(&why), "{}", wrong.message);
}

#[test]
fn a_node_app_is_built_and_served() {
    let mut shop = Workshop::new();
    let node = Image::node("dev.local/node:1").expect("node");
    shop.instance.load_image(&node);
    shop.file("package.json", r#"{"name": "app", "main": "server.js"}"#);
    shop.file(
        "src/make.js",
        "require('fs').writeFileSync('server.js', `require('http').createServer((q, a) => \
         a.end('Hello ' + process.env.TARGET)).listen(process.env.PORT)`)",
    );
    shop.file(
        "Dockerfile",
        "FROM dev.local/node:1\nWORKDIR /app\nCOPY package*.json ./\nCOPY src src\n\
         RUN [\"node\", \"src/make.js\"]\nENTRYPOINT node server.js\n",
    );
    let (digest, _) = shop.digest(&["--destination=dev.local/app"]);
    let (again, cached) = shop.digest(&["--destination=dev.local/app"]);
    assert_eq!((again, cached), (digest, 4));
    assert_eq!(shop.answer("node-app", "dev.local/app"), "Hello Builder");
}

#[test]
fn a_build_is_cancelled_with_its_pod_and_leaves_nothing() {
    let mut shop = Workshop::new();
    let busybox = Image::busybox("dev.local/busybox:1").expect("busybox");
    shop.instance.load_image(&busybox);
    shop.file(
        "Dockerfile",
        "FROM dev.local/busybox:1\nRUN echo now $((1+1)) && sleep 98761\n",
    );
    let name = shop.start(&["--no-push"]);
    let sleeps = || {
        let mut pgrep = Command::new("pgrep");
        run(pgrep.args(["-f", "^sleep 98761$"]), "").ok
    };
    shop.instance.eventually(PATIENCE, || {
        let log = shop.instance.kubectl(&format!("logs {name}"));
        log.stdout.contains("now 2") && sleeps()
    });
    let delete = format!("delete pod {name} --wait=true --timeout=60s");
    shop.instance.kubectl(&delete).expect();
    let builds = shop.instance.data_dir().join("builds");
    let is_empty = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.count() == 0
    };
    shop.instance
        .eventually(PATIENCE, || !sleeps() && is_empty(&builds));
}
