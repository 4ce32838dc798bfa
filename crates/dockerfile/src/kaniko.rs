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
            // Checked by `is_valued`: it means nothing here.
            _ => {}
        }
        Ok(())
    }
}

/// Flags with a value that [`Arguments`] keeps.
const VALUED: [&str; 17] = [
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
             --cleanup -c dir:///w --digest-file /dev/termination-log",
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
                "--target=a",
                "you must provide --destination, or use --no-push",
            ),
        ] {
            assert_eq!(parse(text).expect_err(text), expected);
        }
    }
}
