//! The walk through a Dockerfile: the target's stage, those it needs, their steps; each step from
//! the cache or carried out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dockerfile::key::Input;
use dockerfile::{
    Base, Config, Copy, Dockerfile, From, Ignore, MountKind, Options, Origin, Run, Stage, Step, key,
};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::context::Source;
use super::copy::{Look, Sink};
use super::fetch;
use super::mount::{forget_mount_point, from};
use super::place::{Brought, check_sum, place};
use super::room::Room;
use super::run::{self, Net, Program};
use super::tree::{Scratch, with_views};
use super::{BuildError, BuildRequest, Built, CACHE_BYTES_MAX, Output, finish};
use crate::image::built::{Layer, Parts};
use crate::image::cache::Record;
use crate::image::{ARCHITECTURE, Image, ImageStore, PullPolicy};
use crate::node::Shared;

/// What many tools take for the time of what they write.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// A stage that is done.
#[derive(Clone)]
pub(super) struct Done {
    pub(super) plan: Stage,
    pub(super) layers: Vec<Layer>,
    pub(super) history: Vec<Value>,
    pub(super) created: Option<String>,
}

pub(super) struct Walk {
    pub(super) shared: Arc<Shared>,
    pub(super) request: BuildRequest,
    pub(super) output: Arc<dyn Output>,
    file: Dockerfile,
    options: Options,
    pub(super) scratch: Arc<Scratch>,
    stages: BTreeMap<usize, Done>,
    /// Images in use; held, so that nothing of them is removed.
    images: BTreeMap<String, (Arc<Image>, Parts)>,
    steps: usize,
    cached: usize,
    bytes: u64,
}

/// Builds: the whole of it.
pub(super) async fn build(
    shared: Arc<Shared>,
    request: BuildRequest,
    output: Arc<dyn Output>,
) -> Result<Built, BuildError> {
    let file = Dockerfile::parse(&request.dockerfile)?;
    let options = Options {
        target: request.target.clone(),
        build_args: request.build_args.clone(),
        architecture: ARCHITECTURE.to_owned(),
    };
    let target = file.target(&options)?;
    for name in file.unused_args(&options) {
        output.line(&format!("[Warning] build-arg {name} was not consumed"));
    }
    let scratch = Scratch::make(&shared.config.data_dir);
    let scratch = scratch.map_err(BuildError::io("make a directory for the build"))?;
    let store = shared.config.images.clone();
    let held = tokio::task::spawn_blocking(move || store.hold()).await;
    let held = held.map_err(|error| BuildError::Io {
        step: "hold the image store",
        source: error.into(),
    })??;
    let mut walk = Walk {
        shared,
        request,
        output,
        file,
        options,
        scratch: Arc::new(scratch),
        stages: BTreeMap::new(),
        images: BTreeMap::new(),
        steps: 0,
        cached: 0,
        bytes: 0,
    };
    walk.stage(target).await?;
    let done = walk.stages[&target].clone();
    let (digest, names) = finish::finish(&walk, done).await?;
    drop(held);
    tidy(walk.store().clone());
    Ok(Built {
        digest,
        names,
        steps: walk.steps,
        cached: walk.cached,
    })
}

/// Makes room for the next build, beside whatever comes next.
fn tidy(store: ImageStore) {
    tokio::task::spawn_blocking(move || {
        // Not more often than needed: Revisions may be pinned to images that have lost their name.
        if store.trim_cache(CACHE_BYTES_MAX, std::time::Duration::ZERO) > 0
            && let Err(error) = store.prune()
        {
            tracing::warn!(%error, "what builds have left could not be removed");
        }
    });
}

impl Walk {
    pub(super) fn store(&self) -> &ImageStore {
        &self.shared.config.images
    }

    /// Builds a stage, unless it is done, and before it what it needs.
    fn stage(&mut self, number: usize) -> BoxFuture<'_, Result<(), BuildError>> {
        Box::pin(async move {
            if self.stages.contains_key(&number) {
                return Ok(());
            }
            let (base, parts) = match self.file.base(number, &self.options)? {
                From::Scratch => (Base::default(), Parts::default()),
                From::Stage(earlier) => {
                    self.stage(earlier).await?;
                    let done = &self.stages[&earlier];
                    let parts = Parts {
                        config: Value::Null,
                        layers: done.layers.clone(),
                        history: done.history.clone(),
                        created: done.created.clone(),
                    };
                    (done.plan.as_base(), parts)
                }
                From::Image(name) => {
                    let parts = self.image(&name).await?;
                    let config: Option<Config> = serde_json::from_value(parts.config.clone())
                        .map_err(|error| BuildError::Step {
                            line: self.file.stages()[number].line,
                            text: format!("FROM {name}"),
                            message: format!("the image's configuration cannot be read: {error}"),
                        })?;
                    (Base::image(config.unwrap_or_default()), parts)
                }
            };
            let plan = self.file.plan(number, &base, &self.options)?;
            let mut done = Done {
                plan,
                layers: parts.layers,
                history: parts.history,
                created: parts.created,
            };
            self.steps_of(number, &mut done).await?;
            self.stages.insert(number, done);
            Ok(())
        })
    }

    async fn steps_of(&mut self, number: usize, done: &mut Done) -> Result<(), BuildError> {
        let name = self.file.stages()[number].name.clone();
        let name = name.map(|name| format!("[{name}] ")).unwrap_or_default();
        let count = done.plan.planned.len();
        for (at, planned) in done.plan.planned.clone().into_iter().enumerate() {
            let text = &planned.text;
            self.output
                .line(&format!("{name}STEP {}/{count}: {text}", at + 1));
            let mut entry = json!({"created_by": text});
            let mut is_empty = true;
            if let Some(step) = &planned.step {
                let made = self.step(step, &done.layers).await;
                let record = made.map_err(|message| BuildError::Step {
                    line: planned.line,
                    text: text.clone(),
                    message,
                })?;
                entry["created"] = json!(record.created);
                done.created = done.created.take().max(Some(record.created));
                if let Some(diff_id) = record.layer {
                    is_empty = false;
                    done.layers.push(Layer::own(diff_id, record.size));
                }
            } else if let Some(created) = &done.created {
                entry["created"] = json!(created);
            }
            if is_empty {
                entry["empty_layer"] = json!(true);
            }
            done.history.push(entry);
        }
        Ok(())
    }

    /// An image to stand on or copy from.
    async fn image(&mut self, name: &str) -> Result<Parts, BuildError> {
        if let Some((_, parts)) = self.images.get(name) {
            return Ok(parts.clone());
        }
        let puller = &self.shared.config.puller;
        let access = &self.request.access;
        if self.store().get(name)?.is_none() {
            self.output.line(&format!("pulling {name}"));
        }
        let quiet = Arc::new(|_| {});
        let image = puller
            .pull_with(name, access, PullPolicy::IfNotPresent, quiet)
            .await?;
        let parts = self.store().parts(&image)?;
        self.images.insert(name.to_owned(), (image, parts.clone()));
        Ok(parts)
    }

    /// Carries a step out, or takes what it made before.
    async fn step(&mut self, step: &Step, layers: &[Layer]) -> Result<Record, String> {
        let (inputs, brought) = self.inputs(step).await?;
        let ids: Vec<String> = layers.iter().map(|l| l.diff_id.to_string()).collect();
        let key = key::of_step(&ids, step, &inputs);
        self.steps += 1;
        if self.request.cache
            && let Some(record) = self.store().cached(&key)
        {
            self.output.line("  using cache");
            self.cached += 1;
            return Ok(record);
        }
        let dirs = self.store().directories(layers);
        let scratch = Arc::clone(&self.scratch);
        let upper = scratch
            .path()
            .join(uuid::Uuid::new_v4().simple().to_string());
        match step {
            Step::Run(run) => self.run(run, dirs, &upper).await?,
            Step::Copy(copy) => self.copy(copy, brought, dirs, &upper).await?,
            Step::Workdir(path) => {
                let (path, upper) = (PathBuf::from(path), upper.clone());
                blocking(move || {
                    make(&upper)?;
                    with_views(&scratch, |views| {
                        let root = views.write(&dirs, &upper).map_err(text)?;
                        let mut sink = Sink::new(root, Look::default());
                        sink.make_dir(&path).map_err(text)?;
                        sink.finish().map(drop).map_err(text)
                    })
                })
                .await?;
            }
        }
        self.keep(&key, upper).await
    }

    /// Makes a layer of what a step has left and remembers it.
    async fn keep(&mut self, key: &str, upper: PathBuf) -> Result<Record, String> {
        let (store, latest) = (self.store().clone(), self.latest());
        let layer = blocking(move || {
            store
                .add_layer(&upper, latest)
                .map_err(|error| BuildError::Image(error).to_string())
        })
        .await?;
        let size = layer.as_ref().map_or(0, Layer::size);
        self.take(size)?;
        let created = match self.latest() {
            Some(seconds) => Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH),
            None => Timestamp::now(),
        };
        let record = Record {
            layer: layer.map(|layer| layer.diff_id),
            size,
            created: created.to_string(),
        };
        self.store()
            .remember(key, &record)
            .map_err(|error| BuildError::Image(error).to_string())?;
        Ok(record)
    }

    /// What the build may still take of the disk.
    pub(super) const fn room(&self) -> Room {
        Room {
            max: self.request.disk_bytes_max,
            used: self.bytes,
        }
    }

    /// Counts what the build has made.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), String> {
        self.room().check(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// The latest time that may get into the image, seconds since the epoch.
    pub(super) fn latest(&self) -> Option<i64> {
        let given = self.request.build_args.get(EPOCH);
        let given = given.and_then(|text| text.parse().ok());
        given.or_else(|| self.request.reproducible.then_some(0))
    }

    /// Everything beside the step itself that counts for what it makes; what had to be fetched to
    /// know is kept.
    async fn inputs(&mut self, step: &Step) -> Result<(Vec<Input>, Vec<Brought>), String> {
        let mut inputs = Vec::new();
        let mut brought = Vec::new();
        let mut add = |path: &str, content: String| {
            inputs.push(Input {
                path: path.to_owned(),
                mode: 0,
                content,
            });
        };
        if let Some(latest) = self.latest() {
            add(EPOCH, latest.to_string());
        }
        match step {
            Step::Workdir(_) => {}
            Step::Run(run) => {
                for mount in run.mounts.iter().filter(|one| one.kind == MountKind::Bind) {
                    if mount.from.is_empty() {
                        inputs.extend(self.context_inputs(vec![mount.source.clone()], &[]).await?);
                    } else {
                        let layers = self.layers_of(&from(&mount.from)).await?;
                        inputs.push(chain_input(&layers));
                    }
                }
            }
            Step::Copy(copy) => {
                let mut paths = Vec::new();
                for origin in &copy.origins {
                    match origin {
                        Origin::Path(path) => paths.push(path.clone()),
                        Origin::Url(address) => {
                            let room = self.room();
                            let one = fetch::fetch(address, self.scratch.path(), room).await?;
                            self.take(one.bytes)?;
                            check_sum(copy, &format!("sha256:{}", one.sha256))?;
                            add(address, one.sha256.clone());
                            brought.push(Brought::File(one));
                        }
                        Origin::Git(repository) => {
                            let (commit, tree) = self.repository(repository).await?;
                            check_sum(copy, &commit)?;
                            add(&repository.url, commit);
                            brought.push(Brought::Tree(tree));
                        }
                        Origin::Inline { .. } => {}
                    }
                }
                match copy.from {
                    dockerfile::Source::Context if !paths.is_empty() => {
                        inputs.extend(self.context_inputs(paths, &copy.excludes).await?);
                    }
                    dockerfile::Source::Context => {}
                    ref other => inputs.push(chain_input(&self.layers_of(other).await?)),
                }
            }
        }
        Ok((inputs, brought))
    }

    pub(super) fn context(&self) -> Result<Source, String> {
        let root = self.request.context.try_clone().map_err(text)?;
        Ok(Source::new(root, Ignore::parse(&self.request.ignore)))
    }

    async fn context_inputs(
        &self,
        paths: Vec<String>,
        excludes: &[String],
    ) -> Result<Vec<Input>, String> {
        let (context, excludes) = (self.context()?, excludes.to_vec());
        blocking(move || {
            let more = Ignore::of(excludes.iter().map(String::as_str));
            let mut inputs = Vec::new();
            for path in &paths {
                for found in context.select(path).map_err(text)? {
                    inputs.extend(context.inputs(&found, &more).map_err(text)?);
                }
            }
            Ok(inputs)
        })
        .await
    }

    /// The layers of a stage or image.
    pub(super) async fn layers_of(
        &mut self,
        source: &dockerfile::Source,
    ) -> Result<Vec<Layer>, String> {
        match source {
            dockerfile::Source::Context => Ok(Vec::new()),
            dockerfile::Source::Stage(number) => {
                let done = self.stage(*number).await;
                done.map_err(|error| error.to_string())?;
                Ok(self.stages[number].layers.clone())
            }
            dockerfile::Source::Image(name) => {
                let parts = self.image(name).await;
                Ok(parts.map_err(|error| error.to_string())?.layers)
            }
        }
    }

    async fn copy(
        &mut self,
        copy: &Copy,
        brought: Vec<Brought>,
        dirs: Vec<PathBuf>,
        upper: &Path,
    ) -> Result<(), String> {
        let from = match &copy.from {
            dockerfile::Source::Context => None,
            other => {
                let layers = self.layers_of(other).await?;
                Some(self.store().directories(&layers))
            }
        };
        let (context, scratch) = (self.context()?, Arc::clone(&self.scratch));
        let (copy, upper, room) = (copy.clone(), upper.to_path_buf(), self.room());
        blocking(move || {
            make(&upper)?;
            with_views(&scratch, |views| {
                let root = views.write(&dirs, &upper).map_err(text)?;
                let source = match &from {
                    None => context,
                    Some(dirs) => {
                        let root = views.read(dirs).map_err(text)?;
                        Source::new(root, Ignore::default())
                    }
                };
                place(&copy, brought, &source, root, room)
            })
        })
        .await
    }

    /// The network of a program.
    pub(super) fn net(&self, is_wanted: bool) -> Result<Net, String> {
        Ok(match (&self.request.network, is_wanted) {
            (_, false) => Net::Nothing(crate::net::isolated().map_err(text)?),
            (Some(dialer), true) => match dialer.net() {
                Some(net) => Net::Pod(net.clone()),
                None => Net::Machine,
            },
            (None, true) => Net::Machine,
        })
    }

    async fn run(&mut self, run: &Run, dirs: Vec<PathBuf>, upper: &Path) -> Result<(), String> {
        let shown = self.shown(run).await?;
        let mut env = shown.env;
        env.extend(self.latest().map(|latest| format!("{EPOCH}={latest}")));
        let targets: Vec<String> = shown.mounts.iter().map(|one| one.target.clone()).collect();
        let program = Program {
            run,
            layers: dirs.clone(),
            mounts: shown.mounts,
            net: self.net(run.network)?,
            namespace: &self.request.namespace,
            limits: &self.request.limits,
            env,
            room: self.room(),
            writable: shown.writable,
        };
        let exit = run::run(&self.shared, program, &self.output, upper).await?;
        if exit.code != 0 {
            return Err(run::failure(run, exit, &self.request.limits));
        }
        for target in targets.iter().rev() {
            forget_mount_point(upper, &dirs, target);
        }
        Ok(())
    }
}

fn chain_input(layers: &[Layer]) -> Input {
    let ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    Input {
        path: "layers".to_owned(),
        mode: 0,
        content: ids.join(" "),
    }
}

fn make(path: &Path) -> Result<(), String> {
    std::fs::create_dir(path).map_err(text)
}

pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(error.to_string()))
}
