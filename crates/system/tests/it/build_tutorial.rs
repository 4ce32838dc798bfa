//! A Build tutorial of 2019, as it was published ("Knative on EKS", parts "Build" and "Serving"):
//! a Flask app is fetched by git, built by the kaniko step, pushed with the Secret's credentials
//! and served by a runLatest Service. Other than there: the git server and the registry are on
//! this machine, and `python:alpine` is Debian's Python with Flask, whose `pip` has nothing to do.

use std::time::Duration;

use system::{GitServer, Image, Instance, Registry};

const PATIENCE: Duration = Duration::from_secs(180);

const APP: &str = "
import os

from flask import Flask

app = Flask(__name__)

@app.route('/')
def hello_world():
    target = os.environ.get('TARGET', 'NOT SPECIFIED')
    return 'Hello World: {}!\\n'.format(target)

if __name__ == \"__main__\":
    app.run(debug=True, host='0.0.0.0', port=int(os.environ.get('PORT', 8080)))
";

const DOCKERFILE: &str = "
FROM python:alpine

ENV APP_HOME /app
COPY . $APP_HOME
WORKDIR $APP_HOME

RUN pip install Flask

ENTRYPOINT [\"python\"]
CMD [\"app.py\"]
";

/// Base64 of `user` and `secret`.
const ACCOUNT: &str = "
apiVersion: v1
kind: Secret
metadata:
  name: basic-user-pass
  annotations:
    build.knative.dev/docker-0: REGISTRY
type: kubernetes.io/basic-auth
data:
  # Use 'echo -n \"username\" | base64' to generate this string
  username: dXNlcg==
  # Use 'echo -n \"password\" | base64' to generate this string
  password: c2VjcmV0
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: build-bot
secrets:
  - name: basic-user-pass
";

const BUILD: &str = "
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata:
  name: python-build
spec:
  serviceAccountName: build-bot
  source:
    git:
      url: GIT_URL
      revision: master
  steps:
  - name: build-and-push
    image: gcr.io/kaniko-project/executor:v0.1.0
    args:
    - --dockerfile=/workspace/Dockerfile
    - --destination=REGISTRY/ddiiwoong/hello-python:latest
";

const SERVICE: &str = "
apiVersion: serving.knative.dev/v1alpha1
kind: Service
metadata:
  name: helloworld-python
  namespace: default
spec:
  runLatest:
    configuration:
      revisionTemplate:
        spec:
          container:
            image: REGISTRY/ddiiwoong/hello-python:latest
            env:
            - name: TARGET
              value: \"Python Sample v1 with Knative on EKS\"
";

/// The image the tutorial builds on.
fn python() -> Image {
    let mut image = Image::debian("python:alpine").expect("make the image");
    image.files = vec![
        (
            "usr/bin/python".to_owned(),
            0o755,
            b"#!/bin/sh\nexec python3 \"$@\"\n".to_vec(),
        ),
        (
            "usr/bin/pip".to_owned(),
            0o755,
            b"#!/bin/sh\necho \"Requirement already satisfied: $2\"\n".to_vec(),
        ),
    ];
    image.entrypoint = vec!["python".to_owned()];
    image
}

#[test]
fn knative_on_eks_2019() {
    let instance = Instance::start();
    instance.load_image(&python());
    let registry = Registry::start(&instance);
    let server = GitServer::start(&instance, None);
    server.commit(
        "hello-python.git",
        &[("app.py", APP), ("Dockerfile", DOCKERFILE)],
    );
    let apply = |manifest: &str| {
        let manifest = manifest.replace("REGISTRY", Registry::ADDRESS);
        let manifest = manifest.replace("GIT_URL", &server.url("hello-python.git"));
        instance.apply(&manifest).expect()
    };
    let said = apply(ACCOUNT);
    assert_eq!(
        said,
        "secret/basic-user-pass created\nserviceaccount/build-bot created\n"
    );
    assert_eq!(
        apply(BUILD),
        "build.build.knative.dev/python-build created\n"
    );
    let row = || {
        let table = instance
            .kubectl("get build python-build --no-headers")
            .stdout;
        table
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    instance.eventually(PATIENCE, || {
        row().get(1).is_some_and(|word| word != "Unknown")
    });
    let pod = "get build python-build -o jsonpath={.status.cluster.podName}";
    let pod = instance.kubectl(pod).expect();
    let log = instance.kubectl(&format!("logs {pod} -c build-step-build-and-push"));
    assert_eq!(row()[1], "True", "{:?}\n{}", row(), log.stdout);
    let log = log.expect();
    assert!(
        log.contains("Requirement already satisfied: Flask"),
        "{log}"
    );
    let tags = registry.get(&instance, "ddiiwoong/hello-python/tags/list");
    assert!(tags.is_some_and(|tags| tags.contains("latest")));

    // Docker Hub lets everybody pull; this registry wants the password for that, too.
    let server = Registry::ADDRESS;
    let words = format!(
        "create secret docker-registry pull --docker-server={server} --docker-username=user --docker-password=secret"
    );
    instance.kubectl(&words).expect();
    let patch = "patch serviceaccount default -p {\"imagePullSecrets\":[{\"name\":\"pull\"}]}";
    instance.kubectl(patch).expect();

    let said = apply(SERVICE);
    assert_eq!(
        said,
        "service.serving.knative.dev/helloworld-python created\n"
    );
    let ready = "wait ksvc/helloworld-python --for=condition=Ready --timeout=120s";
    let ready = instance.kubectl(ready);
    let state = || instance.kubectl("get revisions,pods -o yaml").stdout;
    assert!(ready.ok, "{}", state());
    let host = "helloworld-python.default.example.com";
    let answer = instance.curl(host, "/").expect();
    assert_eq!(
        answer,
        "Hello World: Python Sample v1 with Knative on EKS!\n"
    );
}
