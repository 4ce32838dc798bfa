//! Environment, user, arguments, standard input, headers, protocol.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{look, picture};
use crate::row::Rows;
use crate::test::{Test, text};
use crate::web::Ask;

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestCmdArgs",
        "command and args take the place of the image's",
        command,
    )
    .test(
        "TestSecretsViaEnv",
        "a Secret's key by valueFrom and all of them by envFrom",
        |test| from(test, "secret"),
    )
    .test(
        "TestConfigsViaEnv",
        "a ConfigMap's key by valueFrom and all of them by envFrom",
        |test| from(test, "configMap"),
    )
    .test(
        "TestShouldEnvVars",
        "K_SERVICE, K_CONFIGURATION and K_REVISION name what they say",
        names,
    )
    .test("TestMustEnvVars", "PORT is the containerPort", port)
    .test(
        "TestShouldHaveStdinEOF",
        "standard input is at its end",
        stdin,
    )
    .test(
        "TestMustHaveHeadersSet",
        "the application gets Host and Forwarded",
        must_headers,
    )
    .test(
        "TestShouldHaveHeadersSet",
        "X-Forwarded-For and -Proto are there; traceparent and headers of one's own come through",
        should_headers,
    )
    .test(
        "TestProtocols",
        "port name h2c: the application sees HTTP/2; http1 or none: HTTP/1.1",
        protocols,
    )
    .test("TestMustRunAsUser", "runAsUser is obeyed", |test| {
        user(test, Some(2020))
    })
    .test(
        "TestShouldRunAsUserContainerDefault",
        "without it the image's user runs",
        |test| user(test, None),
    )
    .test(
        "TestWorkingDirService",
        "workingDir is obeyed, without it the image's",
        working_dir,
    )
}

async fn command(test: Test) -> Result<()> {
    let draft = test
        .draft("helloworld")
        .container("command", json!(["/ko-app/runtime"]))
        .container("args", json!(["abc", "foo"]));
    let (_, picture) = picture(&test, &draft).await?;
    let args = &picture["host"]["args"];
    ensure!(*args == json!(["/ko-app/runtime", "abc", "foo"]), "{args}");
    Ok(())
}

async fn from(test: Test, kind: &'static str) -> Result<()> {
    let object = format!("conformance-test-{}", kind.to_lowercase());
    let one = json!([{"name": "testKey", "valueFrom": {
        format!("{kind}KeyRef"): {"name": object, "key": "testKey"},
    }}]);
    let all = json!([{format!("{kind}Ref"): {"name": object}}]);
    for (field, value) in [("env", one), ("envFrom", all)] {
        let test = test.also(&test.name);
        let draft = test.draft("runtime").container(field, value);
        let (_, picture) = picture(&test, &draft).await?;
        let value = &picture["host"]["envs"]["testKey"];
        ensure!(*value == "testValue", "{field}: {value}");
    }
    Ok(())
}

async fn names(test: Test) -> Result<()> {
    let (service, picture) = picture(&test, &test.draft("runtime")).await?;
    let envs = &picture["host"]["envs"];
    ensure!(envs["K_SERVICE"] == service.name(), "{envs}");
    ensure!(envs["K_CONFIGURATION"] == service.name(), "{envs}");
    ensure!(envs["K_REVISION"] == service.revision(), "{envs}");
    Ok(())
}

async fn port(test: Test) -> Result<()> {
    let draft = test
        .draft("runtime")
        .container("ports", json!([{"containerPort": 8801}]));
    let (_, picture) = picture(&test, &draft).await?;
    let port = &picture["host"]["envs"]["PORT"];
    ensure!(*port == "8801", "{port}");
    Ok(())
}

async fn stdin(test: Test) -> Result<()> {
    let (_, picture) = picture(&test, &test.draft("runtime")).await?;
    let stdin = &picture["host"]["stdin"];
    ensure!(stdin["eof"] == true, "{stdin}");
    Ok(())
}

fn header<'a>(picture: &'a Value, name: &str) -> Result<&'a str> {
    let value = picture["request"]["headers"][name].as_str();
    value.with_context(|| format!("{name} is not there: {}", picture["request"]["headers"]))
}

async fn must_headers(test: Test) -> Result<()> {
    let (service, picture) = picture(&test, &test.draft("runtime")).await?;
    let host = text(&picture, "/request/host");
    ensure!(service.url().ends_with(&host) && !host.is_empty(), "{host}");
    // RFC 7239: pairs of name and value, with semicolons and commas between them.
    let forwarded = header(&picture, "forwarded")?;
    let pairs = forwarded.split([',', ';']);
    for pair in pairs {
        let (name, value) = pair.trim().split_once('=').context("no pair")?;
        let is_known = ["for", "by", "proto", "host"].contains(&name.to_lowercase().as_str());
        ensure!(is_known && !value.is_empty(), "{forwarded}");
    }
    Ok(())
}

async fn should_headers(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("runtime")).await?;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let ask = Ask::get(&service.url(), "/")
        .header("this-was-user-set", "a value")
        .header("traceparent", trace);
    let picture = look(&test, &ask).await?;
    ensure!(header(&picture, "this-was-user-set")? == "a value", "ours");
    let proto = header(&picture, "x-forwarded-proto")?;
    ensure!(proto == "http" || proto == "https", "{proto}");
    for address in header(&picture, "x-forwarded-for")?.split(',') {
        let parsed = address.trim().parse::<std::net::IpAddr>();
        ensure!(parsed.is_ok(), "{address}");
    }
    // The span may be another one; the trace is the same.
    let traced = header(&picture, "traceparent")?;
    ensure!(traced.get(..36) == trace.get(..36), "{traced}");
    Ok(())
}

async fn protocols(test: Test) -> Result<()> {
    for (name, major) in [("h2c", 2), ("http1", 1), ("", 1)] {
        let test = test.also(&test.name);
        let mut draft = test.draft("runtime");
        if !name.is_empty() {
            draft = draft.port_name(name);
        }
        let (_, picture) = picture(&test, &draft).await?;
        let seen = &picture["request"]["protoMajor"];
        ensure!(*seen == major, "port name {name:?}: {seen}");
    }
    Ok(())
}

async fn user(test: Test, user: Option<u64>) -> Result<()> {
    let mut draft = test.draft("runtime");
    if let Some(user) = user {
        draft = draft.container("securityContext", json!({"runAsUser": user}));
    }
    let (_, picture) = picture(&test, &draft).await?;
    let found = &picture["host"]["user"];
    let wanted = user.unwrap_or(65532);
    ensure!(found["uid"] == wanted && found["euid"] == wanted, "{found}");
    Ok(())
}

async fn working_dir(test: Test) -> Result<()> {
    let cases = [(None, "/home/nonroot"), (Some("/tmp"), "/tmp")];
    for (given, wanted) in cases {
        let test = test.also(&test.name);
        let mut draft = test.draft("workingdir");
        if let Some(given) = given {
            draft = draft.container("workingDir", json!(given));
        }
        let (_, picture) = picture(&test, &draft).await?;
        let found = &picture["host"]["cwd"];
        ensure!(*found == wanted, "{given:?}: {found}");
    }
    Ok(())
}
