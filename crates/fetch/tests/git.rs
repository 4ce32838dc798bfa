//! Repositories on disk, made here: what is checked out for each way to name a revision.

use std::fs;
use std::path::Path;

use fetch::git::{Source, fetch};
use gix::objs::Tree;
use gix::objs::tree::{Entry, EntryKind};
use gix::refs::transaction::PreviousValue;
use gix::{ObjectId, Repository};

fn repository(path: &Path) -> Repository {
    let options = gix::open::Options::isolated().config_overrides([
        "gitoxide.committer.nameFallback=A",
        "gitoxide.committer.emailFallback=a@example.com",
    ]);
    let kind = gix::create::Kind::WithWorktree;
    gix::ThreadSafeRepository::init_opts(path, kind, gix::create::Options::default(), options)
        .expect("a repository")
        .to_thread_local()
}

fn entry(name: &str, kind: EntryKind, id: ObjectId) -> Entry {
    Entry {
        mode: kind.into(),
        filename: name.into(),
        oid: id,
    }
}

fn commit(repo: &Repository, mut entries: Vec<Entry>, parents: Vec<ObjectId>) -> ObjectId {
    entries.sort();
    let tree = repo.write_object(&Tree { entries }).expect("a tree");
    let who = gix::actor::SignatureRef {
        name: "A".into(),
        email: "a@example.com".into(),
        time: "0 +0000",
    };
    repo.commit_as(who, who, "refs/heads/master", "text", tree, parents)
        .expect("a commit")
        .detach()
}

fn blob(repo: &Repository, text: &str) -> ObjectId {
    repo.write_blob(text).expect("a blob").detach()
}

fn check(url: &Path, revision: &str, file: &str, want: Result<&str, &str>) {
    let home = tempfile::tempdir().expect("a directory");
    let target = tempfile::tempdir().expect("a directory");
    let source = Source {
        url: format!("file://{}", url.display()),
        revision: revision.to_owned(),
        directory: target.path().to_owned(),
        home: home.path().to_owned(),
    };
    let done = fetch(&source, &mut |_| {});
    match want {
        Ok(text) => {
            done.unwrap_or_else(|error| panic!("{revision}: {error}"));
            let found = fs::read_to_string(target.path().join(file)).expect(file);
            assert_eq!(found, text, "{revision}");
        }
        Err(text) => {
            let said = done.expect_err(revision).to_string();
            assert!(said.contains(text), "{revision}: {said}");
        }
    }
}

#[test]
fn every_way_to_name_a_revision() {
    let dir = tempfile::tempdir().expect("a directory");
    let lib = dir.path().join("lib");
    let library = repository(&lib);
    let in_lib = blob(&library, "lib");
    let lib_commit = commit(&library, vec![entry("l", EntryKind::Blob, in_lib)], vec![]);

    let path = dir.path().join("app");
    let repo = repository(&path);
    let one = blob(&repo, "one");
    let first = commit(&repo, vec![entry("f", EntryKind::Blob, one)], vec![]);
    let modules = "[submodule \"lib\"]\n\tpath = deps/lib\n\turl = ../lib\n";
    let modules = blob(&repo, modules);
    let link = entry("lib", EntryKind::Commit, lib_commit);
    let deps = Tree {
        entries: vec![link],
    };
    let deps = repo.write_object(&deps).expect("a tree").detach();
    let two = blob(&repo, "two");
    let files = vec![
        entry("f", EntryKind::BlobExecutable, two),
        entry(".gitmodules", EntryKind::Blob, modules),
        entry("deps", EntryKind::Tree, deps),
    ];
    let second = commit(&repo, files, vec![first]);
    let name = |name: &str, id: ObjectId| {
        repo.reference(name, id, PreviousValue::Any, "")
            .expect(name);
    };
    fs::write(path.join(".git/HEAD"), "ref: refs/heads/master\n").expect("written");
    name("refs/tags/v1", first);
    name("refs/heads/topic", first);
    for (revision, file, want) in [
        ("", "f", Ok("two")),
        ("master", "f", Ok("two")),
        ("master", "deps/lib/l", Ok("lib")),
        ("topic", "f", Ok("one")),
        ("v1", "f", Ok("one")),
        ("refs/tags/v1", "f", Ok("one")),
        (&first.to_string(), "f", Ok("one")),
        (&second.to_string()[..10], "f", Ok("two")),
        ("master~1", "f", Ok("one")),
        ("nope", "f", Err("no branch, tag or commit \"nope\"")),
    ] {
        check(&path, revision, file, want);
    }
    check(&dir.path().join("none"), "master", "f", Err("open file://"));
}
