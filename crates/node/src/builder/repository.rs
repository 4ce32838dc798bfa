//! `ADD` of a git repository. A program of the daemon's own fetches it in a container, as a `RUN`
//! runs: in the Pod's network, with the step's limits, killed when the build ends or takes too much
//! of the disk.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use dockerfile::{Repository, Run};

use super::Output;
use super::run::{self, Program};
use super::walk::{Walk, text};
use crate::launcher::Exit;
use crate::logs::Stream;
use crate::volume::usage;

/// Where the program puts the work tree and the commit's hash, in its own root.
const TREE: &str = "repository";
const COMMIT: &str = "commit";
/// Nobody's home: repositories that everybody may read need no credentials.
const HOME: &str = "/nonexistent";
/// Memory it may take where the step has no limit: objects are unpacked in files.
const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// Of what the program says, this much of the last line is kept.
const LINE_BYTES_MAX: usize = 4 << 10;

impl Walk {
    /// Checks a repository out; gives the commit and where it is.
    pub(super) async fn repository(
        &mut self,
        wanted: &Repository,
    ) -> Result<(String, PathBuf), String> {
        let Some(git) = self.request.git.clone() else {
            return Err(format!("{}: repositories are not fetched here", wanted.url));
        };
        let mut argv = git.entrypoint;
        let (tree, commit) = (format!("/{TREE}"), format!("/{COMMIT}"));
        let flags = [
            ("-url", wanted.url.as_str()),
            ("-revision", wanted.reference.as_str()),
            ("-path", &tree),
            ("-commit-file", &commit),
        ];
        argv.extend(flags.map(|(flag, value)| format!("{flag}={value}")));
        let mut env = git.env;
        env.push(format!("HOME={HOME}"));
        let run = Run {
            argv,
            env,
            quiet_env: Vec::new(),
            user: String::new(),
            cwd: "/".to_owned(),
            stdin: None,
            mounts: Vec::new(),
            network: true,
        };
        let mut limits = self.request.limits.clone();
        let memory = *limits.memory_bytes.get_or_insert(MEMORY_BYTES_MAX);
        let upper = self.scratch.path();
        let upper = upper.join(uuid::Uuid::new_v4().simple().to_string());
        let said = Arc::new(LastLine {
            inner: Arc::clone(&self.output),
            line: Mutex::default(),
        });
        let output: Arc<dyn Output> = said.clone();
        let program = Program {
            run: &run,
            layers: Vec::new(),
            mounts: git.mounts,
            net: self.net(true)?,
            namespace: &self.request.namespace,
            limits: &limits,
            env: Vec::new(),
            room: self.room(),
            writable: Vec::new(),
        };
        let exit = run::run(&self.shared, program, &output, &upper).await?;
        if exit.code != 0 {
            return Err(said.why(exit, memory));
        }
        let commit = std::fs::read_to_string(upper.join(COMMIT)).map_err(text)?;
        let tree = upper.join(TREE);
        let bytes = super::walk::blocking({
            let tree = tree.clone();
            move || Ok(usage::disk(&tree))
        });
        self.take(bytes.await?)?;
        Ok((commit, tree))
    }
}

/// Passes everything on and remembers the last line of the errors.
struct LastLine {
    inner: Arc<dyn Output>,
    line: Mutex<Vec<u8>>,
}

impl LastLine {
    /// The program's own last words, unless it was killed for its memory.
    fn why(&self, exit: Exit, memory: u64) -> String {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        match (exit.oom, line.is_empty()) {
            (true, _) => format!("fetching it takes more than {} MiB of memory", memory >> 20),
            (false, false) => String::from_utf8_lossy(&line).into_owned(),
            (false, true) => format!("fetching it ended with code {}", exit.code),
        }
    }
}

impl Output for LastLine {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        self.inner.write(stream, bytes);
        if stream == Stream::Stderr {
            let last = bytes.split(|byte| *byte == b'\n').rfind(|l| !l.is_empty());
            let last = last.unwrap_or_default();
            let last = &last[..last.len().min(LINE_BYTES_MAX)];
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            last.clone_into(&mut line);
        }
    }
}
