//! A whole Dockerfile: global arguments and stages, and which stage stands on what.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::expand;
use crate::instruction::{FromText, Instruction};
use crate::lines;
use crate::plan::{From, Options, Scope, Source};

/// A Dockerfile, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    pub(crate) escape: char,
    pub(crate) globals: Vec<Parsed>,
    pub(crate) stages: Vec<StageText>,
}

/// One instruction and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) line: u32,
    /// As in `RUN make`, joined to one line.
    pub(crate) text: String,
    pub(crate) instruction: Instruction,
}

/// One stage as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageText {
    /// Where its `FROM` is.
    pub line: u32,
    /// Lower case; none for one without a name.
    pub name: Option<String>,
    pub(crate) from: FromText,
    pub(crate) instructions: Vec<Parsed>,
}

/// What a stage stands on, for [`Dockerfile::plan`].
#[derive(Clone, Debug, Default)]
pub struct Base {
    pub(crate) config: crate::Config,
    pub(crate) args: Vec<(String, Option<String>)>,
    pub(crate) cmd_is_own: bool,
}

impl Base {
    /// An image of this configuration; the default one for `scratch`.
    pub fn image(config: crate::Config) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }
}

impl Dockerfile {
    /// Understands a text.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let split = lines::split(text)?;
        let mut file = Self {
            escape: split.escape,
            globals: Vec::new(),
            stages: Vec::new(),
        };
        for line in &split.lines {
            let instruction = Instruction::parse(line, split.escape)?;
            let parsed = Parsed {
                line: line.number,
                text: format!("{} {}", line.keyword, line.rest),
                instruction,
            };
            file.add(parsed)?;
        }
        if file.stages.is_empty() {
            let text = "there is no FROM: a Dockerfile needs at least one";
            return Err(Error::new(1, text));
        }
        Ok(file)
    }

    fn add(&mut self, parsed: Parsed) -> Result<(), Error> {
        let failed = |message: String| Err(Error::new(parsed.line, message));
        match (parsed.instruction.clone(), self.stages.last_mut()) {
            (Instruction::From(from), _) => {
                let name = from.name.clone();
                if name.is_some() && self.stages.iter().any(|stage| stage.name == name) {
                    let name = name.unwrap_or_default();
                    return failed(format!("there are two stages with the name {name:?}"));
                }
                self.stages.push(StageText {
                    line: parsed.line,
                    name,
                    from,
                    instructions: Vec::new(),
                });
            }
            (_, Some(stage)) => stage.instructions.push(parsed),
            (Instruction::Arg(_), None) => self.globals.push(parsed),
            (_, None) => {
                return failed("no build stage in current context: FROM comes first".into());
            }
        }
        Ok(())
    }

    /// The stages as they are written.
    pub fn stages(&self) -> &[StageText] {
        &self.stages
    }

    /// The stage to build: the named or numbered one, or the last.
    ///
    /// # Errors
    /// There is no such stage.
    pub fn target(&self, options: &Options) -> Result<usize, Error> {
        let last = self.stages.len() - 1;
        let Some(target) = options.target.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(last);
        };
        let named = self.find(target, self.stages.len());
        named.ok_or_else(|| {
            let text = format!("target stage {target:?} could not be found");
            Error::new(self.stages[last].line, text)
        })
    }

    /// A stage before `end` by its name or number.
    fn find(&self, name: &str, end: usize) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        let named = |stage: &StageText| stage.name.as_deref() == Some(&lower);
        let found = self.stages[..end].iter().rposition(named);
        found.or_else(|| name.parse().ok().filter(|at| *at < end))
    }

    /// What `--from` means in a stage.
    pub(crate) fn source(&self, name: &str, stage: usize) -> Result<Source, String> {
        if let Some(found) = self.find(name, stage) {
            return Ok(Source::Stage(found));
        }
        if self.find(name, self.stages.len()).is_some() {
            return Err(format!(
                "--from={name}: only stages further up can be copied from"
            ));
        }
        Ok(Source::Image(name.to_owned()))
    }

    /// What a stage stands on.
    ///
    /// # Errors
    /// A variable that cannot be replaced, a platform this builder does not build for.
    pub fn base(&self, stage: usize, options: &Options) -> Result<From, Error> {
        let text = &self.stages[stage];
        let failed = |message: String| Error::new(text.line, message);
        let globals = self.globals(options)?;
        let lookup = |name: &str| globals.value(name);
        let expand = |text: &str| expand::word(text, self.escape, &lookup).map_err(failed);
        if let Some(platform) = &text.from.platform {
            let platform = expand(platform)?;
            if !options.builds_for(&platform) {
                let own = options.platform();
                let text = format!("--platform={platform}: this builder builds for {own} only");
                return Err(Error::new(self.stages[stage].line, text));
            }
        }
        let image = expand(&text.from.image)?;
        if image.is_empty() {
            let written = &text.from.image;
            return Err(failed(format!("base name ({written}) should not be blank")));
        }
        let lower = image.to_ascii_lowercase();
        let mut earlier = self.stages[..stage].iter();
        if let Some(found) = earlier.rposition(|one| one.name.as_deref() == Some(&lower)) {
            return Ok(From::Stage(found));
        }
        if image == "scratch" {
            return Ok(From::Scratch);
        }
        Ok(From::Image(image))
    }

    /// The arguments in front of the first `FROM`.
    pub(crate) fn globals(&self, options: &Options) -> Result<Scope, Error> {
        let mut scope = Scope::platform(options);
        for parsed in &self.globals {
            let Instruction::Arg(args) = &parsed.instruction else {
                continue;
            };
            for (name, default) in args {
                let lookup = |name: &str| scope.value(name);
                let expanded = default
                    .as_deref()
                    .map(|text| expand::word(text, self.escape, &lookup))
                    .transpose()
                    .map_err(|message| Error::new(parsed.line, message))?;
                let given = options.build_args.get(name).cloned();
                // An argument of the platform that is only named keeps its value.
                let value = given.or(expanded).or_else(|| scope.value(name));
                scope.set(name, value);
            }
        }
        Ok(scope)
    }

    /// Arguments that were given and that no `ARG` asks for.
    pub fn unused_args<'a>(&self, options: &'a Options) -> Vec<&'a str> {
        let stages = self.stages.iter().flat_map(|stage| &stage.instructions);
        let args = self.globals.iter().chain(stages).filter_map(|parsed| {
            let Instruction::Arg(args) = &parsed.instruction else {
                return None;
            };
            Some(args.iter().map(|(name, _)| name.as_str()))
        });
        let asked: BTreeSet<&str> = args.flatten().collect();
        let given = options.build_args.keys().map(String::as_str);
        given
            .filter(|name| !asked.contains(name) && !crate::plan::is_predefined(name))
            .collect()
    }
}
