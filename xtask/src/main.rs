//! `cargo xtask`: everything a developer or CI runs, by one verb each.

mod prepare;
mod sh;
mod test;
mod tidy;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask VERB

  test [--quick]  all checks: formatting, clippy, unit and property tests, tidy, system tests;
                  installs the Debian packages they need when run as root.
                  --quick leaves the system tests out
  tidy            the house rules alone
  prepare         install what the system tests need, nothing else
";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => test::run(true),
        ["test", "--quick"] => test::run(false),
        ["tidy"] => tidy::run(),
        ["prepare"] => prepare::run(),
        [] | ["help" | "--help" | "-h"] => sh::say(HELP),
        _ => bail!("unknown verb {args:?}\n\n{HELP}"),
    }
}
