//! The manifests of `examples/corpus`, one of every kind and year: each is admitted or refused as
//! the index says, and becomes one of today. What `rekindle migrate` makes of them is in `golden`;
//! `UPDATE_EXPECT=1` writes it.

#![allow(clippy::unwrap_used)] // Helpers of tests fail by panicking.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use api::admission::{self, Operation, Review};
use api::config::Configs;
use api::object::ObjectExt;
use history::migrate::Catalog;
use serde_json::Value;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/corpus")
}

/// File → what it must do.
fn index() -> BTreeMap<String, Value> {
    let text = fs::read_to_string(corpus().join("index.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn is(entry: &Value, word: &str) -> bool {
    *entry == word || entry[word] == true
}

fn read(file: &str) -> String {
    fs::read_to_string(corpus().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn objects(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let objects = documents.into_iter();
    objects.filter(|document| document.is_object()).collect()
}

/// Whether a definition has this version of this kind.
fn is_served(object: &Value) -> bool {
    let (group, version) = object.api_version().split_once('/').unwrap_or_default();
    static CRDS: LazyLock<Vec<Value>> = LazyLock::new(api::crds);
    CRDS.iter().any(|crd| {
        let spec = &crd["spec"];
        let mut versions = spec["versions"].as_array().into_iter().flatten();
        spec["group"] == group
            && spec["names"]["kind"] == object.kind()
            && versions.any(|served| served["name"] == version)
    })
}

fn is_of_knative(object: &Value) -> bool {
    let group = object.api_version().split('/').next().unwrap_or_default();
    group.ends_with("knative.dev") && object.api_version().contains('/')
}

/// What the API server answers: the object as it would be stored.
fn admit(object: &Value) -> Result<Value, String> {
    let mut object = object.clone();
    if object.namespace().is_empty() {
        object["metadata"]["namespace"] = "default".into();
    }
    if is_of_knative(&object) && !is_served(&object) {
        return Err(format!(
            "no matches for kind {:?} in version {:?}",
            object.kind(),
            object.api_version()
        ));
    }
    if let Some(stored) = api::convert::stored(object.api_version(), object.kind()) {
        object = api::convert(object, &stored)?;
    }
    let review = Review {
        operation: Operation::Create,
        object: &object,
        old: None,
        user: "someone",
    };
    let admitted = admission::review(&review, &Configs::default());
    admitted
        .map(|admitted| admitted.object)
        .map_err(|denied| denied.text())
}

#[test]
fn the_index_has_every_file() {
    let mut files = BTreeSet::new();
    for folder in fs::read_dir(corpus()).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        for file in fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            let path = path.strip_prefix(corpus()).unwrap();
            files.insert(path.display().to_string());
        }
    }
    let listed: BTreeSet<String> = index().into_keys().collect();
    assert_eq!(files, listed);
}

#[test]
fn each_is_admitted_or_refused_as_the_index_says() {
    let (mut applied, mut refused) = (0, 0);
    for (file, entry) in index() {
        let answers: Vec<_> = objects(&read(&file)).iter().map(admit).collect();
        if is(&entry, "applies") {
            for answer in &answers {
                assert!(answer.is_ok(), "{file}: {answer:?}");
            }
            applied += 1;
        } else if let Some(why) = entry["refused"].as_str() {
            let mut errors = answers.iter().filter_map(|answer| answer.as_ref().err());
            let told = errors.any(|error| error.contains(why));
            assert!(told, "{file}: {answers:#?}");
            refused += 1;
        } else {
            assert!(is(&entry, "migrates"), "{file}: {entry}");
        }
    }
    assert!(applied > 60 && refused > 10, "{applied} and {refused}");
}

/// The namespaces, names and labels of what there is.
fn names(objects: &[Value]) -> BTreeSet<(String, String)> {
    let name = |object: &Value| (object.namespace().to_owned(), object.name().to_owned());
    objects.iter().map(name).collect()
}

#[test]
fn each_becomes_one_of_today() {
    let index = index();
    for (file, entry) in &index {
        // What a kind means may be said in another file of its folder.
        let folder = file.split('/').next().unwrap();
        let mut catalog = Catalog::default();
        for other in index.keys().filter(|other| other.starts_with(folder)) {
            catalog.add(&read(other)).unwrap();
        }
        let text = read(file);
        let migrated = catalog.migrate(&text).unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("golden")
            .join(file);
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        expect_test::expect_file![golden].assert_eq(&migrated.text);

        let new = objects(&migrated.text);
        let old = names(&objects(&text));
        for object in &new {
            let own = names(std::slice::from_ref(object));
            let is_new = ["Build", "Subscription", "Channel"].contains(&object.kind());
            assert!(is_new || own.is_subset(&old), "{file}: {own:?}");
        }
        if !entry["refused"].is_null() {
            continue;
        }
        let expected = entry["without"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(
            migrated.refused.len(),
            expected.len(),
            "{file}: {:?}",
            migrated.refused
        );
        for word in expected {
            let word = word.as_str().unwrap();
            let mut all = migrated.refused.iter();
            assert!(all.any(|why| why.contains(word)), "{file}: {word}");
        }
        // Builds and what comes with extensions is not of today, and not ours to judge.
        let judged = new.iter().filter(|object| {
            is_of_knative(object)
                && !object.api_version().starts_with("build.")
                && object.kind() != "KafkaChannel"
        });
        for object in judged {
            let admitted = admit(object).unwrap_or_else(|why| panic!("{file}: {why}"));
            let stored = admitted.api_version();
            assert_eq!(object.api_version(), stored, "{file}: {object}");
        }
        // What is of today needs no change.
        let mut again = Catalog::default();
        again.add(&migrated.text).unwrap();
        let twice = again.migrate(&migrated.text).unwrap();
        assert_eq!((twice.changed, &twice.text), (0, &migrated.text), "{file}");
    }
}
