//! Git for tests: repositories made by the real git, served over HTTP by the real
//! `git http-backend` inside an instance's network namespace.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::command::run;
use crate::instance::Instance;

/// The directory whose files are given as they are.
const FILES: &str = "files/";

/// A directory of bare repositories, and where it is served; the server ends with the process.
#[derive(Debug)]
pub struct GitServer {
    root: TempDir,
    /// The port on all addresses of the instance's namespace.
    port: u16,
}

impl GitServer {
    /// Serves an empty directory. With `password`, only who presents `USER:PASSWORD` gets in.
    pub fn start(instance: &Instance, password: Option<&'static str>) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let listener = instance.within(|| TcpListener::bind("0.0.0.0:0"));
        let listener = listener.expect("listen in the namespace");
        let port = listener.local_addr().expect("it listens").port();
        let path = root.path().to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let path = path.clone();
                thread::spawn(move || answer(&stream, &path, password));
            }
        });
        Self { root, port }
    }

    /// The URL of a repository as Pods reach it.
    pub fn url(&self, name: &str) -> String {
        format!("http://10.42.0.1:{}/{name}", self.port)
    }

    /// Where a bare repository is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Makes the repository `name` with a commit of these files on the branch `master`, or adds a
    /// commit to it. Gives the commit.
    pub fn commit(&self, name: &str, files: &[(&str, &str)]) -> String {
        let bare = self.path(name);
        let work = tempfile::tempdir().expect("a directory");
        if bare.exists() {
            git(work.path(), &["clone", "-q", &bare.to_string_lossy(), "."]);
        } else {
            git(work.path(), &["init", "-q", "-b", "master"]);
        }
        for (path, content) in files {
            let path = work.path().join(path);
            fs::create_dir_all(path.parent().expect("below the work tree")).expect("made");
            fs::write(path, content).expect("written");
        }
        git(work.path(), &["add", "-A"]);
        git(work.path(), &["commit", "-q", "-m", "a change"]);
        if bare.exists() {
            git(work.path(), &["push", "-q", "origin", "HEAD:master"]);
        } else {
            let bare = bare.to_string_lossy();
            git(work.path(), &["clone", "-q", "--bare", ".", &bare]);
        }
        let commit = git(work.path(), &["rev-parse", "HEAD"]);
        commit.trim().to_owned()
    }

    /// Adds a commit with a submodule at `path`.
    pub fn link(&self, name: &str, path: &str, (url, commit): (&str, &str)) {
        let work = tempfile::tempdir().expect("a directory");
        let bare = self.path(name);
        git(work.path(), &["clone", "-q", &bare.to_string_lossy(), "."]);
        let modules = format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n");
        fs::write(work.path().join(".gitmodules"), modules).expect("written");
        git(work.path(), &["add", ".gitmodules"]);
        let entry = format!("160000,{commit},{path}");
        git(
            work.path(),
            &["update-index", "--add", "--cacheinfo", &entry],
        );
        git(work.path(), &["commit", "-q", "-m", "a submodule"]);
        git(work.path(), &["push", "-q", "origin", "HEAD:master"]);
    }

    /// Packs `master` of a repository as an archive of this format; gives its URL.
    pub fn archive(&self, name: &str, format: &str) -> String {
        let file = format!("{FILES}{name}.{format}");
        let path = self.root.path().join(&file);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        let output = format!("--output={}", path.display());
        let format = format!("--format={format}");
        self.git(name, &["archive", &format, &output, "master"]);
        self.url(&file)
    }

    /// Gives `content` at `files/NAME`, as archives are given.
    pub fn file(&self, name: &str, content: &str) {
        let path = self.root.path().join(FILES).join(name);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, content).expect("written");
    }

    /// Runs git in a bare repository.
    pub fn git(&self, name: &str, args: &[&str]) -> String {
        git(&self.path(name), args)
    }
}

/// Git without anybody's configuration.
fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .args(["-c", "user.name=A", "-c", "user.email=a@example.com"])
        .args(["-c", "protocol.file.allow=always"])
        .args(args);
    run(&mut command, "").expect()
}

/// One request, one answer: CGI.
fn answer(stream: &TcpStream, root: &Path, password: Option<&str>) {
    // A client that goes away early is its own affair.
    let _ = try_answer(stream, root, password);
}

struct Head {
    method: String,
    path: String,
    query: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn read(reader: &mut impl BufRead) -> Result<Self> {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().context("a target")?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        let mut fields = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            fields.push((name.to_lowercase(), value.trim().to_owned()));
        }
        Ok(Self {
            method,
            path,
            query,
            fields,
        })
    }

    fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(have, _)| have == name);
        found.map_or("", |(_, value)| value)
    }

    fn body(&self, reader: &mut impl BufRead) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if self
            .field("transfer-encoding")
            .eq_ignore_ascii_case("chunked")
        {
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let size = u64::from_str_radix(line.trim(), 16).context("a chunk")?;
                reader.by_ref().take(size).read_to_end(&mut body)?;
                reader.read_line(&mut String::new())?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        let size = self.field("content-length").parse().unwrap_or(0);
        reader.take(size).read_to_end(&mut body)?;
        Ok(body)
    }
}

fn try_answer(mut stream: &TcpStream, root: &Path, password: Option<&str>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let head = Head::read(&mut reader)?;
    let body = head.body(&mut reader)?;
    if password.is_some_and(|password| head.field("authorization") != format!("Basic {password}")) {
        let refusal = "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"git\"\r\n\
            content-length: 0\r\nconnection: close\r\n\r\n";
        return Ok(stream.write_all(refusal.as_bytes())?);
    }
    let path = head.path.trim_start_matches('/');
    if path.starts_with(FILES) {
        let Ok(content) = fs::read(root.join(path)) else {
            let none = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            return Ok(stream.write_all(none.as_bytes())?);
        };
        let length = content.len();
        let first =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        stream.write_all(first.as_bytes())?;
        return Ok(stream.write_all(&content)?);
    }
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("GIT_PROTOCOL", head.field("git-protocol"))
        .env("HTTP_CONTENT_ENCODING", head.field("content-encoding"))
        .env("CONTENT_TYPE", head.field("content-type"))
        .env("REQUEST_METHOD", &head.method)
        .env("QUERY_STRING", &head.query)
        .env("PATH_INFO", &head.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    backend.stdin.take().context("a pipe")?.write_all(&body)?;
    let output = backend.wait_with_output()?.stdout;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n");
    let (fields, content) = output.split_at(end.context("a CGI answer")? + 4);
    let fields = String::from_utf8_lossy(fields);
    let status = fields
        .lines()
        .find_map(|line| line.strip_prefix("Status: "));
    let status = status.unwrap_or("200 OK");
    let length = content.len();
    let first = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n");
    stream.write_all(first.as_bytes())?;
    stream.write_all(fields.as_bytes())?;
    Ok(stream.write_all(content)?)
}
