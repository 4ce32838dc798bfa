//! Files, cgroups and kernel settings.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::picture;
use crate::row::Rows;
use crate::test::{Test, text};

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestMustHaveCgroupConfigured",
        "limits of memory and processor and the processor's share are the cgroup's",
        cgroup,
    )
    .test(
        "TestShouldHaveCgroupReadOnly",
        "the cgroup's files cannot be written",
        |test| read_only(test, "cgroups"),
    )
    .test(
        "TestShouldHaveSysctlReadOnly",
        "/proc/sys cannot be written",
        |test| read_only(test, "sysctls"),
    )
    .test(
        "TestMustHaveFiles",
        "the devices of /dev, its links into /proc/self/fd, and /tmp for everybody",
        must_files,
    )
    .test(
        "TestShouldHaveFiles",
        "/etc/resolv.conf can be read, /dev/console is not there",
        should_files,
    )
}

/// The values of cgroup files by name, as found.
fn values(picture: &Value) -> Vec<(String, String)> {
    let files = picture["host"]["cgroups"].as_array();
    let files = files.into_iter().flatten();
    let found = files.filter(|file| file["error"].is_null());
    found
        .map(|file| (text(file, "/name"), text(file, "/value")))
        .collect()
}

async fn cgroup(test: Test) -> Result<()> {
    let resources = json!({
        "limits": {"cpu": "1", "memory": "128Mi"}, "requests": {"cpu": "125m"},
    });
    let draft = test.draft("runtime").container("resources", resources);
    let (_, picture) = picture(&test, &draft).await?;
    let values = values(&picture);
    let value = |name: &str| {
        let found = values.iter().find(|(path, _)| path.ends_with(name));
        found.map(|(_, value)| value.as_str())
    };
    // cgroup v2 has the first name of each pair, v1 the second.
    let memory = value("/memory.max").or_else(|| value("/memory.limit_in_bytes"));
    ensure!(memory == Some("134217728"), "{values:?}");
    let numbers = |text: &str| -> Vec<u64> {
        text.split(' ')
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    let (quota, period) = match value("/cpu.max") {
        Some(both) => match numbers(both)[..] {
            [quota, period] => (quota, period),
            _ => anyhow::bail!("{both}"),
        },
        None => (
            value("/cpu.cfs_quota_us").context("quota")?.parse()?,
            value("/cpu.cfs_period_us").context("period")?.parse()?,
        ),
    };
    ensure!(quota == period, "{quota} of {period}");
    match value("/cpu.shares") {
        Some(shares) => ensure!(shares == "128", "{shares}"),
        None => {
            let weight: u64 = value("/cpu.weight").context("weight")?.parse()?;
            ensure!(weight >= 1, "{weight}");
        }
    }
    Ok(())
}

async fn read_only(test: Test, what: &'static str) -> Result<()> {
    let (_, picture) = picture(&test, &test.draft("runtime")).await?;
    let files = picture["host"][what].as_array().context("a list")?;
    let there: Vec<_> = files
        .iter()
        .filter(|file| file["error"].is_null())
        .collect();
    ensure!(!there.is_empty(), "{files:?}");
    for file in there {
        ensure!(file["readOnly"] == true, "{file}");
    }
    Ok(())
}

async fn must_files(test: Test) -> Result<()> {
    let (_, picture) = picture(&test, &test.draft("runtime")).await?;
    let files = &picture["host"]["files"];
    let dev = ["full", "null", "ptmx", "random", "tty", "urandom", "zero"];
    for name in dev {
        let file = &files[format!("/dev/{name}")];
        ensure!(file["isDir"] == false, "/dev/{name}: {file}");
    }
    let links = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ];
    for (link, target) in links {
        ensure!(
            files[link]["sourceFile"] == target,
            "{link}: {}",
            files[link]
        );
    }
    ensure!(files["/proc/self/fd"]["isDir"] == true, "/proc/self/fd");
    for number in 0..3 {
        let file = &files[format!("/proc/self/fd/{number}")];
        ensure!(file["isDir"] == false, "{number}: {file}");
    }
    let tmp = text(&files["/tmp"], "/mode");
    ensure!(tmp.ends_with("777"), "/tmp: {tmp}");
    Ok(())
}

async fn should_files(test: Test) -> Result<()> {
    let (_, picture) = picture(&test, &test.draft("runtime")).await?;
    let files = &picture["host"]["files"];
    let mode = text(&files["/etc/resolv.conf"], "/mode");
    let mode = u32::from_str_radix(&mode, 8).context(mode)?;
    ensure!(mode & 0o644 == 0o644, "{mode:o}");
    let console = &files["/dev/console"];
    ensure!(console["error"].is_string(), "{console}");
    Ok(())
}
