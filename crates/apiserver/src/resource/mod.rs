//! The resource table: what is served, under which names, with which verbs.
//!
//! Rows come from [`builtin`] or from CustomResourceDefinitions ([`custom`]); nothing behind the
//! table can tell, except where a kind has rules of its own.

mod builtin;
pub(crate) mod custom;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use serde_json::Value;

pub(crate) use builtin::Row;

use crate::store::{ResourceId, Store};

/// The verbs of an ordinary resource, in the order discovery lists them.
pub(crate) const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// One resource in one version.
#[derive(Debug)]
pub(crate) struct Resource {
    /// API group, empty for core.
    pub group: String,
    /// The version this row serves.
    pub version: String,
    /// The kind, in CamelCase.
    pub kind: String,
    /// The kind of its lists.
    pub list_kind: String,
    /// The name in URLs.
    pub plural: String,
    /// The name of one, lower case.
    pub singular: String,
    /// kubectl's abbreviations.
    pub short_names: Vec<String>,
    /// Groups such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// What may be done.
    pub verbs: &'static [&'static str],
    /// `status`, `scale`, and those only one kind has.
    pub subresources: Vec<String>,
    /// The version objects are stored in.
    pub storage_version: String,
    /// `metadata.generation` counts changes of the desired state.
    pub has_generation: bool,
    pub(crate) id: ResourceId,
    pub(crate) row: Option<&'static Row>,
    pub(crate) custom: Option<custom::Version>,
    schema: OnceLock<Option<Arc<schema::Schema>>>,
}

impl Resource {
    /// `group/version`, or `v1` in the core group.
    pub(crate) fn api_version(&self) -> String {
        join_version(&self.group, &self.version)
    }

    /// `deployments.apps`, `pods`: how error messages name the resource.
    pub(crate) fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Whether a subresource is served.
    pub(crate) fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|name| name == subresource)
    }

    /// The shape of its objects, compiled when it is first needed.
    pub(crate) fn schema(&self) -> Option<&schema::Schema> {
        let compile = || match &self.custom {
            Some(custom) => Some(Arc::clone(&custom.schema)),
            None => schema::builtin(&self.group, &self.version, &self.kind),
        };
        self.schema.get_or_init(compile).as_deref()
    }

    /// Whether objects are stored in another version than this row serves.
    pub(crate) fn is_converted(&self) -> bool {
        let elsewhere = |row: &Row| row.storage_group != row.group;
        self.version != self.storage_version || self.row.is_some_and(elsewhere)
    }

    /// What users of this version are to be warned with.
    pub(crate) fn deprecation(&self) -> Option<String> {
        let built_in = self.row.and_then(|row| row.deprecation);
        let custom = self.custom.as_ref().and_then(|c| c.deprecation.clone());
        built_in.map(str::to_owned).or(custom)
    }

    /// Whether it is the built-in resource `group/plural`.
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.row.is_some() && self.group == group && self.plural == plural
    }

    /// The key in the store.
    pub(crate) fn path(&self, namespace: &str, name: &str) -> String {
        if self.namespaced {
            format!("{namespace}/{name}")
        } else {
            name.to_owned()
        }
    }
}

/// `group/version`, or the version alone in the core group.
pub(crate) fn join_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// Group and version of an `apiVersion`.
pub(crate) fn split_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// All resources at one moment.
#[derive(Default, Debug)]
pub(crate) struct Table {
    by_url: HashMap<String, Arc<Resource>>,
    /// Groups in the order of discovery, each with its versions, the preferred first.
    pub(crate) groups: Vec<Group>,
}

/// One API group.
#[derive(Default, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) versions: Vec<Version>,
}

/// One version of a group.
#[derive(Default, Debug)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) resources: Vec<Arc<Resource>>,
}

impl Table {
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_url.get(&format!("{group}/{version}/{plural}"))
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    pub(crate) fn version(&self, group: &str, version: &str) -> Option<&Version> {
        self.group(group)?
            .versions
            .iter()
            .find(|v| v.name == version)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.groups
            .iter()
            .flat_map(|group| &group.versions)
            .flat_map(|version| &version.resources)
    }

    /// The resource of a kind, as owner references and scale targets name it.
    pub(crate) fn kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Resource>> {
        let (group, version) = split_version(api_version);
        self.version(group, version)?
            .resources
            .iter()
            .find(|resource| resource.kind == kind)
    }

    /// One row for everything that is stored, whatever versions are served.
    pub(crate) fn stored(&self) -> BTreeMap<ResourceId, Arc<Resource>> {
        let mut out = BTreeMap::new();
        for resource in self
            .all()
            .filter(|r| r.verbs.contains(&"delete") && !r.is_converted())
        {
            out.insert(resource.id, Arc::clone(resource));
        }
        // A resource whose storage version is not served is reached through a served one.
        for resource in self.all().filter(|r| r.verbs.contains(&"delete")) {
            out.entry(resource.id)
                .or_insert_with(|| Arc::clone(resource));
        }
        out
    }

    fn add(&mut self, resource: Arc<Resource>) {
        let Resource {
            group,
            version,
            plural,
            ..
        } = &*resource;
        self.by_url
            .insert(format!("{group}/{version}/{plural}"), Arc::clone(&resource));
        let index = self
            .groups
            .iter()
            .position(|g| g.name == *group)
            .unwrap_or_else(|| {
                self.groups.push(Group {
                    name: group.clone(),
                    versions: Vec::new(),
                });
                self.groups.len() - 1
            });
        let versions = &mut self.groups[index].versions;
        let index = versions
            .iter()
            .position(|v| v.name == *version)
            .unwrap_or_else(|| {
                versions.push(Version {
                    name: version.clone(),
                    resources: Vec::new(),
                });
                versions.len() - 1
            });
        versions[index].resources.push(resource);
    }

    fn sort_versions(&mut self) {
        for group in &mut self.groups {
            group
                .versions
                .sort_by_key(|version| std::cmp::Reverse(version_priority(&version.name)));
        }
    }
}

/// Kubernetes' order of versions: GA before beta before alpha, higher numbers first, anything else
/// last by name.
pub(crate) fn version_priority(version: &str) -> (u8, u32, u32, std::cmp::Reverse<String>) {
    let other = || (0, 0, 0, std::cmp::Reverse(version.to_owned()));
    let Some(rest) = version.strip_prefix('v') else {
        return other();
    };
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (major, stage) = rest.split_at(digits);
    let Ok(major) = major.parse() else {
        return other();
    };
    let last = std::cmp::Reverse(String::new());
    let minor = |text: &str| text.parse().ok();
    match stage.split_at_checked(4).map(|(s, _)| s) {
        _ if stage.is_empty() => (3, major, 0, last),
        Some("beta") => minor(&stage[4..]).map_or_else(other, |minor| (2, major, minor, last)),
        Some("alph") => minor(stage.trim_start_matches("alpha"))
            .map_or_else(other, |minor| (1, major, minor, last)),
        _ => other(),
    }
}

/// On a CustomResourceDefinition whose group is to come behind the others in discovery (`last`):
/// clients that know only a plural or short name take the first group that has it.
const DISCOVERY: &str = "rekindle.dev/discovery";

/// The group and the plural of a definition, by its name.
fn place(definition: &str) -> (String, String) {
    let (plural, group) = definition.split_once('.').unwrap_or((definition, ""));
    (group.to_owned(), plural.to_owned())
}

/// What a definition serves.
#[derive(Default)]
struct Defined {
    /// Its group comes behind those of which no definition says so.
    is_last: bool,
    resources: Vec<Arc<Resource>>,
}

/// By place: groups come by name, as Kubernetes has those of equal priority; see [`ordered`] for the
/// exception.
type Custom = BTreeMap<(String, String), Defined>;

/// The definitions in the order of discovery.
fn ordered(custom: &Custom) -> impl Iterator<Item = (&(String, String), &Defined)> {
    let last: BTreeSet<&str> = custom
        .iter()
        .filter(|(_, defined)| defined.is_last)
        .map(|((group, _), _)| group.as_str())
        .collect();
    let (behind, ahead): (Vec<_>, Vec<_>) = custom
        .iter()
        .partition(|((group, _), _)| last.contains(group.as_str()));
    ahead.into_iter().chain(behind)
}

/// The table that is in force, replaced as a whole when a CustomResourceDefinition changes.
pub(crate) struct Registry {
    table: RwLock<Arc<Table>>,
    custom: RwLock<Custom>,
    builtin: Vec<Arc<Resource>>,
}

impl Registry {
    pub(crate) fn new(store: &Store) -> Self {
        let builtin = builtin::ROWS
            .iter()
            .map(|row| Arc::new(row.resource(store)))
            .collect();
        let registry = Self {
            table: RwLock::default(),
            custom: RwLock::default(),
            builtin,
        };
        registry.rebuild();
        registry
    }

    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in the present state of a CustomResourceDefinition.
    pub(crate) fn define(&self, store: &Store, crd: &Value) {
        let name = crd["metadata"]["name"].as_str().unwrap_or_default();
        let resources = custom::resources(store, crd)
            .into_iter()
            .map(Arc::new)
            .collect();
        let is_last = crd["metadata"]["annotations"][DISCOVERY] == "last";
        let mut all = self.custom.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(place(name), Defined { is_last, resources });
        drop(all);
        self.rebuild();
    }

    /// Forgets a CustomResourceDefinition.
    pub(crate) fn undefine(&self, name: &str) {
        let mut all = self.custom.write().unwrap_or_else(PoisonError::into_inner);
        all.remove(&place(name));
        drop(all);
        self.rebuild();
    }

    fn rebuild(&self) {
        let mut table = Table::default();
        self.builtin
            .iter()
            .for_each(|resource| table.add(Arc::clone(resource)));
        let custom = self.custom.read().unwrap_or_else(PoisonError::into_inner);
        ordered(&custom)
            .flat_map(|(_, defined)| &defined.resources)
            .for_each(|resource| table.add(Arc::clone(resource)));
        drop(custom);
        table.sort_versions();
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}

#[cfg(test)]
mod tests {
    use super::{Custom, Defined, ordered, place, version_priority};

    #[test]
    fn groups_come_by_name_and_some_behind_all_others() {
        let define = |name: &str, is_last| {
            let resources = Vec::new();
            (place(name), Defined { is_last, resources })
        };
        let custom = Custom::from([
            define("brokers.eventing.knative.dev", false),
            define("channels.channels.knative.dev", true),
            define("channels.eventing.knative.dev", true),
            define("channels.messaging.knative.dev", false),
            define("sequences.flows.knative.dev", false),
        ]);
        let names: Vec<String> = ordered(&custom)
            .map(|((group, plural), _)| format!("{plural}.{group}"))
            .collect();
        let expected = [
            "sequences.flows",
            "channels.messaging",
            "channels.channels",
            "brokers.eventing",
            "channels.eventing",
        ];
        assert_eq!(names, expected.map(|name| format!("{name}.knative.dev")));
    }

    #[test]
    fn versions_are_ordered_as_kubernetes_orders_them() {
        let sorted = [
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
            "v11alpha2",
            "foo1",
            "foo10",
        ];
        let mut versions = sorted;
        versions.reverse();
        versions.sort_by_key(|version| std::cmp::Reverse(version_priority(version)));
        assert_eq!(versions, sorted);
    }
}
