//! From source to a Service without kubectl: `rekindle build`, `build logs`,
//! `service create --source`.

use std::fs;

use system::{App, GitServer, Image, Instance};

const DOCKERFILE: &str = "
FROM dev.local/busybox:1
ARG WHO=World
COPY hello /bin/hello
RUN echo \"built for $WHO\"
ENV TARGET=$WHO
ENTRYPOINT [\"/bin/hello\"]
";

#[test]
fn from_source_to_a_service() {
    let instance = Instance::start();
    let busybox = Image::busybox("dev.local/busybox:1").expect("make the image");
    instance.load_image(&busybox);
    let source = tempfile::tempdir().expect("a directory");
    let hello = App::Hello.build().expect("a static binary");
    fs::copy(hello, source.path().join("hello")).expect("copy");
    fs::write(source.path().join("Dockerfile"), DOCKERFILE).expect("write");

    let create = format!("service create hello --source {}", source.path().display());
    let said = instance.verb(&create).expect();
    assert!(said.contains("[build]"), "{said}");
    assert!(said.contains("built for World"), "{said}");
    assert!(said.contains("is available at URL"), "{said}");
    let hello = || instance.curl("hello.default.localhost", "/").expect();
    assert_eq!(hello(), "Hello World!\n");

    let changed = DOCKERFILE.replace("World", "Again");
    fs::write(source.path().join("Dockerfile"), changed).expect("write");
    instance.verb(&create.replace("create", "update")).expect();
    assert_eq!(hello(), "Hello Again!\n");

    // From a repository, with another Dockerfile and an argument.
    let server = GitServer::start(&instance, None);
    let other = "FROM dev.local/busybox:1\nARG WHO\nCOPY . /src\nRUN cat /src/f && echo $WHO\n";
    server.commit(
        "Some_App.git",
        &[("f", "content\n"), ("docker/Other", other)],
    );
    let url = server.url("Some_App.git");
    let words = format!("build {url} --file docker/Other --build-arg WHO=me");
    let said = instance.verb(&words).expect();
    assert!(said.contains("Successfully cloned"), "{said}");
    assert!(said.contains("content\n"), "{said}");
    assert!(said.ends_with("Built dev.local/some-app\n"), "{said}");
    let images = instance.verb("image ls").expect();
    assert!(images.contains("dev.local/some-app"), "{images}");
    let builds = instance.kubectl("get builds -o name").expect();
    let last = builds
        .lines()
        .find_map(|line| line.split_once("/some-app-"));
    let (_, suffix) = last.expect("the Build is there");
    let again = instance
        .verb(&format!("build logs some-app-{suffix}"))
        .expect();
    assert!(again.contains("content\n"), "{again}");

    fs::write(
        source.path().join("Dockerfile"),
        "FROM dev.local/busybox:1\nRUN exit 7\n",
    )
    .expect("write");
    let said = instance.verb(&format!("build {}", source.path().display()));
    let said = said.expect_failure();
    assert!(said.contains("BuildExecuteFailed"), "{said}");
    let name = said.split("Build ").nth(1);
    let name = name.and_then(|rest| rest.split(':').next());
    let name = name.expect("the Build is named");
    let again = instance.verb(&format!("build logs {name}")).expect();
    assert!(again.contains("STEP 1/1: RUN exit 7"), "{again}");
    assert!(
        again.contains(": BuildExecuteFailed: build step"),
        "{again}"
    );

    // What cannot be built is told before anything is begun.
    let plain = tempfile::tempdir().expect("a directory");
    let plain = plain.path().display();
    let said = instance.verb(&format!("service create plain --source {plain}"));
    let said = said.expect_failure();
    assert!(
        said.contains(&format!("{plain}/Dockerfile is not there")),
        "{said}"
    );
    assert!(
        !instance
            .kubectl("get ksvc -o name")
            .expect()
            .contains("plain")
    );
    let said = instance.verb("build logs nothing").expect_failure();
    assert!(said.contains("\"nothing\" not found"), "{said}");
    let said = instance.verb("build /nowhere").expect_failure();
    assert!(said.contains("neither a directory nor the URL"), "{said}");
}
