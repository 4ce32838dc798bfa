//! `RUN --mount`: what is shown to one program and is no part of the image. `plan` reads the options,
//! the builder brings what they mean.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::absolute;

/// Where secrets are found by programs that name no place of their own.
const SECRETS_DIR: &str = "/run/secrets";
/// The same for agents; BuildKit's.
const AGENT: &str = "/run/buildkit/ssh_agent";
/// The agent that is meant when none is named.
const AGENT_ID: &str = "default";

/// What a `RUN --mount` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum MountKind {
    /// A directory that outlives the build.
    Cache,
    /// A part of the context, a stage or an image.
    Bind,
    /// Memory.
    Tmpfs,
    /// A secret the build was given.
    Secret,
    /// An agent's socket.
    Ssh,
}

/// `RUN --mount`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunMount {
    /// What is shown.
    pub kind: MountKind,
    /// Where, absolute; empty for a secret that is only a variable, and for an agent at its usual
    /// place.
    pub target: String,
    /// Name of the cache, secret or agent; for a cache the target where none is given.
    pub id: String,
    /// Stage or image; empty is the context.
    pub from: String,
    /// Path in it.
    pub source: String,
    /// Whether writing is refused.
    pub read_only: bool,
    /// Whether the build fails without it.
    pub required: bool,
    /// Of a cache that is made and of a secret: owner and group.
    pub owner: (u32, u32),
    /// The same: permission bits.
    pub mode: Option<u32>,
    /// The variable that has the secret; empty for none.
    pub env: String,
}

/// The options of one mount, by their long names.
struct Fields(BTreeMap<String, String>);

impl Fields {
    fn parse(text: &str) -> Self {
        let field = |field: &str| {
            let (name, value) = field.split_once('=').unwrap_or((field, "true"));
            let name = match name.to_ascii_lowercase().as_str() {
                "dst" | "destination" => "target".to_owned(),
                "src" => "source".to_owned(),
                "ro" => "readonly".to_owned(),
                "rw" => "readwrite".to_owned(),
                other => other.to_owned(),
            };
            (name, value.to_owned())
        };
        Self(text.split(',').map(field).collect())
    }

    fn take(&mut self, name: &str) -> String {
        self.0.remove(name).unwrap_or_default()
    }

    fn truth(&mut self, name: &str) -> Result<bool, String> {
        match self.take(name).as_str() {
            "" | "false" | "0" => Ok(false),
            "true" | "1" => Ok(true),
            other => Err(format!("RUN --mount: {name}={other} is not a boolean")),
        }
    }

    fn number(&mut self, name: &str, base: u32) -> Result<Option<u32>, String> {
        let text = self.take(name);
        if text.is_empty() {
            return Ok(None);
        }
        let found = u32::from_str_radix(&text, base);
        found
            .map(Some)
            .map_err(|_| format!("RUN --mount: {name}={text} is no number"))
    }
}

impl RunMount {
    /// Reads the value of `--mount`, variables replaced.
    pub(crate) fn parse(text: &str, cwd: &str) -> Result<Self, String> {
        let mut fields = Fields::parse(text);
        let kind = match fields.take("type").as_str() {
            "" | "bind" => MountKind::Bind,
            "cache" => MountKind::Cache,
            "tmpfs" => MountKind::Tmpfs,
            "secret" => MountKind::Secret,
            "ssh" => MountKind::Ssh,
            other => return Err(format!("RUN --mount: unknown type {other:?}")),
        };
        let writes = fields.truth("readwrite")?;
        let owner = (fields.number("uid", 10)?, fields.number("gid", 10)?);
        let mut mount = Self {
            kind,
            target: fields.take("target"),
            id: fields.take("id"),
            from: fields.take("from"),
            source: fields.take("source"),
            read_only: fields.truth("readonly")? || (kind == MountKind::Bind && !writes),
            required: fields.truth("required")?,
            owner: (owner.0.unwrap_or(0), owner.1.unwrap_or(0)),
            mode: fields.number("mode", 8)?,
            env: fields.take("env"),
        };
        mount.find_its_place(cwd)?;
        // How a cache is shared does not matter here: everybody gets the same one. Memory is bounded by
        // the step's own limit.
        for known in ["sharing", "size"] {
            fields.take(known);
        }
        match fields.0.keys().next() {
            Some(name) => Err(format!("RUN --mount does not know the option {name:?}")),
            None => Ok(mount),
        }
    }

    /// Id and target, of which each kind has its own idea.
    fn find_its_place(&mut self, cwd: &str) -> Result<(), String> {
        match self.kind {
            MountKind::Secret => {
                if !self.source.is_empty() {
                    self.id = std::mem::take(&mut self.source);
                }
                if self.id.is_empty() {
                    self.id = base(&self.target).to_owned();
                }
                if self.id.is_empty() {
                    return Err("RUN --mount=type=secret needs an id or a target".to_owned());
                }
                if self.target.is_empty() && self.env.is_empty() {
                    self.target = format!("{SECRETS_DIR}/{}", base(&self.id));
                }
            }
            MountKind::Ssh => {
                if !self.source.is_empty() {
                    return Err("RUN --mount=type=ssh has no source".to_owned());
                }
                if self.id.is_empty() {
                    AGENT_ID.clone_into(&mut self.id);
                }
            }
            MountKind::Bind | MountKind::Cache | MountKind::Tmpfs => {
                if self.target.is_empty() {
                    return Err("RUN --mount needs a target".to_owned());
                }
            }
        }
        if self.kind != MountKind::Secret && !self.env.is_empty() {
            return Err("RUN --mount: env is for secrets".to_owned());
        }
        if !self.target.is_empty() {
            self.target = absolute(cwd, &self.target);
        }
        if self.id.is_empty() {
            self.id.clone_from(&self.target);
        }
        Ok(())
    }

    /// Gives agents without a place the usual ones, which are numbered.
    pub(crate) fn place_agents(mounts: &mut [Self]) {
        let agents = mounts.iter_mut().filter(|one| one.kind == MountKind::Ssh);
        for (number, mount) in agents.enumerate() {
            if mount.target.is_empty() {
                mount.target = format!("{AGENT}.{number}");
            }
        }
    }
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        let mount = RunMount::parse("type=cache,target=pip,sharing=locked", "/w").expect("one");
        assert_eq!(
            (mount.target.as_str(), mount.id.as_str()),
            ("/w/pip", "/w/pip")
        );
        let mount = RunMount::parse("dst=/x,src=a,from=b", "/").expect("one");
        assert!(mount.read_only && mount.kind == MountKind::Bind);
        let mount = RunMount::parse("type=cache,target=/c,uid=7,mode=0700", "/").expect("one");
        assert_eq!((mount.owner, mount.mode), ((7, 0), Some(0o700)));
        for (text, expected) in [
            ("type=cache", "RUN --mount needs a target"),
            (
                "type=cache,target=/c,uid=me",
                "RUN --mount: uid=me is no number",
            ),
            ("type=x,target=/a", "RUN --mount: unknown type \"x\""),
            (
                "target=/a,z=1",
                "RUN --mount does not know the option \"z\"",
            ),
            (
                "type=secret",
                "RUN --mount=type=secret needs an id or a target",
            ),
            (
                "type=secret,id=a,required=maybe",
                "RUN --mount: required=maybe is not a boolean",
            ),
            ("type=ssh,source=/key", "RUN --mount=type=ssh has no source"),
            (
                "type=cache,target=/c,env=A",
                "RUN --mount: env is for secrets",
            ),
        ] {
            assert_eq!(RunMount::parse(text, "/"), Err(expected.to_owned()));
        }
    }

    /// Where a secret is, under which id and in which variable.
    #[test]
    fn secrets_have_a_place_or_a_variable() {
        for (text, expected) in [
            ("id=a", ["/run/secrets/a", "a", ""]),
            ("id=x/a", ["/run/secrets/a", "x/a", ""]),
            ("target=/home/.netrc", ["/home/.netrc", ".netrc", ""]),
            ("source=a,target=t", ["/w/t", "a", ""]),
            ("id=a,env=TOKEN", ["", "a", "TOKEN"]),
            ("id=a,env=TOKEN,dst=/t", ["/t", "a", "TOKEN"]),
        ] {
            let mount = RunMount::parse(&format!("type=secret,{text}"), "/w").expect(text);
            let found = [&mount.target, &mount.id, &mount.env];
            assert_eq!(found.map(String::as_str), expected, "{text}");
        }
    }

    #[test]
    fn agents_are_numbered() {
        let parse = |text: &str| RunMount::parse(text, "/").expect("one");
        let mut mounts = [
            parse("type=ssh"),
            parse("type=secret,id=a"),
            parse("type=ssh,id=other,required"),
            parse("type=ssh,target=/agent"),
        ];
        RunMount::place_agents(&mut mounts);
        let found = mounts.map(|mount| (mount.target, mount.id));
        let pair = |target: &str, id: &str| (target.to_owned(), id.to_owned());
        let expected = [
            pair("/run/buildkit/ssh_agent.0", "default"),
            pair("/run/secrets/a", "a"),
            pair("/run/buildkit/ssh_agent.1", "other"),
            pair("/agent", "default"),
        ];
        assert_eq!(found, expected);
    }
}
