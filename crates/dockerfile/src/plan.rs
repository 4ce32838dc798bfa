//! What one stage has to do: the instructions on top of a base, one after the other, with variables
//! replaced, as steps that change files and as changes of the configuration.
//!
//! The builder calls [`Dockerfile::plan`] with the base's configuration and performs the steps; a
//! step never changes what the later ones mean.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::Config;
use crate::error::Error;
use crate::expand;
use crate::file::{Base, Dockerfile, Parsed};
use crate::instruction::{Chown, Command, CopyText, Instruction, RunText};
use crate::lines;
use crate::mode::Mode;
use crate::mount::RunMount;
use crate::repository::{Repository, is_repository};

/// The shell of the shell form.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];
/// Arguments every `RUN` sees when they are given, without `ARG` and without counting for the
/// cache.
const PREDEFINED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Whether an argument needs no `ARG`.
pub(crate) fn is_predefined(name: &str) -> bool {
    PREDEFINED.contains(&name)
}

/// What a build is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name or number of the stage; none is the last.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// The machine's architecture in Go's words.
    pub architecture: String,
}

impl Options {
    /// `linux/amd64` and its like.
    pub fn platform(&self) -> String {
        format!("linux/{}", self.architecture)
    }

    pub(crate) fn builds_for(&self, platform: &str) -> bool {
        platform == "linux" || platform == self.platform() || platform == self.architecture
    }
}

/// What a stage stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// Nothing.
    Scratch,
    /// An earlier stage, by number.
    Stage(usize),
    /// An image.
    Image(String),
}

/// Where `COPY` takes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Source {
    /// The build's context.
    Context,
    /// An earlier stage, by number.
    Stage(usize),
    /// An image.
    Image(String),
}

/// One thing to be copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Origin {
    /// A path or pattern in the source, relative to its root.
    Path(String),
    /// To be fetched.
    Url(String),
    /// To be checked out.
    Git(Repository),
    /// A file with this name and content.
    Inline {
        /// Its name.
        name: String,
        /// Its content.
        text: String,
    },
}

/// `COPY` and `ADD`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// Where from.
    pub from: Source,
    /// What.
    pub origins: Vec<Origin>,
    /// Where to: absolute; a slash at the end says that it is a directory.
    pub dest: String,
    /// Whose the copies are; root's without it.
    pub chown: Option<Chown>,
    /// Their permissions; as they are without it.
    pub chmod: Option<Mode>,
    /// Patterns of what is left out.
    pub excludes: Vec<String>,
    /// Whether the directories above what is copied come along: those of its path, or of the part
    /// of it behind `/./`.
    pub parents: bool,
    /// Whether archives of the context are unpacked.
    pub unpacks: bool,
    /// Whether fetched archives are.
    pub unpacks_fetched: bool,
    /// What the one thing fetched must be: `sha256:…`, or a repository's commit.
    pub checksum: Option<String>,
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// More of it that does not count for the cache.
    #[serde(skip)]
    pub quiet_env: Vec<String>,
    /// Name or number, with or without group; empty is root.
    pub user: String,
    /// Absolute.
    pub cwd: String,
    /// What the program reads as standard input.
    pub stdin: Option<String>,
    /// What is mounted for it.
    pub mounts: Vec<RunMount>,
    /// Whether it has the build's network.
    pub network: bool,
}

/// What changes files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Step {
    /// Run a program.
    Run(Box<Run>),
    /// Copy files.
    Copy(Box<Copy>),
    /// Make a directory, if it is not there.
    Workdir(String),
}

/// One instruction as it is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its line.
    pub line: u32,
    /// As it is written, in one line; the image's history has it.
    pub text: String,
    /// What is to be done; none where only the configuration changes.
    pub step: Option<Step>,
}

/// A stage, planned.
#[derive(Clone, Debug, Default)]
pub struct Stage {
    /// What is to be done, in this order.
    pub planned: Vec<Planned>,
    /// How the image is run in the end.
    pub config: Config,
    /// `MAINTAINER`.
    pub author: Option<String>,
    args: Vec<(String, Option<String>)>,
    cmd_is_own: bool,
}

impl Stage {
    /// What a later stage stands on that is `FROM` this one.
    pub fn as_base(&self) -> Base {
        Base {
            config: self.config.clone(),
            args: self.args.clone(),
            cmd_is_own: self.cmd_is_own,
        }
    }
}

/// Arguments that have been declared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    args: Vec<(String, Option<String>)>,
}

impl Scope {
    /// What BuildKit declares for every `FROM`.
    pub(crate) fn platform(options: &Options) -> Self {
        let mut scope = Self::default();
        let (platform, arch) = (options.platform(), options.architecture.clone());
        for side in ["TARGET", "BUILD"] {
            scope.set(&format!("{side}PLATFORM"), Some(platform.clone()));
            scope.set(&format!("{side}OS"), Some("linux".to_owned()));
            scope.set(&format!("{side}ARCH"), Some(arch.clone()));
            scope.set(&format!("{side}VARIANT"), Some(String::new()));
        }
        let target = options.target.clone();
        scope.set("TARGETSTAGE", target.or_else(|| Some("default".to_owned())));
        scope
    }

    pub(crate) fn value(&self, name: &str) -> Option<String> {
        let found = self.args.iter().find(|(have, _)| have == name);
        found.and_then(|(_, value)| value.clone())
    }

    pub(crate) fn set(&mut self, name: &str, value: Option<String>) {
        match self.args.iter_mut().find(|(have, _)| have == name) {
            Some((_, old)) => *old = value,
            None => self.args.push((name.to_owned(), value)),
        }
    }
}

impl Dockerfile {
    /// Plans a stage.
    ///
    /// # Errors
    /// The first instruction that cannot be carried out as it is written.
    pub fn plan(&self, stage: usize, base: &Base, options: &Options) -> Result<Stage, Error> {
        let text = &self.stages[stage];
        let mut planner = Planner {
            file: self,
            options,
            number: stage,
            globals: self.globals(options)?,
            scope: Scope {
                args: base.args.clone(),
            },
            stage: Stage {
                config: base.config.clone(),
                cmd_is_own: base.cmd_is_own,
                ..Stage::default()
            },
        };
        for trigger in std::mem::take(&mut planner.stage.config.on_build) {
            planner.trigger(text.line, &trigger)?;
        }
        for parsed in &text.instructions {
            planner.add(parsed)?;
        }
        planner.stage.args = planner.scope.args;
        Ok(planner.stage)
    }
}

struct Planner<'a> {
    file: &'a Dockerfile,
    options: &'a Options,
    number: usize,
    globals: Scope,
    scope: Scope,
    stage: Stage,
}

impl Planner<'_> {
    /// An `ONBUILD` of the base; its mistakes count as those of the `FROM`.
    fn trigger(&mut self, line: u32, text: &str) -> Result<(), Error> {
        let failed = |message: &str| Error::new(line, format!("ONBUILD {text}: {message}"));
        let split = lines::split(text).map_err(|error| failed(&error.message))?;
        for one in &split.lines {
            let instruction =
                Instruction::parse(one, split.escape).map_err(|error| failed(&error.message))?;
            let parsed = Parsed {
                line,
                text: format!("{} {}", one.keyword, one.rest),
                instruction,
            };
            self.add(&parsed)?;
        }
        Ok(())
    }

    fn add(&mut self, parsed: &Parsed) -> Result<(), Error> {
        let step = self
            .step(&parsed.instruction)
            .map_err(|message| Error::new(parsed.line, message))?;
        self.stage.planned.push(Planned {
            line: parsed.line,
            text: parsed.text.clone(),
            step,
        });
        Ok(())
    }

    fn step(&mut self, instruction: &Instruction) -> Result<Option<Step>, String> {
        match instruction {
            Instruction::Arg(args) => self.declare(args)?,
            Instruction::Cmd(command) => {
                self.stage.config.cmd = Some(self.command(command));
                self.stage.cmd_is_own = true;
            }
            Instruction::Copy(copy) => return self.copy(copy).map(Some),
            Instruction::Entrypoint(command) => {
                self.stage.config.entrypoint = Some(self.command(command));
                // Arguments for another program than this one mean nothing.
                if !self.stage.cmd_is_own {
                    self.stage.config.cmd = None;
                }
            }
            Instruction::Env(pairs) => {
                // All values are of the time before the instruction.
                let pairs = self.pairs(pairs)?;
                for (name, value) in pairs {
                    self.stage.config.set_env(&name, &value);
                }
            }
            Instruction::Expose(text) => self.expose(text)?,
            Instruction::From(_) => return Err("FROM inside a stage".to_owned()),
            Instruction::Healthcheck(check) => {
                self.stage.config.healthcheck = Some(check.clone());
            }
            Instruction::Label(pairs) => {
                let pairs = self.pairs(pairs)?;
                self.stage.config.labels.extend(pairs);
            }
            Instruction::Maintainer(name) => self.stage.author = Some(name.clone()),
            Instruction::Onbuild(text) => self.stage.config.on_build.push(text.clone()),
            Instruction::Run(run) => return self.run(run).map(Some),
            Instruction::Shell(list) => self.stage.config.shell = Some(list.clone()),
            Instruction::Stopsignal(text) => {
                self.stage.config.stop_signal = Some(self.word(text)?);
            }
            Instruction::User(text) => self.stage.config.user = self.word(text)?,
            Instruction::Volume(list) => {
                let volumes = match list {
                    Ok(list) => list
                        .iter()
                        .map(|one| self.word(one))
                        .collect::<Result<_, _>>()?,
                    Err(text) => self.words(text)?,
                };
                if volumes.iter().any(String::is_empty) {
                    return Err("VOLUME specified can not be an empty string".to_owned());
                }
                self.stage.config.volumes.extend(volumes);
            }
            Instruction::Workdir(text) => {
                let path = absolute(&self.stage.config.working_dir, &self.word(text)?);
                self.stage.config.working_dir.clone_from(&path);
                return Ok(Some(Step::Workdir(path)));
            }
        }
        Ok(None)
    }

    /// What a name means here: the image's environment before the arguments.
    fn value(&self, name: &str) -> Option<String> {
        let env = self.stage.config.env(name).map(str::to_owned);
        env.or_else(|| self.scope.value(name))
    }

    fn word(&self, text: &str) -> Result<String, String> {
        expand::word(text, self.file.escape, &|name: &str| self.value(name))
    }

    fn words(&self, text: &str) -> Result<Vec<String>, String> {
        expand::words(text, self.file.escape, &|name: &str| self.value(name))
    }

    fn pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, String> {
        let both = |(name, value): &(String, String)| Ok((self.word(name)?, self.word(value)?));
        pairs.iter().map(both).collect()
    }

    fn declare(&mut self, args: &[(String, Option<String>)]) -> Result<(), String> {
        for (name, default) in args {
            let name = self.word(name)?;
            let default = default.as_deref().map(|text| self.word(text)).transpose()?;
            let given = self.options.build_args.get(&name).cloned();
            let value = match default {
                Some(default) => given.or(Some(default)),
                None => given.or_else(|| self.globals.value(&name)),
            };
            self.scope.set(&name, value);
        }
        Ok(())
    }

    fn shell(&self) -> Vec<String> {
        let own = self.stage.config.shell.clone();
        own.unwrap_or_else(|| SHELL.map(str::to_owned).to_vec())
    }

    fn command(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(list) => list.clone(),
            Command::Shell(text) => {
                let mut list = self.shell();
                list.push(text.clone());
                list
            }
        }
    }

    fn expose(&mut self, text: &str) -> Result<(), String> {
        for word in self.words(text)? {
            let ports = ports(&word).ok_or_else(|| format!("invalid containerPort: {word}"))?;
            self.stage.config.exposed_ports.extend(ports);
        }
        Ok(())
    }

    fn run(&self, run: &RunText) -> Result<Step, String> {
        let (argv, stdin) = self.program(run);
        let cwd = absolute(&self.stage.config.working_dir, "");
        let mounts = run.mounts.iter().map(|text| {
            let mut mount = RunMount::parse(&self.word(text)?, &cwd)?;
            // A stage is meant by its number: its name says nothing to the cache.
            if !mount.from.is_empty()
                && let Source::Stage(number) = self.file.source(&mount.from, self.number)?
            {
                mount.from = number.to_string();
            }
            Ok(mount)
        });
        let mut mounts = mounts.collect::<Result<Vec<_>, String>>()?;
        RunMount::place_agents(&mut mounts);
        let network = match run.network.as_deref() {
            None | Some("default") => true,
            Some("none") => false,
            Some(other) => {
                return Err(format!(
                    "RUN --network={other} is not allowed: default or none"
                ));
            }
        };
        let mut env = self.stage.config.env.clone();
        for (name, value) in &self.scope.args {
            if let Some(value) = value
                && self.stage.config.env(name).is_none()
            {
                env.push(format!("{name}={value}"));
            }
        }
        let given = self.options.build_args.iter();
        let quiet = given.filter(|(name, _)| is_predefined(name) && self.value(name).is_none());
        Ok(Step::Run(Box::new(Run {
            argv,
            env,
            quiet_env: quiet
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            user: self.stage.config.user.clone(),
            cwd,
            stdin,
            mounts,
            network,
        })))
    }

    /// Program and arguments, and what it reads. A here-document alone is the script; beside a
    /// command it is the shell's to read.
    fn program(&self, run: &RunText) -> (Vec<String>, Option<String>) {
        let Command::Shell(text) = &run.command else {
            return (self.command(&run.command), None);
        };
        let alone = lines::announced(text.trim());
        if let (Some(_), [doc]) = (alone, run.here_docs.as_slice()) {
            if let Some(first) = doc.text.strip_prefix("#!") {
                let first = first.lines().next().unwrap_or_default().trim();
                let mut argv: Vec<String> = match first.split_once(char::is_whitespace) {
                    Some((program, argument)) => {
                        vec![program.to_owned(), argument.trim().to_owned()]
                    }
                    None => vec![first.to_owned()],
                };
                argv.push("/dev/stdin".to_owned());
                return (argv, Some(doc.text.clone()));
            }
            return (self.command(&Command::Shell(doc.text.clone())), None);
        }
        let mut script = text.clone();
        for doc in &run.here_docs {
            script.push_str(&format!("\n{}{}", doc.text, doc.name));
        }
        if !run.here_docs.is_empty() {
            script.push('\n');
        }
        (self.command(&Command::Shell(script)), None)
    }

    fn copy(&self, copy: &CopyText) -> Result<Step, String> {
        let from = match &copy.from {
            Some(name) => self.file.source(&self.word(name)?, self.number)?,
            None => Source::Context,
        };
        let keyword = if copy.adds { "ADD" } else { "COPY" };
        let mut origins = Vec::new();
        for source in &copy.sources {
            let word = self.word(source)?;
            origins.push(match is_url(&word) {
                true if !copy.adds => return Err("source can't be a URL for COPY".to_owned()),
                true if is_repository(&word) => {
                    let mut repository = Repository::parse(&word)?;
                    repository.keeps_git_dir |= copy.keeps_git_dir;
                    Origin::Git(repository)
                }
                true => Origin::Url(word),
                false => Origin::Path(word),
            });
        }
        for doc in &copy.here_docs {
            let lookup = |name: &str| self.value(name);
            let text = match doc.expand {
                true => expand::here_doc(&doc.text, &lookup)?,
                false => doc.text.clone(),
            };
            let name = doc.name.clone();
            origins.push(Origin::Inline { name, text });
        }
        let written = self.word(&copy.dest)?;
        let dest = destination(&self.stage.config.working_dir, &written);
        if origins.len() > 1 && !dest.ends_with('/') {
            return Err(format!(
                "When using {keyword} with more than one source file, the destination must be a \
                 directory and end with a /"
            ));
        }
        let checksum = copy
            .checksum
            .as_deref()
            .map(|text| self.word(text))
            .transpose()?;
        let fetched = matches!(origins.as_slice(), [Origin::Url(_) | Origin::Git(_)]);
        if checksum.is_some() && !fetched {
            return Err("ADD --checksum is for one URL".to_owned());
        }
        let excludes = copy.excludes.iter().map(|text| self.word(text));
        Ok(Step::Copy(Box::new(Copy {
            from,
            dest,
            chown: copy
                .chown
                .as_deref()
                .map(|text| self.chown(text))
                .transpose()?,
            chmod: copy
                .chmod
                .as_deref()
                .map(|text| Mode::parse(&self.word(text)?))
                .transpose()?,
            parents: copy.parents,
            excludes: excludes.collect::<Result<_, _>>()?,
            unpacks: copy.adds && copy.unpack != Some(false),
            unpacks_fetched: copy.unpack == Some(true),
            checksum,
            origins,
        })))
    }

    fn chown(&self, text: &str) -> Result<Chown, String> {
        let text = self.word(text)?;
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group.to_owned())),
            None => (text.as_str(), None),
        };
        if user.is_empty() {
            return Err(format!("--chown={text}: no user"));
        }
        Ok(Chown {
            user: user.to_owned(),
            group: group.filter(|group| !group.is_empty()),
        })
    }
}

fn is_url(text: &str) -> bool {
    ["http://", "https://", "git://", "git@", "ssh://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

/// `8080`, `8080/udp`, `8000-8003/tcp`, in the words of an image's configuration.
fn ports(word: &str) -> Option<Vec<String>> {
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let known = ["tcp", "udp", "sctp"].contains(&protocol.as_str());
    // An address of the machine and its port mean nothing to an image.
    let range = range.rsplit(':').next()?;
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
    let all = (first..=last).map(|port| format!("{port}/{protocol}"));
    (known && first <= last).then(|| all.collect())
}

/// A path from the root, without `.` and `..`.
pub(crate) fn absolute(cwd: &str, path: &str) -> String {
    let whole = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{cwd}/{path}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The same, for the target of a copy: what must be a directory ends with a slash.
fn destination(cwd: &str, path: &str) -> String {
    let mut dest = absolute(cwd, path);
    let last = path.rsplit('/').next().unwrap_or_default();
    if matches!(last, "" | "." | "..") && !dest.ends_with('/') {
        dest.push('/');
    }
    dest
}
