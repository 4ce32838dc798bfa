//! The store as a whole, with images written here. Owners and whiteouts need root; skipped without.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tar::{EntryType, Header};

use super::build::{Builder, Compression, Content, Layer};
use super::*;

mod registry;

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

fn hello() -> Builder {
    let config = ImageConfig {
        user: "1000:1000".to_owned(),
        env: vec!["PORT=8080".to_owned()],
        entrypoint: vec!["/app".to_owned()],
        working_dir: "/srv".to_owned(),
        ..ImageConfig::default()
    };
    let base = Layer::new()
        .file("etc/base", 0o644, "base")
        .entry("srv", 0o755, Content::Directory);
    let app = Layer::new()
        .file("app", 0o755, "#!")
        .entry("app2", 0o755, Content::HardLink("app".to_owned()))
        .entry("bin/app", 0o777, Content::Symlink("/app".to_owned()));
    Builder::new(config).layer(base).layer(app)
}

struct Fixture {
    directory: tempfile::TempDir,
    store: ImageStore,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = ImageStore::open(directory.path()).expect("a store");
        Self { directory, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn layer_count(&self) -> usize {
        let layers = self.path("images/layers");
        fs::read_dir(layers).expect("layers").count()
    }

    /// An image `name:v1`, brought by hand or, as far as the store knows, pulled.
    fn publish(&self, name: &str, loaded: bool) {
        let path = self.path(name);
        let layer = Layer::new().file("app", 0o644, name);
        let image = Builder::new(ImageConfig::default()).layer(layer);
        image
            .write_layout(&path, &format!("{name}:v1"))
            .expect("an image");
        let loaded_as = self.store.load(&path, None).expect("loads");
        let target = self.store.names().expect("names")[&loaded_as[0]]
            .target
            .clone();
        self.store
            .publish(&loaded_as, target, loaded)
            .expect("published");
    }

    fn get(&self, reference: &str) -> Option<Arc<Image>> {
        self.store.get(reference).expect("a readable store")
    }
}

#[test]
fn layouts_and_archives_load_in_every_compression() {
    if !is_root() {
        return;
    }
    let check = |compression: Compression, archive: bool| {
        let fixture = Fixture::new();
        let path = fixture.path("hello");
        let builder = hello().compression(compression);
        let digest = if archive {
            builder.write_archive(&path, "example.com/hello:v1")
        } else {
            builder.write_layout(&path, "example.com/hello:v1")
        };
        let digest = digest.expect("an image");
        let loaded = fixture.store.load(&path, None).expect("loads");
        assert_eq!(loaded, ["example.com/hello:v1"]);
        let image = fixture.get("example.com/hello:v1").expect("is here");
        assert_eq!(image.digest, digest);
        assert_eq!(image.config.entrypoint, ["/app"]);
        assert_eq!(image.layers.len(), 2);
        assert_eq!(
            fs::read(image.layers[0].join("app2")).expect("top layer first"),
            b"#!"
        );
        assert_eq!(
            fs::read(image.layers[1].join("etc/base")).expect("then the base"),
            b"base"
        );
        let by_digest = fixture
            .get(&format!("example.com/hello@{digest}"))
            .expect("by digest");
        assert_eq!(by_digest.digest, digest);
        assert!(fixture.get("example.com/hello:v2").is_none());
    };
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        check(compression, false);
        check(compression, true);
    }
}

#[test]
fn a_name_is_given_or_demanded() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new();
    let path = fixture.path("bare");
    hello().write_layout(&path, "v1").expect("an image");
    let error = fixture
        .store
        .load(&path, None)
        .expect_err("a bare tag names nothing");
    assert!(
        error.to_string().ends_with("give --name REFERENCE"),
        "{error}"
    );
    let loaded = fixture.store.load(&path, Some("hello")).expect("loads");
    assert_eq!(loaded, ["docker.io/library/hello:latest"]);
    assert!(fixture.get("index.docker.io/library/hello").is_some());
    let list = fixture.store.list().expect("a list");
    assert_eq!(list.len(), 1);
    assert!(list[0].loaded && list[0].size > 0);
}

/// An archive as `docker save` wrote them before it wrote layouts.
fn docker_archive(path: &Path) {
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "file", EntryType::Regular, b"content");
    let layer = layer.into_inner().expect("a layer");
    let diff_id = Digest::of(&layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/file"],"Env":null}},
            "rootfs":{{"type":"layers","diff_ids":["{diff_id}","{diff_id}"]}}}}"#
    );
    let manifest = r#"[{"Config":"c.json","RepoTags":["hello:v1","hello:v2"],
        "Layers":["a/layer.tar","b/layer.tar"]}]"#;
    let mut archive = tar::Builder::new(File::create(path).expect("a file"));
    append(&mut archive, "a/layer.tar", EntryType::Regular, &layer);
    let mut link = Header::new_gnu();
    link.set_entry_type(EntryType::Symlink);
    link.set_size(0);
    archive
        .append_link(&mut link, "b/layer.tar", "../a/layer.tar")
        .expect("appends");
    append(
        &mut archive,
        "c.json",
        EntryType::Regular,
        config.as_bytes(),
    );
    append(
        &mut archive,
        "manifest.json",
        EntryType::Regular,
        manifest.as_bytes(),
    );
    archive.finish().expect("an archive");
}

#[test]
fn a_docker_archive_loads_plain_and_compressed() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new();
    let plain = fixture.path("hello.tar");
    docker_archive(&plain);
    let compressed = fixture.path("hello.tar.zst");
    let bytes = fs::read(&plain).expect("an archive");
    fs::write(
        &compressed,
        zstd::encode_all(bytes.as_slice(), 1).expect("zstd"),
    )
    .expect("write");
    for path in [&plain, &compressed] {
        let loaded = fixture.store.load(path, None).expect("loads");
        assert_eq!(
            loaded,
            ["docker.io/library/hello:v1", "docker.io/library/hello:v2"]
        );
        let image = fixture.get("hello:v1").expect("is here");
        assert_eq!(image.config.cmd, ["/file"]);
        assert_eq!(
            image.layers.len(),
            1,
            "the same layer twice is mounted once"
        );
    }
}

fn append<W: Write>(to: &mut tar::Builder<W>, path: &str, kind: EntryType, bytes: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o4755);
    header.set_uid(12);
    header.set_gid(34);
    header.set_mtime(5);
    header.set_size(bytes.len() as u64);
    // Written by hand: the library refuses to write what an attacker would.
    let name = &mut header.as_old_mut().name;
    name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    to.append(&header, bytes).expect("appends");
}

fn append_link<W: Write>(to: &mut tar::Builder<W>, path: &str, kind: EntryType, target: &str) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(5);
    header.set_size(0);
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    to.append(&header, std::io::empty()).expect("appends");
}

fn unpacked(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut archive = tar::Builder::new(Vec::new());
    fill(&mut archive);
    let archive = archive.into_inner().expect("an archive");
    let root = directory.path().join("fs");
    fs::create_dir(&root).expect("a directory");
    let outcome = match unpack::unpack(archive.as_slice(), &root) {
        Ok(digest) => {
            assert_eq!(digest, Digest::of(&archive));
            String::new()
        }
        Err(failure) => format!("{}: {}", failure.entry, failure.source),
    };
    (directory, outcome)
}

#[test]
fn whiteouts_become_what_an_overlay_understands() {
    if !is_root() {
        return;
    }
    let (directory, outcome) = unpacked(|archive| {
        append(archive, "gone/.wh.file", EntryType::Regular, b"");
        append(archive, "opaque/.wh..wh..opq", EntryType::Regular, b"");
        append(archive, "opaque/new", EntryType::Regular, b"new");
        append(archive, ".wh.replaced", EntryType::Regular, b"");
        append(archive, "replaced/", EntryType::Directory, b"");
        append(archive, "kept", EntryType::Regular, b"kept");
        append(archive, ".wh.kept", EntryType::Regular, b"");
        append(archive, ".wh..wh.plnk", EntryType::Regular, b"");
    });
    assert_eq!(outcome, "");
    let root = directory.path().join("fs");
    let device = root
        .join("gone/file")
        .symlink_metadata()
        .expect("a whiteout");
    assert!(device.file_type().is_char_device() && device.rdev() == 0);
    for opaque in ["opaque", "replaced"] {
        let mut value = [0; 2];
        let path = root.join(opaque);
        let length = rustix::fs::lgetxattr(path, "trusted.overlay.opaque", &mut value[..]);
        assert_eq!((length.expect("a mark"), value[0]), (1, b'y'), "{opaque}");
    }
    assert_eq!(fs::read(root.join("opaque/new")).expect("a file"), b"new");
    assert_eq!(fs::read(root.join("kept")).expect("a file"), b"kept");
    assert_eq!(fs::read_dir(&root).expect("a list").count(), 4);
}

#[test]
fn owners_modes_times_links_and_attributes_survive() {
    if !is_root() {
        return;
    }
    let (directory, outcome) = unpacked(|archive| {
        append(archive, "./", EntryType::Directory, b"");
        append(archive, "./bin/su", EntryType::Regular, b"su");
        append_link(archive, "bin/sudo", EntryType::Link, "./bin/su");
        append_link(archive, "sbin", EntryType::Symlink, "bin");
        append(archive, "sbin/init", EntryType::Regular, b"init");
        let extensions = [("SCHILY.xattr.user.color", b"red".as_slice())];
        archive
            .append_pax_extensions(extensions)
            .expect("extensions");
        append(archive, "coloured", EntryType::Regular, b"1");
        append(archive, "coloured", EntryType::Regular, b"22");
        append(archive, "pipe", EntryType::Fifo, b"");
    });
    assert_eq!(outcome, "");
    let root = directory.path().join("fs");
    let su = root.join("bin/su").metadata().expect("a file");
    assert_eq!((su.uid(), su.gid(), su.mtime(), su.nlink()), (12, 34, 5, 2));
    assert_eq!(su.permissions().mode() & 0o7777, 0o4755);
    assert_eq!(root.metadata().expect("the root").uid(), 12);
    assert_eq!(
        fs::read(root.join("bin/init")).expect("through the link"),
        b"init"
    );
    assert_eq!(
        fs::read(root.join("coloured")).expect("the later one"),
        b"22"
    );
    assert!(
        root.join("pipe")
            .metadata()
            .expect("a pipe")
            .file_type()
            .is_fifo()
    );
}

#[test]
fn nothing_is_written_outside_the_layer() {
    if !is_root() {
        return;
    }
    let check = |expected: &str, fill: fn(&mut tar::Builder<Vec<u8>>)| {
        let (directory, outcome) = unpacked(fill);
        assert!(
            outcome.starts_with(expected),
            "{outcome:?} for {expected:?}"
        );
        let names: Vec<_> = fs::read_dir(directory.path())
            .expect("a list")
            .flatten()
            .collect();
        assert_eq!(names.len(), 1, "only fs: {names:?}");
    };
    check("../evil: the path leads out", |archive| {
        append(archive, "../evil", EntryType::Regular, b"");
    });
    check("", |archive| {
        append(archive, "/absolute", EntryType::Regular, b"")
    });
    check("", |archive| {
        append(archive, "evil", EntryType::Directory, b"");
        append_link(archive, "up", EntryType::Symlink, "../../..");
        append(archive, "up/evil/file", EntryType::Regular, b"");
    });
    check("hard: the path leads out", |archive| {
        append_link(archive, "hard", EntryType::Link, "../../etc/passwd");
    });
    check("hard: No such file", |archive| {
        append_link(archive, "up", EntryType::Symlink, "/proc/1/root");
        append_link(archive, "hard", EntryType::Link, "up/etc/passwd");
    });
}

#[test]
fn content_goes_with_the_last_name_and_never_under_a_user() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new();
    let base = Layer::new().file("base", 0o644, "base");
    let image = |text: &str| {
        let app = Layer::new().file("app", 0o644, text);
        Builder::new(ImageConfig::default())
            .layer(base.clone())
            .layer(app)
    };
    for (name, text) in [("one", "1"), ("two", "2")] {
        let path = fixture.path(name);
        image(text)
            .write_layout(&path, &format!("{name}:v1"))
            .expect("an image");
        fixture.store.load(&path, None).expect("loads");
    }
    assert_eq!(fixture.layer_count(), 3, "the base is shared");

    let one = fixture.get("one:v1").expect("is here");
    let error = fixture.store.remove("one:v1").expect_err("held");
    assert_eq!(
        error.to_string(),
        "image docker.io/library/one:v1 is in use"
    );
    fixture.store.remove("two:v1").expect("removed");
    assert_eq!(fixture.layer_count(), 2);
    assert!(fixture.get("two:v1").is_none());
    drop(one);
    fixture.store.remove("one:v1").expect("removed");
    assert_eq!(fixture.layer_count(), 0);
    let error = fixture.store.remove("one:v1").expect_err("gone");
    assert_eq!(
        error.to_string(),
        "image docker.io/library/one:v1 not found"
    );
}

#[test]
fn a_second_handle_sees_what_the_first_loads() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new();
    let other = ImageStore::open(fixture.directory.path()).expect("a second handle");
    assert!(other.get("hello").expect("a readable store").is_none());
    let path = fixture.path("hello");
    hello()
        .write_layout(&path, "hello:latest")
        .expect("an image");
    fixture.store.load(&path, None).expect("loads");
    assert!(other.get("hello").expect("a readable store").is_some());
}

#[test]
fn damaged_content_is_refused() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new();
    let path = fixture.path("hello");
    hello().write_layout(&path, "hello:v1").expect("an image");
    let blobs = fs::read_dir(path.join("blobs/sha256"))
        .expect("blobs")
        .flatten();
    let layer = blobs
        .map(|blob| blob.path())
        .max_by_key(|path| path.metadata().expect("m").len());
    let layer = layer.expect("a blob");
    let mut bytes = fs::read(&layer).expect("a layer");
    bytes[600] ^= 1;
    fs::write(&layer, bytes).expect("write");
    let error = fixture.store.load(&path, None).expect_err("damaged");
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    assert!(fixture.get("hello:v1").is_none());
}

#[test]
fn a_full_disk_costs_the_longest_unused_images() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new();
    ["old", "used", "young"]
        .iter()
        .for_each(|name| fixture.publish(name, false));
    fixture.publish("loaded", true);
    let _used = fixture.get("used:v1").expect("is here");
    fixture.get("young:v1").expect("is here");
    let policy = GcPolicy {
        age_min: std::time::Duration::ZERO,
        ..GcPolicy::default()
    };
    let gone = |percent: fn(usize) -> u8| {
        let count = || Ok(percent(fixture.store.list().expect("a list").len()));
        fixture.store.gc_by(policy, count).expect("collected")
    };
    assert!(gone(|_| 84).is_empty());
    assert_eq!(
        gone(|images| if images == 4 { 90 } else { 80 }),
        ["docker.io/library/old:v1"]
    );
    assert_eq!(gone(|_| 90), ["docker.io/library/young:v1"]);
    assert_eq!(fixture.layer_count(), 2, "one in use, one brought by hand");
}

#[tokio::test]
async fn images_nobody_uses_go_by_themselves() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new();
    fixture.publish("unused", false);
    fixture.publish("loaded", true);
    let policy = GcPolicy {
        high_percent: 0,
        low_percent: 0,
        age_min: std::time::Duration::ZERO,
    };
    let period = std::time::Duration::from_millis(1);
    let collecting = tokio::spawn(collect(fixture.store.clone(), policy, period));
    let gone = async {
        while fixture.get("unused:v1").is_some() {
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(60);
    tokio::time::timeout(patience, gone).await.expect("it goes");
    collecting.abort();
    assert!(fixture.get("loaded:v1").is_some());
}
