//! Running a client program and keeping all it said.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What a program answered.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its exit code was 0.
    pub ok: bool,
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Outcome {
    /// The standard output of a program that succeeded; anything else fails the test with all
    /// that was said.
    #[track_caller]
    pub fn expect(self) -> String {
        assert!(
            self.ok,
            "the command failed\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout, self.stderr
        );
        self.stdout
    }

    /// The standard error of a program that was expected to fail.
    #[track_caller]
    pub fn expect_failure(self) -> String {
        assert!(
            !self.ok,
            "the command should have failed\n--- stdout\n{}",
            self.stdout
        );
        self.stderr
    }
}

/// Longest that a program may take: more than any deadline that a test gives it.
const LONGEST: Duration = Duration::from_secs(300);

/// Runs `command`, gives it `input`, waits for its end. A program that hangs is killed and fails
/// the test with what it has said.
#[track_caller]
pub fn run(command: &mut Command, input: &str) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let pid = child.id().to_string();
    let mut stdin = child.stdin.take().expect("stdin is piped above");
    let input = input.to_owned();
    let (tell, ended) = mpsc::channel();
    thread::spawn(move || {
        // A program that does not read its input may close it early; that is its own affair.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        // Nobody listens any more to a program that has hung.
        let _ = tell.send(child.wait_with_output());
    });
    let Ok(output) = ended.recv_timeout(LONGEST) else {
        let _ = Command::new("kill").args(["-KILL", &pid]).status();
        let said = ended.recv_timeout(Duration::from_secs(5));
        panic!("{command:?} did not end within {LONGEST:?}; it said {said:?}");
    };
    let output = output.expect("the child was started above");
    Outcome {
        ok: output.status.success(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
