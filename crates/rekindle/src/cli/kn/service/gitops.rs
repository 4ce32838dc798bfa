//! `--target`: kn's way to work on files instead of a cluster. A directory has each Service in
//! `NAMESPACE/ksvc/NAME.yaml`; a path that ends as a YAML or JSON file does is the one Service.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::super::show;
use super::shape::{Spec, shape};
use super::{Listing, Names, SERVICE, Shown, lock, print, wanted};
use crate::cli::output;

/// The directory of a namespace's Services.
const KIND: &str = "ksvc";
/// What a file's name ends with.
const FILES: [&str; 3] = ["yaml", "yml", "json"];

/// Services in files.
pub(super) struct Files {
    root: PathBuf,
    namespace: String,
}

impl Files {
    /// Those of `namespace` below `root`, or in the file `root`.
    pub(super) const fn new(root: PathBuf, namespace: String) -> Self {
        Self { root, namespace }
    }

    pub(super) fn create(&self, spec: &Spec) -> Result<()> {
        let service = self.wanted(spec, "create")?;
        let name = show::name(&service);
        if !spec.force && self.path(&name).exists() {
            bail!(
                "cannot create service '{name}' in namespace '{}' because the service already \
                 exists and no --force option was given",
                self.namespace
            );
        }
        self.write(&service)?;
        self.say(&name, "created")
    }

    pub(super) fn update(&self, spec: &Spec) -> Result<()> {
        let name = spec.name.as_deref();
        let name =
            name.context("'service update' requires the service name given as single argument")?;
        let mut service = self.read(name)?;
        if let Some(metadata) = service["spec"]["template"]["metadata"].as_object_mut() {
            metadata.remove("name");
        }
        shape(&mut service, spec)?;
        lock::lock(&mut service, &Value::Null, spec);
        self.write(&service)?;
        self.say(name, "updated")
    }

    pub(super) fn apply(&self, spec: &Spec) -> Result<()> {
        let service = self.wanted(spec, "apply")?;
        let name = show::name(&service);
        let word = match self.path(&name).exists() {
            true => "applied",
            false => "created",
        };
        self.write(&service)?;
        self.say(&name, word)
    }

    pub(super) fn describe(&self, shown: &Shown) -> Result<()> {
        let service = self.read(&shown.named.name)?;
        if shown.format.print(&service)? {
            return Ok(());
        }
        output::print(&print::describe(&service, &[]))
    }

    pub(super) fn list(&self, listing: &Listing) -> Result<()> {
        let mut items = self.all(listing.all_namespaces)?;
        if let Some(name) = &listing.name {
            items.retain(|item| item["metadata"]["name"] == **name);
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        if listing.format.print(&list)? {
            return Ok(());
        }
        SERVICE.show(&items, listing)
    }

    pub(super) fn delete(&self, names: &Names) -> Result<()> {
        let mut all = names.names.clone();
        if names.all {
            all.extend(self.all(false)?.iter().map(show::name));
        }
        for name in &all {
            // What is not there is said as for any other verb.
            let service = self.read(name)?;
            let path = self.path(&show::name(&service));
            fs::remove_file(&path).with_context(|| format!("delete {}", path.display()))?;
            let namespace = &self.namespace;
            output::line(&format!(
                "Service '{name}' successfully deleted in namespace '{namespace}'."
            ))?;
        }
        Ok(())
    }

    fn say(&self, name: &str, done: &str) -> Result<()> {
        let namespace = &self.namespace;
        output::line(&format!(
            "Service '{name}' {done} in namespace '{namespace}'."
        ))
    }

    fn wanted(&self, spec: &Spec, verb: &str) -> Result<Value> {
        if spec.source.is_some() {
            bail!("--source builds on an instance; with --target, --image names the image");
        }
        let service = wanted(&self.namespace, spec, verb)?;
        let name = show::name(&service);
        // It becomes the name of a file.
        if name.contains('/') || self.namespace.contains('/') {
            bail!("metadata.name: invalid value: '{name}': no name or namespace has a slash");
        }
        Ok(service)
    }

    fn is_file(&self) -> bool {
        is_manifest(&self.root)
    }

    fn path(&self, name: &str) -> PathBuf {
        if self.is_file() {
            return self.root.clone();
        }
        let directory = self.root.join(&self.namespace).join(KIND);
        directory.join(format!("{name}.yaml"))
    }

    fn read(&self, name: &str) -> Result<Value> {
        let service = read(&self.path(name))?;
        let service = service.filter(|service| service["metadata"]["name"] == *name);
        service.with_context(|| format!("services.serving.knative.dev \"{name}\" not found"))
    }

    fn write(&self, service: &Value) -> Result<()> {
        let path = self.path(&show::name(service));
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("make the directory {}", directory.display()))?;
        }
        let text = match path.extension().is_some_and(|end| end == "json") {
            true => format!("{}\n", serde_json::to_string_pretty(service)?),
            false => serde_saphyr::to_string(service)?,
        };
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// The Services of the namespace, or of all, by name.
    fn all(&self, of_all_namespaces: bool) -> Result<Vec<Value>> {
        let mut paths = Vec::new();
        if self.is_file() {
            paths.push(self.root.clone());
        } else if of_all_namespaces {
            for namespace in entries(&self.root)? {
                paths.extend(entries(&namespace.join(KIND))?);
            }
        } else {
            paths.extend(entries(&self.root.join(&self.namespace).join(KIND))?);
        }
        let manifests = paths.iter().filter(|path| is_manifest(path));
        manifests
            .filter_map(|path| read(path).transpose())
            .collect()
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .is_some_and(|end| FILES.iter().any(|known| end == *known))
}

/// What is in a directory, in order; nothing if there is none.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.with_context(|| format!("read {}", directory.display()))?,
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Option<Value>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("read {}", path.display()))?,
    };
    let mut service: Value = serde_saphyr::from_str(&text)
        .with_context(|| format!("{} holds no Service", path.display()))?;
    service["apiVersion"] = json!(SERVICE.group_version);
    service["kind"] = json!(SERVICE.kind);
    Ok(Some(service))
}
