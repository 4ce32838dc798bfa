//! From a Pod's container to what the launcher is told: image, command, environment, volumes,
//! limits, confinement, all names resolved.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::env::{Env, Sources};
use super::fields::Facts;
use super::pull::Pulled;
use super::security::{self, Confinement};
use super::step::LaunchFailure;
use super::{names, pull, quantity, status};
use crate::cgroup::Limits;
use crate::dns::DnsPolicy;
use crate::image::{Image, ImageConfig};
use crate::launcher::{ContainerSpec, Mount, Process};
use crate::node::Shared;
use crate::volume::Volumes;

/// Processes and threads of a container at the most.
const PIDS_MAX: u64 = 32_768;

/// A container ready to be started.
pub(crate) enum Prepared {
    /// As a process.
    Process(Box<ProcessRun>),
    /// As a task of the daemon.
    Builtin(BuiltinRun),
}

/// What starting a builtin needs.
pub(crate) struct BuiltinRun {
    /// Its environment.
    pub(crate) env: Vec<(String, String)>,
    /// Command and arguments.
    pub(crate) args: Vec<String>,
    /// Its volumes.
    pub(crate) mounts: Vec<Mount>,
    /// What it may use.
    pub(crate) limits: Limits,
}

/// What starting a process needs.
pub(crate) struct ProcessRun {
    pub(crate) spec: ContainerSpec,
    pub(crate) image: Arc<Image>,
    pub(crate) unconfined: bool,
    pub(crate) stop_signal: i32,
}

/// Everything a launch is prepared from, by value: it may go on beside the worker.
pub(crate) struct Launch {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) container: Container,
    pub(crate) builtin: bool,
    pub(crate) facts: Facts,
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) host_network: bool,
    /// Told when an image has to be fetched.
    pub(crate) pulling: Box<dyn Fn() + Send + Sync>,
}

impl Launch {
    /// Prepares the container; also says how its image came here, if it did.
    pub(crate) async fn prepare(self) -> (Option<Pulled>, Result<Prepared, LaunchFailure>) {
        if self.builtin {
            let run = self.builtin_run().await.map_err(LaunchFailure::Config);
            return (Some(Pulled::default()), run.map(Prepared::Builtin));
        }
        if let Some(program) = self.shared.config.builtins.program(&self.container) {
            let name = self.container.image.as_deref().unwrap_or_default();
            let config = ImageConfig {
                entrypoint: program.entrypoint,
                env: program.env,
                ..ImageConfig::default()
            };
            let image = Arc::new(Image::empty(name, config));
            let process = self.process(image, program.mounts).await;
            return (Some(Pulled::default()), process);
        }
        let image = pull::image(&self.shared, &self.pod, &self.container, &self.pulling).await;
        match image {
            Ok((image, pulled)) => (Some(pulled), self.process(image, Vec::new()).await),
            Err(failure) => (None, Err(failure)),
        }
    }

    async fn builtin_run(&self) -> Result<BuiltinRun, String> {
        let env = self.env(&[]).await?;
        Ok(BuiltinRun {
            args: command(&self.container, &ImageConfig::default(), &env),
            mounts: self.mounts(&env)?,
            limits: limits(&self.container)?,
            env: env.pairs(),
        })
    }

    /// The process; `more` is mounted besides the container's volumes.
    async fn process(self, image: Arc<Image>, more: Vec<Mount>) -> Result<Prepared, LaunchFailure> {
        if image.wasm.is_some() {
            let text = "the image is a WebAssembly component, which this node does not run";
            return Err(LaunchFailure::Config(text.to_owned()));
        }
        let env = self
            .env(&image.config.env)
            .await
            .map_err(LaunchFailure::Config)?;
        let confinement = security::confinement(&self.pod, &self.container, &image.config.user)
            .map_err(LaunchFailure::Config)?;
        let mut spec = self
            .spec(&image, &env, &confinement)
            .map_err(LaunchFailure::Config)?;
        spec.mounts.splice(..0, more);
        let own = self
            .container
            .lifecycle
            .as_ref()
            .and_then(|hooks| hooks.stop_signal.clone());
        let signal = own.or_else(|| image.config.stop_signal.clone());
        Ok(Prepared::Process(Box::new(ProcessRun {
            spec,
            unconfined: confinement.unconfined,
            stop_signal: signal
                .as_deref()
                .and_then(signal_number)
                .unwrap_or(libc::SIGTERM),
            image,
        })))
    }

    async fn env(&self, image: &[String]) -> Result<Env, String> {
        let sources = Sources {
            pod: &self.pod,
            facts: &self.facts,
            cluster: &*self.shared.config.cluster,
            services: &self.shared.services,
        };
        let mut env = sources.env(&self.container, image).await?;
        if !self.builtin && !env.pairs().iter().any(|(name, _)| name == "HOSTNAME") {
            env.set("HOSTNAME", names::hostname(&self.pod));
        }
        Ok(env)
    }

    fn spec(
        &self,
        image: &Image,
        env: &Env,
        confinement: &Confinement,
    ) -> Result<ContainerSpec, String> {
        let pod_spec = self.pod.spec.as_ref();
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or("default");
        let policy = pod_spec.and_then(|spec| spec.dns_policy.as_deref());
        let policy = DnsPolicy::of(policy, self.host_network);
        let dns = pod_spec.and_then(|spec| spec.dns_config.as_ref());
        let limits = limits(&self.container)?;
        let tty = self.container.tty == Some(true);
        let cwd = self.container.working_dir.clone().unwrap_or_default();
        Ok(ContainerSpec {
            layers: image.layers.clone(),
            exact_changes: false,
            read_only_root: confinement.read_only_root,
            hostname: names::hostname(&self.pod),
            hosts: match self.host_network {
                true => std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
                false => {
                    let domain = &self.shared.config.cluster_domain;
                    names::hosts(&self.pod, &self.facts.pod_ip, domain)
                }
            },
            resolv: self.shared.resolver.resolv_conf(namespace, policy, dns),
            mounts: self.mounts(env)?,
            oom_score_adj: oom_score_adj(&self.pod, &limits, self.facts.memory_bytes),
            limits,
            termination_log: self
                .container
                .termination_message_path
                .clone()
                .unwrap_or_default(),
            privileged: confinement.privileged,
            host_network: self.host_network,
            process: Process {
                args: command(&self.container, &image.config, env),
                env: env
                    .pairs()
                    .into_iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect(),
                cwd: if cwd.is_empty() {
                    image.config.working_dir.clone()
                } else {
                    cwd
                },
                user: confinement.user.clone(),
                capabilities: confinement.capabilities,
                no_new_privileges: confinement.no_new_privileges,
                tty,
            },
        })
    }

    fn mounts(&self, env: &Env) -> Result<Vec<Mount>, String> {
        let wanted = self.container.volume_mounts.iter().flatten();
        let mut mounts = wanted
            .map(|mount| self.mount(mount, env))
            .collect::<Result<Vec<_>, _>>()?;
        // What is mounted below another mount comes after it.
        mounts.sort_by_key(|mount| mount.target.matches('/').count());
        Ok(mounts)
    }

    fn mount(&self, wanted: &VolumeMount, env: &Env) -> Result<Mount, String> {
        let placed = self.volumes.get(&wanted.name).ok_or_else(|| {
            format!(
                "volumeMounts of container {:?} name volume {:?}, which the Pod does not have",
                self.container.name, wanted.name
            )
        })?;
        let sub_path = match (&wanted.sub_path, &wanted.sub_path_expr) {
            (_, Some(expr)) => env.expand(expr),
            (Some(path), None) => path.clone(),
            (None, None) => String::new(),
        };
        if sub_path.starts_with('/') || sub_path.split('/').any(|part| part == "..") {
            return Err(format!("subPath {sub_path:?} leads out of the volume"));
        }
        let slash = if wanted.mount_path.starts_with('/') {
            ""
        } else {
            "/"
        };
        let target = format!("{slash}{}", wanted.mount_path.trim_end_matches('/'));
        Ok(Mount {
            source: placed.path.clone(),
            sub_path,
            target,
            read_only: placed.read_only || wanted.read_only == Some(true),
        })
    }
}

/// The Pod's command replaces the image's entry point and its arguments; the Pod's arguments
/// replace only the image's.
fn command(container: &Container, image: &ImageConfig, env: &Env) -> Vec<String> {
    let some = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
    let expand = |list: Vec<String>| list.iter().map(|word| env.expand(word)).collect::<Vec<_>>();
    let (command, args) = (some(&container.command), some(&container.args));
    let mut words = match &command {
        Some(command) => expand(command.clone()),
        None => image.entrypoint.clone(),
    };
    words.extend(match (args, command) {
        (Some(args), _) => expand(args),
        (None, None) => image.cmd.clone(),
        (None, Some(_)) => Vec::new(),
    });
    words
}

fn limits(container: &Container) -> Result<Limits, String> {
    let wanted = container.resources.as_ref();
    let of = |limits: bool, name: &str| {
        let wanted = wanted?;
        let map = if limits {
            wanted.limits.as_ref()
        } else {
            wanted.requests.as_ref()
        };
        map?.get(name).map(|quantity| quantity.0.clone())
    };
    let number = |text: Option<String>, read: fn(&str) -> Option<u64>| match text {
        Some(text) => read(&text)
            .map(Some)
            .ok_or_else(|| format!("resources: {text:?} is not a quantity")),
        None => Ok(None),
    };
    let cpu_limit_milli = number(of(true, "cpu"), quantity::milli)?;
    Ok(Limits {
        cpu_request_milli: number(of(false, "cpu"), quantity::milli)?.or(cpu_limit_milli),
        cpu_limit_milli,
        memory_bytes: number(of(true, "memory"), quantity::whole)?,
        pids: Some(PIDS_MAX),
    })
}

/// The kubelet's formula (`pkg/kubelet/qos/policy.go`), by quality of service.
fn oom_score_adj(pod: &Pod, limits: &Limits, machine_bytes: u64) -> i32 {
    match status::qos_class(pod) {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let share = limits.memory_bytes.unwrap_or(0) * 1000 / machine_bytes.max(1);
            i32::try_from(1000_u64.saturating_sub(share))
                .unwrap_or(999)
                .clamp(3, 999)
        }
    }
}

/// A stop signal by name, with or without `SIG`, or by number.
fn signal_number(text: &str) -> Option<i32> {
    const NAMES: [(&str, i32); 12] = [
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("KILL", libc::SIGKILL),
        ("USR1", libc::SIGUSR1),
        ("USR2", libc::SIGUSR2),
        ("TERM", libc::SIGTERM),
        ("PIPE", libc::SIGPIPE),
        ("ALRM", libc::SIGALRM),
        ("WINCH", libc::SIGWINCH),
        ("CONT", libc::SIGCONT),
        ("PWR", libc::SIGPWR),
    ];
    let name = text.trim().to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let known = NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number);
    known
        .or_else(|| real_time(name))
        .or_else(|| name.parse().ok().filter(|n| (1..=64).contains(n)))
}

/// `RTMIN+3` and the like.
fn real_time(name: &str) -> Option<i32> {
    let rest = name.strip_prefix("RTMIN")?;
    let more: i32 = if rest.is_empty() {
        0
    } else {
        rest.strip_prefix('+')?.parse().ok()?
    };
    Some(34 + more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals() {
        let cases = [
            ("SIGTERM", Some(15)),
            ("int", Some(2)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
        ];
        for (text, want) in cases.into_iter().chain([("what", None)]) {
            assert_eq!(signal_number(text), want, "{text}");
        }
    }

    #[test]
    fn commands_and_arguments() {
        let words = |list: &[&str]| {
            list.iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let image = ImageConfig {
            entrypoint: words(&["e"]),
            cmd: words(&["c"]),
            ..ImageConfig::default()
        };
        let mut env = Env::default();
        env.set("X", "1".into());
        for (own, args, want) in [
            (&[][..], &[][..], &["e", "c"][..]),
            (&["o"], &[], &["o"]),
            (&[], &["$(X)"], &["e", "1"]),
            (&["o$(X)"], &["a"], &["o1", "a"]),
        ] {
            let container = Container {
                command: Some(words(own)),
                args: Some(words(args)),
                ..Container::default()
            };
            assert_eq!(command(&container, &image, &env), words(want));
        }
    }
}
