//! What copies put where: stories on directories, without mounts and containers.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use dockerfile::{Chown, Ignore, Mode};

use super::context::Source;
use super::copy::{Look, Sink};
use super::mount::forget_mount_point;
use super::owner;
use super::room::Room;

fn open(dir: &Path) -> std::os::fd::OwnedFd {
    File::open(dir).expect("open").into()
}

/// Copies `from` in `source` to `dest` in `target`, as root.
fn copy(source: &Path, from: &str, target: &Path, dest: &str, look: Look) -> Result<(), String> {
    let source = Source::new(open(source), Ignore::default());
    let mut sink = Sink::new(open(target), look);
    for found in source.select(from).expect("select") {
        let copied = sink.copy(&source, &found, &Ignore::default(), dest);
        copied.map_err(|error| error.to_string())?;
    }
    let finished = sink.finish();
    finished.map(drop).map_err(|error| error.to_string())
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}

#[test]
fn files_and_directories_go_where_docker_puts_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let (source, target) = (dir.path().join("s"), dir.path().join("t"));
    fs::create_dir_all(source.join("d/e")).expect("make");
    fs::create_dir_all(target.join("usr/bin")).expect("make");
    fs::create_dir(target.join("etc")).expect("make");
    symlink("usr/bin", target.join("bin")).expect("link");
    symlink("/etc", target.join("out")).expect("link");
    for name in ["a", "d/b", "d/e/c"] {
        fs::write(source.join(name), name).expect("write");
    }
    symlink("a", source.join("d/link")).expect("link");
    let plain = Look::default();
    let go = |from: &str, dest: &str| copy(&source, from, &target, dest, plain.clone());
    go("a", "/x").expect("to a name");
    go("a", "/y/z/").expect("into a new directory");
    go("a", "/bin").expect("through a link");
    go("a", "/out/f").expect("no link leads out");
    go("d", "/d2").expect("what is in a directory");
    go("d/e/../e", "/d2/").expect("beside what is there");
    let checks = [
        ("x", "a"),
        ("y/z/a", "a"),
        ("usr/bin/a", "a"),
        ("etc/f", "a"),
        ("d2/b", "d/b"),
        ("d2/e/c", "d/e/c"),
        ("d2/c", "d/e/c"),
    ];
    for (path, content) in checks {
        assert_eq!(read(&target.join(path)), content);
    }
    assert!(!Path::new("/etc/f").exists());
    let link = fs::read_link(target.join("d2/link")).expect("a link");
    assert_eq!(link, Path::new("a"));
    let error = go("a", "/d2/e/c/x").expect_err("a file in the way");
    assert!(error.contains("Not a directory"), "{error}");
}

#[test]
fn owners_permissions_and_times() {
    let dir = tempfile::tempdir().expect("a directory");
    let (source, target) = (dir.path().join("s"), dir.path().join("t"));
    fs::create_dir_all(&source).expect("make");
    fs::create_dir_all(target.join("etc")).expect("make");
    fs::create_dir_all(target.join("old")).expect("make");
    fs::write(source.join("f"), "f").expect("write");
    fs::set_permissions(source.join("f"), fs::Permissions::from_mode(0o640)).expect("mode");
    crate::image::pack::set_mtime(&source.join("f"), 1000).expect("time");
    crate::image::pack::set_mtime(&target.join("old"), 2000).expect("time");
    fs::write(target.join("etc/passwd"), "app:x:7:8::/:/bin/sh\n").expect("write");
    fs::write(target.join("etc/group"), "web:x:9:\n").expect("write");
    let chown = |user: &str, group: Option<&str>| {
        let chown = Chown {
            user: user.to_owned(),
            group: group.map(str::to_owned),
        };
        owner::numbers(&open(&target), &chown)
    };
    assert_eq!(chown("app", None), Ok((7, 8)));
    assert_eq!(chown("app", Some("web")), Ok((7, 9)));
    assert_eq!(chown("55", None), Ok((55, 55)));
    assert!(chown("nobody", None).is_err());
    let look = Look {
        owner: Some((7, 9)),
        mode: Some(Mode::Bits(0o711)),
        ..Look::default()
    };
    copy(&source, "f", &target, "/old/", Look::default()).expect("copy");
    copy(&source, "f", &target, "/new/deep/f", look).expect("copy");
    let meta = |path: &str| {
        let found = fs::metadata(target.join(path)).expect(path);
        let mode = found.mode() & 0o7777;
        (found.uid(), found.gid(), mode, found.mtime())
    };
    let letters = Look {
        mode: Some(Mode::Letters("go=rX,u+x".to_owned())),
        ..Look::default()
    };
    copy(&source, "f", &target, "/letters", letters).expect("copy");
    assert_eq!(meta("letters").2, 0o744);
    assert_eq!(meta("old/f"), (0, 0, 0o640, 1000));
    assert_eq!(meta("new/deep/f"), (7, 9, 0o711, 1000));
    // Directories on the way belong to the same user and have no time of their own; one that was
    // there keeps its own.
    assert_eq!(meta("new"), (7, 9, 0o755, 0));
    assert_eq!(meta("old").3, 2000);
}

#[test]
fn archives_are_unpacked_by_what_is_in_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let target = dir.path().join("t");
    fs::create_dir(&target).expect("make");
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in [("a/one", "1"), ("two", "2")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o600);
        header.set_uid(3);
        header.set_gid(4);
        builder
            .append_data(&mut header, path, text.as_bytes())
            .expect("append");
    }
    let plain = builder.into_inner().expect("an archive");
    let zipped = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &plain).expect("compress");
        encoder.finish().expect("compress")
    };
    let bzipped = {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &plain).expect("compress");
        encoder.finish().expect("compress")
    };
    let xzipped = {
        let options = lzma_rust2::XzOptions::with_preset(1);
        let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).expect("a writer");
        std::io::Write::write_all(&mut writer, &plain).expect("compress");
        writer.finish().expect("compress")
    };
    let unpack = |bytes: &[u8], dest: &str| {
        let mut sink = Sink::new(open(&target), Look::default());
        let unpacked = sink.unpack(&mut std::io::Cursor::new(bytes), dest);
        sink.finish().expect("finish");
        unpacked.map_err(|error| error.to_string())
    };
    let all = [
        (&plain, "/p"),
        (&zipped, "/z"),
        (&bzipped, "/b"),
        (&xzipped, "/x"),
    ];
    for (bytes, dest) in all {
        assert_eq!(unpack(bytes, dest), Ok(true));
        let one = target.join(&dest[1..]).join("a/one");
        assert_eq!(read(&one), "1");
        assert_eq!(fs::metadata(&one).expect("there").uid(), 3);
    }
    assert_eq!(unpack(b"no archive", "/n"), Ok(false));
    assert_eq!(unpack(b"", "/n"), Ok(false));
    for damaged in [&b"\xfd7zXZ\0..."[..], b"BZh9..."] {
        assert_eq!(unpack(damaged, "/n"), Ok(false));
    }
}

#[test]
fn what_is_put_somewhere_needs_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let target = dir.path().join("t");
    fs::create_dir(&target).expect("make");
    // Small as it is, it becomes large.
    let packed = {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let mut builder = tar::Builder::new(encoder);
        for name in ["a", "b", "c"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(4 << 20);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_cksum();
            let zeros = std::io::Read::take(std::io::repeat(0), 4 << 20);
            builder.append_data(&mut header, name, zeros).expect("add");
        }
        let encoder = builder.into_inner().expect("the archive");
        encoder.finish().expect("compress")
    };
    assert!(packed.len() < 64 << 10);
    let unpack = |max: u64| {
        let look = Look {
            room: Some(Room { max, used: 1 }),
            ..Look::default()
        };
        let mut sink = Sink::new(open(&target), look);
        let unpacked = sink.unpack(&mut std::io::Cursor::new(&packed), "/x");
        unpacked.map_err(|error| error.to_string())?;
        sink.finish().map_err(|error| error.to_string())
    };
    assert_eq!(unpack((12 << 20) + 1), Ok(12 << 20));
    fs::remove_dir_all(target.join("x")).expect("remove");
    let error = "the build has made more than 6291456 bytes of files";
    assert_eq!(unpack(6 << 20), Err(error.to_owned()));
    let length = |name: &str| fs::metadata(target.join("x").join(name)).map_or(0, |m| m.len());
    let written: u64 = ["a", "b", "c"].map(length).iter().sum();
    assert!(written <= 6 << 20, "{written}");
}

#[test]
fn mount_points_that_were_made_go_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (upper, lower) = (dir.path().join("u"), dir.path().join("l"));
    fs::create_dir_all(upper.join("var/cache/pip")).expect("make");
    fs::create_dir_all(upper.join("kept/point")).expect("make");
    fs::write(upper.join("kept/file"), "x").expect("write");
    fs::create_dir_all(lower.join("var")).expect("make");
    let lower = [lower];
    for target in ["/var/cache/pip", "/kept/point", "/missing"] {
        forget_mount_point(&upper, &lower, target);
    }
    assert!(upper.join("var").exists() && !upper.join("var/cache").exists());
    assert!(upper.join("kept/file").exists() && !upper.join("kept/point").exists());
}
