//! `kube::Client` over the in-process service: no listener, no TLS.

use std::collections::BTreeMap;

use apiserver::{ApiServer, Config, User};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use serde_json::json;

#[allow(clippy::unwrap_used)]
async fn server() -> (tempfile::TempDir, ApiServer) {
    let dir = tempfile::tempdir().unwrap();
    let server = ApiServer::open(Config::new(dir.path())).await.unwrap();
    (dir, server)
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.to_owned());
    object.data = Some(BTreeMap::from([("key".to_owned(), value.to_owned())]));
    object
}

#[tokio::test]
async fn list_create_watch_patch_delete() {
    let (_dir, server) = server().await;
    let client = kube::Client::new(server.service(), "default");
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let before = maps.list(&ListParams::default()).await.unwrap();
    let revision = before.metadata.resource_version.unwrap();
    let mut watch = maps
        .watch(&WatchParams::default(), &revision)
        .await
        .unwrap()
        .boxed();

    let created = maps
        .create(&PostParams::default(), &config_map("a", "1"))
        .await
        .unwrap();
    assert!(created.metadata.uid.is_some());
    let patch = Patch::Merge(json!({"data": {"key": "2"}}));
    maps.patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let patch = Patch::Strategic(json!({"metadata": {"labels": {"x": "y"}}}));
    maps.patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let patch =
        Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"other": "3"}}));
    let applied = maps
        .patch("a", &PatchParams::apply("test"), &patch)
        .await
        .unwrap();
    assert_eq!(applied.data.unwrap().len(), 2);
    maps.delete("a", &DeleteParams::default()).await.unwrap();

    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen.push(match watch.next().await.unwrap().unwrap() {
            WatchEvent::Added(_) => "added",
            WatchEvent::Modified(_) => "modified",
            WatchEvent::Deleted(_) => "deleted",
            _ => "other",
        });
    }
    assert_eq!(
        seen,
        ["added", "modified", "modified", "modified", "deleted"]
    );
}

#[tokio::test]
async fn a_stale_update_conflicts() {
    let (_dir, server) = server().await;
    let maps: Api<ConfigMap> =
        Api::default_namespaced(kube::Client::new(server.service(), "default"));
    let first = maps
        .create(&PostParams::default(), &config_map("a", "1"))
        .await
        .unwrap();
    let mut second = first.clone();
    second.data = None;
    maps.replace("a", &PostParams::default(), &second)
        .await
        .unwrap();
    let mut stale = first;
    stale.data = Some(BTreeMap::new());
    let error = maps
        .replace("a", &PostParams::default(), &stale)
        .await
        .unwrap_err();
    let kube::Error::Api(status) = error else {
        panic!("{error}")
    };
    assert_eq!(status.code, 409);
    assert_eq!(
        status.message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please \
         apply your changes to the latest version and try again"
    );
}

#[tokio::test]
async fn everything_survives_reopening() {
    let (dir, server) = server().await;
    let maps: Api<ConfigMap> =
        Api::default_namespaced(kube::Client::new(server.service(), "default"));
    let created = maps
        .create(&PostParams::default(), &config_map("kept", "1"))
        .await
        .unwrap();
    drop((maps, server));
    // The in-process client's worker and the janitor let go of the store when they are next run.
    let server = loop {
        match ApiServer::open(Config::new(dir.path())).await {
            Ok(server) => break server,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let maps: Api<ConfigMap> =
        Api::default_namespaced(kube::Client::new(server.service(), "default"));
    assert_eq!(maps.get("kept").await.unwrap().metadata, created.metadata);
}

#[tokio::test]
async fn a_user_without_roles_may_read_nothing() {
    let (_dir, server) = server().await;
    let user = User::new("jane", &["system:authenticated"]);
    let client = kube::Client::new(server.service_as(user), "default");
    let error = Api::<Namespace>::all(client)
        .list(&ListParams::default())
        .await
        .unwrap_err();
    let kube::Error::Api(status) = error else {
        panic!("{error}")
    };
    assert_eq!(
        status.message,
        "namespaces is forbidden: User \"jane\" cannot list resource \"namespaces\" in API group \
         \"\" at the cluster scope"
    );
}
