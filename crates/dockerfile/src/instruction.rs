//! One instruction: its arguments told apart, variables not yet replaced. `file` parses all of a
//! text, `plan` gives them their meaning.

use serde::Serialize;

use crate::config::Healthcheck;
use crate::error::Error;
use crate::lines::{self, Line};
use crate::words::{self, Flag};

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HereDoc {
    /// Its end mark, which is also the name of the file it makes.
    pub name: String,
    /// Whether variables are replaced in it.
    pub expand: bool,
    /// Whether tabs in front of its lines go.
    pub chomp: bool,
    /// Its lines.
    pub text: String,
}

/// `--chown`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chown {
    /// Name or number.
    pub user: String,
    /// Name or number; without one the user's own, or the number of the user.
    pub group: Option<String>,
}

/// A command in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Exec(Vec<String>),
    Shell(String),
}

/// `COPY` and `ADD`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CopyText {
    pub(crate) adds: bool,
    pub(crate) from: Option<String>,
    pub(crate) chown: Option<String>,
    pub(crate) chmod: Option<String>,
    pub(crate) checksum: Option<String>,
    pub(crate) unpack: Option<bool>,
    pub(crate) parents: bool,
    pub(crate) keeps_git_dir: bool,
    pub(crate) excludes: Vec<String>,
    pub(crate) sources: Vec<String>,
    pub(crate) dest: String,
    pub(crate) here_docs: Vec<HereDoc>,
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunText {
    pub(crate) command: Command,
    pub(crate) mounts: Vec<String>,
    pub(crate) network: Option<String>,
    pub(crate) here_docs: Vec<HereDoc>,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    Arg(Vec<(String, Option<String>)>),
    Cmd(Command),
    Copy(Box<CopyText>),
    Entrypoint(Command),
    Env(Vec<(String, String)>),
    Expose(String),
    From(FromText),
    Healthcheck(Healthcheck),
    Label(Vec<(String, String)>),
    Maintainer(String),
    Onbuild(String),
    Run(RunText),
    Shell(Vec<String>),
    Stopsignal(String),
    User(String),
    Volume(Result<Vec<String>, String>),
    Workdir(String),
}

/// `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FromText {
    pub(crate) image: String,
    pub(crate) name: Option<String>,
    pub(crate) platform: Option<String>,
}

impl Instruction {
    /// Understands one line.
    pub(crate) fn parse(line: &Line, escape: char) -> Result<Self, Error> {
        let failed = |message: String| Error::new(line.number, message);
        if line.rest.is_empty() {
            let keyword = &line.keyword;
            return Err(failed(format!("{keyword} requires at least one argument")));
        }
        read(line, escape).map_err(failed)
    }
}

fn read(line: &Line, escape: char) -> Result<Instruction, String> {
    let (flags, rest) = match line.keyword.as_str() {
        "ADD" | "COPY" | "FROM" | "HEALTHCHECK" | "RUN" => words::flags(&line.rest, escape),
        _ => (Vec::new(), line.rest.clone()),
    };
    Ok(match line.keyword.as_str() {
        "ADD" | "COPY" => Instruction::Copy(Box::new(copy(line, flags, &rest, escape)?)),
        "ARG" => Instruction::Arg(args(&rest, escape)?),
        "CMD" => Instruction::Cmd(command(&rest)),
        "ENTRYPOINT" => Instruction::Entrypoint(command(&rest)),
        "ENV" => Instruction::Env(words::pairs(&rest, escape)?),
        "EXPOSE" => Instruction::Expose(rest),
        "FROM" => Instruction::From(from(flags, &rest)?),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(flags, &rest)?),
        "LABEL" => Instruction::Label(words::pairs(&rest, escape)?),
        "MAINTAINER" => Instruction::Maintainer(rest),
        "ONBUILD" => Instruction::Onbuild(trigger(line, escape)?),
        "RUN" => Instruction::Run(run(line, flags, &rest)?),
        "SHELL" => match words::json_list(&rest).filter(|list| !list.is_empty()) {
            Some(list) => Instruction::Shell(list),
            None => return Err("SHELL requires the arguments to be in JSON form".to_owned()),
        },
        "STOPSIGNAL" => Instruction::Stopsignal(rest),
        "USER" => Instruction::User(rest),
        "VOLUME" => Instruction::Volume(words::json_list(&rest).ok_or(rest)),
        "WORKDIR" => Instruction::Workdir(rest),
        other => return Err(format!("unknown instruction: {other}")),
    })
}

fn command(rest: &str) -> Command {
    match words::json_list(rest) {
        Some(list) => Command::Exec(list),
        None => Command::Shell(rest.to_owned()),
    }
}

fn args(rest: &str, escape: char) -> Result<Vec<(String, Option<String>)>, String> {
    let words = words::quoted_words(rest, escape);
    let split = |word: &String| match word.split_once('=') {
        Some(("", _)) => Err(format!("ARG names can not be blank: {word:?}")),
        Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
        None => Ok((word.clone(), None)),
    };
    words.iter().map(split).collect()
}

fn unknown(keyword: &str, flag: &Flag) -> String {
    format!("{keyword} does not know the flag --{}", flag.name)
}

fn valued(keyword: &str, flag: Flag) -> Result<String, String> {
    let name = flag.name;
    flag.value
        .ok_or_else(|| format!("{keyword}: the flag --{name} needs a value"))
}

fn truth(keyword: &str, flag: &Flag) -> Result<bool, String> {
    match flag.value.as_deref() {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!(
            "{keyword}: --{}={other} is not a boolean",
            flag.name
        )),
    }
}

fn copy(line: &Line, flags: Vec<Flag>, rest: &str, escape: char) -> Result<CopyText, String> {
    let keyword = line.keyword.as_str();
    let mut text = CopyText {
        adds: keyword == "ADD",
        ..CopyText::default()
    };
    for flag in flags {
        match (flag.name.as_str(), text.adds) {
            ("from", false) => text.from = Some(valued(keyword, flag)?),
            ("chown", _) => text.chown = Some(valued(keyword, flag)?),
            ("chmod", _) => text.chmod = Some(valued(keyword, flag)?),
            ("exclude", _) => text.excludes.push(valued(keyword, flag)?),
            ("checksum", true) => text.checksum = Some(valued(keyword, flag)?),
            ("unpack", true) => text.unpack = Some(truth(keyword, &flag)?),
            // What is copied never depends on what is below it here.
            ("link", _) => drop(truth(keyword, &flag)?),
            ("parents", false) => text.parents = truth(keyword, &flag)?,
            ("keep-git-dir", true) => text.keeps_git_dir = truth(keyword, &flag)?,
            _ => return Err(unknown(keyword, &flag)),
        }
    }
    let mut list = words::json_list(rest).unwrap_or_else(|| words::quoted_words(rest, escape));
    text.dest = list.pop().unwrap_or_default();
    if list.is_empty() {
        let text = format!("{keyword} requires at least two arguments: source and target");
        return Err(text);
    }
    if lines::announced(&text.dest).is_some() {
        return Err(format!("{keyword}: a here-document cannot be the target"));
    }
    list.retain(|word| lines::announced(word).is_none());
    text.sources = list;
    text.here_docs.clone_from(&line.here_docs);
    if text.from.is_some() && !text.here_docs.is_empty() {
        return Err("COPY --from cannot have here-documents".to_owned());
    }
    Ok(text)
}

fn from(flags: Vec<Flag>, rest: &str) -> Result<FromText, String> {
    let mut platform = None;
    for flag in flags {
        match flag.name.as_str() {
            "platform" => platform = Some(valued("FROM", flag)?),
            _ => return Err(unknown("FROM", &flag)),
        }
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (image, name) = match words.as_slice() {
        [image] => (*image, None),
        [image, word, name] if word.eq_ignore_ascii_case("as") => (*image, Some(*name)),
        _ => return Err("FROM requires an image, or an image AS a name".to_owned()),
    };
    let name = name.map(str::to_ascii_lowercase);
    if let Some(name) = &name {
        let first = name.starts_with(|letter: char| letter.is_ascii_lowercase());
        let all = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if !first || !name.chars().all(all) {
            return Err(format!(
                "invalid name for build stage: {name:?}, name can't start with a number or \
                 contain symbols"
            ));
        }
    }
    Ok(FromText {
        image: image.to_owned(),
        name,
        platform,
    })
}

fn healthcheck(flags: Vec<Flag>, rest: &str) -> Result<Healthcheck, String> {
    let (kind, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let mut check = Healthcheck::default();
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if behind.trim().is_empty() && flags.is_empty() => {
            check.test = vec!["NONE".to_owned()];
            return Ok(check);
        }
        "CMD" if !behind.trim().is_empty() => match command(behind.trim()) {
            Command::Exec(list) => {
                check.test = vec!["CMD".to_owned()];
                check.test.extend(list);
            }
            Command::Shell(text) => check.test = vec!["CMD-SHELL".to_owned(), text],
        },
        "NONE" => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" => return Err("missing command after HEALTHCHECK CMD".to_owned()),
        other => return Err(format!("unknown type {other:?} in HEALTHCHECK (try CMD)")),
    }
    for flag in flags {
        let name = flag.name.clone();
        if name == "retries" {
            let text = valued("HEALTHCHECK", flag)?;
            let retries = text.parse().ok().filter(|retries| *retries > 0);
            check.retries =
                retries.ok_or_else(|| format!("--retries={text} is not a positive number"))?;
            continue;
        }
        let place = match name.as_str() {
            "interval" => &mut check.interval,
            "timeout" => &mut check.timeout,
            "start-period" => &mut check.start_period,
            "start-interval" => &mut check.start_interval,
            _ => return Err(unknown("HEALTHCHECK", &flag)),
        };
        let text = valued("HEALTHCHECK", flag)?;
        *place = nanoseconds(&text).ok_or_else(|| format!("--{name}={text} is not a duration"))?;
    }
    Ok(check)
}

/// A duration as Go reads it: `1h30m`, `1.5s`, `100ms`.
fn nanoseconds(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
    ];
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..].find(|letter: char| letter.is_ascii_digit());
        let unit_end = unit_end.map_or(rest.len(), |at| end + at);
        let unit = &rest[end..unit_end];
        sum += number * UNITS.iter().find(|(name, _)| *name == unit)?.1;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(sum as u64)
}

fn trigger(line: &Line, escape: char) -> Result<String, String> {
    let (keyword, rest) = line
        .rest
        .split_once(char::is_whitespace)
        .unwrap_or((line.rest.as_str(), ""));
    let inner = Line {
        number: line.number,
        keyword: keyword.to_ascii_uppercase(),
        rest: rest.trim().to_owned(),
        here_docs: line.here_docs.clone(),
    };
    match inner.keyword.as_str() {
        "ONBUILD" => return Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned()),
        "FROM" | "MAINTAINER" => {
            return Err(format!(
                "{} isn't allowed as an ONBUILD trigger",
                inner.keyword
            ));
        }
        _ => {}
    }
    Instruction::parse(&inner, escape).map_err(|error| error.message)?;
    let mut text = line.rest.clone();
    for doc in &line.here_docs {
        text.push_str(&format!("\n{}{}", doc.text, doc.name));
    }
    Ok(text)
}

fn run(line: &Line, flags: Vec<Flag>, rest: &str) -> Result<RunText, String> {
    let mut text = RunText {
        command: command(rest),
        mounts: Vec::new(),
        network: None,
        here_docs: line.here_docs.clone(),
    };
    for flag in flags {
        match flag.name.as_str() {
            "mount" => text.mounts.push(valued("RUN", flag)?),
            "network" => text.network = Some(valued("RUN", flag)?),
            "security" => {
                let mode = valued("RUN", flag)?;
                if mode != "sandbox" {
                    return Err(format!(
                        "RUN --security={mode} is not allowed: only sandbox"
                    ));
                }
            }
            _ => return Err(unknown("RUN", &flag)),
        }
    }
    match &text.command {
        Command::Exec(list) if list.is_empty() => Err("RUN [] has no program".to_owned()),
        Command::Shell(shell) if shell.is_empty() => Err("RUN requires a command".to_owned()),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        let cases = [
            ("1m30s", Some(90_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("100ms", Some(100_000_000)),
            ("0", Some(0)),
            ("5", None),
            ("s", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(nanoseconds(text), expected, "{text}");
        }
    }
}
