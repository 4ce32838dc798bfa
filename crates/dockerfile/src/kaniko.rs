//! The arguments of kaniko's executor, which are the interface of the built-in builder: manifests
//! that name kaniko's image run as they are.

use std::collections::BTreeMap;

/// Where kaniko looks for the context unless it is told.
const CONTEXT: &str = "/workspace/";
const DOCKERFILE: &str = "Dockerfile";

/// What one run is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// `--dockerfile`.
    pub dockerfile: String,
    /// `--context`: a directory, `dir://…`, or an archive `tar://…`.
    pub context: String,
    /// `--context-sub-path`.
    pub context_sub_path: String,
    /// `--destination`, each one.
    pub destinations: Vec<String>,
    /// `--build-arg`; one without a value takes it from the environment.
    pub build_args: Vec<(String, Option<String>)>,
    /// `--target`.
    pub target: Option<String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// Whether layers of earlier builds are taken: unless `--cache=false`.
    pub cache: bool,
    /// `--no-push`.
    pub no_push: bool,
    /// `--insecure`, `--insecure-pull`, `--insecure-registry`: plain HTTP; `*` is every registry.
    pub insecure: Vec<String>,
    /// `--skip-tls-verify` and its like; `*` is every registry.
    pub skip_tls_verify: Vec<String>,
    /// `--digest-file`: takes the digest.
    pub digest_file: Option<String>,
    /// `--image-name-with-digest-file`: takes `NAME@DIGEST` lines.
    pub image_name_with_digest_file: Option<String>,
    /// `--image-name-tag-with-digest-file`: takes `NAME:TAG@DIGEST` lines.
    pub image_name_tag_with_digest_file: Option<String>,
    /// `--tar-path`: takes an archive `docker load` reads.
    pub tar_path: Option<String>,
    /// `--reproducible`: times do not get into the image.
    pub reproducible: bool,
    /// `--custom-platform`.
    pub platform: Option<String>,
    /// `--secret`, each one: what `RUN --mount=type=secret` asks for.
    pub secrets: Vec<Secret>,
    /// `--ssh`: ids of agents and their sockets.
    pub agents: BTreeMap<String, String>,
}

/// A secret for a build, in the words of `docker build --secret`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// What a Dockerfile calls it.
    pub id: String,
    /// Where it is.
    pub from: SecretFrom,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFrom {
    /// In a file.
    File(String),
    /// In a variable of the environment.
    Env(String),
    /// In the variable of its own name, or else in the file of that name.
    Name,
}

impl Secret {
    /// Reads `id=ID,src=PATH`, `id=ID,env=NAME` or `id=ID`.
    ///
    /// # Errors
    /// No id, an unknown field, two places.
    pub fn parse(text: &str) -> Result<Self, String> {
        let failed = |why: &str| format!("--secret {text}: {why}");
        let (mut id, mut file, mut env, mut kind) = ("", "", "", "");
        for field in text.split(',') {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let place = match name.to_ascii_lowercase().as_str() {
                "id" => &mut id,
                "src" | "source" => &mut file,
                "env" => &mut env,
                "type" if ["file", "env"].contains(&value) => &mut kind,
                "type" => return Err(failed("type is neither file nor env")),
                _ => return Err(failed(&format!("{name:?} is none of id, src, env, type"))),
            };
            *place = value;
        }
        if id.is_empty() {
            return Err(failed("no id"));
        }
        if kind == "env" && env.is_empty() {
            (file, env) = ("", if file.is_empty() { id } else { file });
        }
        let from = match (file, env) {
            ("", "") => SecretFrom::Name,
            (file, "") => SecretFrom::File(file.to_owned()),
            ("", env) => SecretFrom::Env(env.to_owned()),
            _ => return Err(failed("src or env, not both")),
        };
        let id = id.to_owned();
        Ok(Self { id, from })
    }
}

/// Reads `--ssh ID=SOCKET` or `--ssh ID`: the agent's id and its socket, where one is named.
///
/// # Errors
/// No id.
pub fn agent(text: &str) -> Result<(String, Option<String>), String> {
    let (id, socket) = text.split_once('=').unwrap_or((text, ""));
    match id {
        "" => Err(format!("--ssh {text}: no id (--ssh default is usual)")),
        id => Ok((
            id.to_owned(),
            Some(socket.to_owned()).filter(|path| !path.is_empty()),
        )),
    }
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            dockerfile: DOCKERFILE.to_owned(),
            context: CONTEXT.to_owned(),
            context_sub_path: String::new(),
            destinations: Vec::new(),
            build_args: Vec::new(),
            target: None,
            labels: BTreeMap::new(),
            cache: true,
            no_push: false,
            insecure: Vec::new(),
            skip_tls_verify: Vec::new(),
            digest_file: None,
            image_name_with_digest_file: None,
            image_name_tag_with_digest_file: None,
            tar_path: None,
            reproducible: false,
            platform: None,
            secrets: Vec::new(),
            agents: BTreeMap::new(),
        }
    }
}

/// Flags that are true or false, besides those of [`Arguments`]: they tell kaniko how to work, and
/// mean nothing to a builder that works in another way.
const IDLE_SWITCHES: [&str; 17] = [
    "single-snapshot",
    "cleanup",
    "force",
    "log-timestamp",
    "use-new-run",
    "cache-copy-layers",
    "cache-run-layers",
    "compressed-caching",
    "no-push-cache",
    "ignore-var-run",
    "whitelist-var-run",
    "skip-unused-stages",
    "skip-push-permission-check",
    "push-ignore-immutable-tag-errors",
    "skip-default-registry-fallback",
    "preserve-context",
    "warmer",
];
/// The same with a value.
const IDLE_VALUES: [&str; 17] = [
    "verbosity",
    "log-format",
    "snapshot-mode",
    "snapshotMode",
    "kaniko-dir",
    "cache-dir",
    "cache-repo",
    "cache-ttl",
    "push-retry",
    "image-fs-extract-retry",
    "image-download-retry",
    "compression",
    "compression-level",
    "ignore-path",
    "git",
    "credential-helpers",
    "bucket",
];

/// A flag with its value, as it is written.
struct Flag<'a> {
    name: &'a str,
    value: Option<String>,
}

impl Arguments {
    /// Reads the arguments.
    ///
    /// # Errors
    /// An unknown flag, by its name; a value that is missing or means nothing.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut arguments = Self::default();
        let mut words = words.iter().map(String::as_str).peekable();
        // The entry point may be written out.
        if words
            .peek()
            .is_some_and(|first| *first == "/kaniko/executor")
        {
            words.next();
        }
        while let Some(word) = words.next() {
            let flag = split(word)?;
            if arguments.switch(&flag)? {
                continue;
            }
            let name = flag.name;
            if !is_valued(name) {
                return Err(format!("unknown flag: --{name} (of kaniko's executor)"));
            }
            let value = match flag.value {
                Some(value) => value,
                None => words
                    .next()
                    .map(str::to_owned)
                    .ok_or_else(|| format!("flag needs an argument: --{name}"))?,
            };
            arguments.value(name, value)?;
        }
        if arguments.destinations.is_empty() && !arguments.no_push {
            return Err("you must provide --destination, or use --no-push".to_owned());
        }
        Ok(arguments)
    }

    /// Takes a flag that is true or false; false for another one.
    fn switch(&mut self, flag: &Flag<'_>) -> Result<bool, String> {
        let place = match flag.name {
            "cache" => &mut self.cache,
            "no-push" => &mut self.no_push,
            "reproducible" => &mut self.reproducible,
            "insecure" | "insecure-pull" => {
                if truth(flag)? {
                    self.insecure.push("*".to_owned());
                }
                return Ok(true);
            }
            "skip-tls-verify" | "skip-tls-verify-pull" => {
                if truth(flag)? {
                    self.skip_tls_verify.push("*".to_owned());
                }
                return Ok(true);
            }
            name => {
                let idle = IDLE_SWITCHES.contains(&name);
                if idle {
                    truth(flag)?;
                }
                return Ok(idle);
            }
        };
        *place = truth(flag)?;
        Ok(true)
    }

    fn value(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "dockerfile" => self.dockerfile = value,
            "context" => self.context = value,
            "context-sub-path" => self.context_sub_path = value,
            "destination" => self.destinations.push(value),
            "build-arg" => self.build_args.push(match value.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (value, None),
            }),
            "label" => {
                let pair = value.split_once('=');
                let (name, text) =
                    pair.ok_or_else(|| format!("--label {value}: not NAME=value"))?;
                self.labels.insert(name.to_owned(), text.to_owned());
            }
            "target" => self.target = Some(value).filter(|target| !target.is_empty()),
            "insecure-registry" => self.insecure.push(value),
            "skip-tls-verify-registry" => self.skip_tls_verify.push(value),
            "digest-file" => self.digest_file = Some(value),
            "image-name-with-digest-file" => self.image_name_with_digest_file = Some(value),
            "image-name-tag-with-digest-file" => {
                self.image_name_tag_with_digest_file = Some(value);
            }
            "tar-path" | "tarPath" => self.tar_path = Some(value),
            "custom-platform" | "customPlatform" => self.platform = Some(value),
            "secret" => self.secrets.push(Secret::parse(&value)?),
            "ssh" => {
                let (id, socket) = agent(&value)?;
                let socket = socket.ok_or_else(|| {
                    format!("--ssh {value}: the agent's socket is missing: --ssh {id}=PATH")
                })?;
                self.agents.insert(id, socket);
            }
            // Checked by `is_valued`: it means nothing here.
            _ => {}
        }
        Ok(())
    }
}

/// Flags with a value that [`Arguments`] keeps.
const VALUED: [&str; 19] = [
    "dockerfile",
    "context",
    "context-sub-path",
    "destination",
    "build-arg",
    "label",
    "target",
    "insecure-registry",
    "skip-tls-verify-registry",
    "digest-file",
    "image-name-with-digest-file",
    "image-name-tag-with-digest-file",
    "tar-path",
    "tarPath",
    "custom-platform",
    "customPlatform",
    "secret",
    "ssh",
    // kaniko's debug images know it; a mirror is the node's `registries.yaml` here.
    "registry-mirror",
];

fn is_valued(name: &str) -> bool {
    VALUED.contains(&name) || IDLE_VALUES.contains(&name)
}

fn split(word: &str) -> Result<Flag<'_>, String> {
    let long = word.strip_prefix("--").filter(|rest| !rest.is_empty());
    if let Some(long) = long {
        return Ok(match long.split_once('=') {
            Some((name, value)) => Flag {
                name,
                value: Some(value.to_owned()),
            },
            None => Flag {
                name: long,
                value: None,
            },
        });
    }
    let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
    let name = match letters.next() {
        Some('f') => "dockerfile",
        Some('c') => "context",
        Some('d') => "destination",
        Some('b') => "bucket",
        Some('v') => "verbosity",
        Some(other) => return Err(format!("unknown shorthand flag: '{other}' in {word}")),
        None => return Err(format!("unexpected argument: {word:?}")),
    };
    let rest = letters.as_str();
    let value = rest.strip_prefix('=').unwrap_or(rest);
    Ok(Flag {
        name,
        value: (!rest.is_empty()).then(|| value.to_owned()),
    })
}

fn truth(flag: &Flag<'_>) -> Result<bool, String> {
    match flag.value.as_deref() {
        None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
        Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(format!("invalid argument {other:?} for --{}", flag.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Arguments, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&words)
    }

    #[test]
    fn what_manifests_say() {
        let found = parse(
            "--dockerfile=/workspace/Dockerfile --destination=docker.io/{u}/app -d b \
             --build-arg A=b=c --build-arg=D --cache=false --target run --label=x=y \
             --insecure --skip-tls-verify-registry=r --snapshotMode=redo --verbosity debug \
             --cleanup -c dir:///w --digest-file /dev/termination-log \
             --secret id=a,src=/s/a --secret=id=b,env=B --ssh default=/s/agent",
        );
        let found = found.expect("arguments");
        assert_eq!(found.dockerfile, "/workspace/Dockerfile");
        assert_eq!(found.destinations, ["docker.io/{u}/app", "b"]);
        assert_eq!(found.context, "dir:///w");
        assert_eq!(found.target.as_deref(), Some("run"));
        assert_eq!((found.cache, found.no_push), (false, false));
        assert_eq!(
            (found.insecure, found.skip_tls_verify),
            (vec!["*".into()], vec!["r".into()])
        );
        let args = [
            ("A".to_owned(), Some("b=c".to_owned())),
            ("D".to_owned(), None),
        ];
        assert_eq!(found.build_args, args);
        assert_eq!(found.labels["x"], "y");
        assert_eq!(found.digest_file.as_deref(), Some("/dev/termination-log"));
        let ids: Vec<&str> = found.secrets.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(found.agents["default"], "/s/agent");
    }

    #[test]
    fn defaults_and_refusals() {
        let found = parse("/kaniko/executor --no-push").expect("arguments");
        assert_eq!(
            (found.dockerfile.as_str(), found.context.as_str()),
            ("Dockerfile", "/workspace/")
        );
        for (text, expected) in [
            ("--what=1", "unknown flag: --what (of kaniko's executor)"),
            ("-x", "unknown shorthand flag: 'x' in -x"),
            ("--destination", "flag needs an argument: --destination"),
            ("build", "unexpected argument: \"build\""),
            (
                "--no-push=maybe",
                "invalid argument \"maybe\" for --no-push",
            ),
            (
                "--ssh=default",
                "--ssh default: the agent's socket is missing: --ssh default=PATH",
            ),
            (
                "--target=a",
                "you must provide --destination, or use --no-push",
            ),
        ] {
            assert_eq!(parse(text).expect_err(text), expected);
        }
    }

    #[test]
    fn secrets_in_the_words_of_docker() {
        let file = |path: &str| Ok(SecretFrom::File(path.to_owned()));
        let env = |name: &str| Ok(SecretFrom::Env(name.to_owned()));
        for (text, expected) in [
            ("id=a,src=/x", file("/x")),
            ("type=file,id=a,source=x", file("x")),
            ("id=a,env=A", env("A")),
            ("type=env,id=a", env("a")),
            ("type=env,id=a,src=A", env("A")),
            ("id=a", Ok(SecretFrom::Name)),
            ("src=/x", Err("no id")),
            ("id=a,src=/x,env=A", Err("src or env, not both")),
            ("id=a,type=vault", Err("type is neither file nor env")),
            ("id=a,x=y", Err("\"x\" is none of id, src, env, type")),
        ] {
            let found = Secret::parse(text).map(|secret| secret.from);
            let expected = expected.map_err(|why| format!("--secret {text}: {why}"));
            assert_eq!(found, expected);
        }
    }
}
