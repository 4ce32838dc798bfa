//! Creating an object.

use serde_json::Value;

use super::{Call, Stored, admit, check_identity, name_or_generate};
use crate::core::store_status;
use crate::hooks::Operation;
use crate::resource::Resource;
use crate::status::{Result, Status};
use crate::store::{Error, Expect};
use crate::{after, apply, kinds, meta, quota};

/// With `generateName`, another name is drawn so often before the collision is reported.
const GENERATE_ATTEMPTS: usize = 8;

/// Creates the object of a request's body.
pub(crate) async fn create(call: &Call<'_>, object: Value) -> Result<Stored> {
    let generated = object["metadata"]["name"]
        .as_str()
        .is_none_or(str::is_empty)
        && object["metadata"]["generateName"].is_string();
    for _ in 1..GENERATE_ATTEMPTS {
        match create_once(call, object.clone()).await {
            Err(status) if generated && status.reason == "AlreadyExists" => {}
            result => return result,
        }
    }
    create_once(call, object).await
}

/// Creates an object under a name the URL gives (an apply of something new).
pub(crate) async fn create_named(call: &Call<'_>, name: &str, mut object: Value) -> Result<Stored> {
    let metadata = meta::of(&mut object);
    metadata.insert("name".into(), name.into());
    create_once(call, object).await
}

async fn create_once(call: &Call<'_>, mut object: Value) -> Result<Stored> {
    let Call { core, resource, .. } = call;
    check_identity(resource, call.namespace, &mut object)?;
    check_creatable(resource, &object)?;
    let name = name_or_generate(&mut object);
    check_namespace(call, &name)?;
    prepare(resource, &mut object);
    let settle = |object: &mut Value| settle(call, object);
    settle(&mut object)?;
    let object = admit::admit(call, Operation::Create, object, &Value::Null, &settle).await?;
    let mut object = kinds::finish(resource, object, None);
    kinds::validate(call, &name, &object, None)?;
    quota::check_limits(call, &name, &object)?;
    admit::validate(call, Operation::Create, &object, &Value::Null).await?;
    let path = resource.path(call.namespace, &name);
    if core.store.get(resource.id, &path).is_some() {
        return Err(Status::already_exists(resource, &name));
    }
    let _counted = quota::check(call, &name, &object, &Value::Null).await?;
    if call.dry_run {
        return Ok(Stored::Value(object));
    }
    core.addresses
        .allocate(resource, &name, &mut object, None)?;
    apply::track(call, None, &mut object);
    let mut object = core.to_storage(resource, object).await?;
    let meta = meta::for_store(&object);
    let encode = |revision| meta::encode(&mut object, revision);
    let entry = match core
        .store
        .put((resource.id, &path), Expect::Absent, meta, encode)
    {
        Ok(entry) => entry,
        Err(error) => {
            core.addresses.release(resource, &object);
            return Err(match error {
                Error::Conflict { .. } => Status::already_exists(resource, &name),
                other => store_status(resource, &name, &other),
            });
        }
    };
    after::written(core, resource, &object).await;
    call.acknowledge(entry).await
}

fn check_creatable(resource: &Resource, object: &Value) -> Result<()> {
    if object["metadata"]["resourceVersion"]
        .as_str()
        .is_some_and(|rv| !rv.is_empty())
    {
        let why = "resourceVersion should not be set on objects to be created";
        return Err(Status::bad_request(why));
    }
    if resource
        .custom
        .as_ref()
        .is_some_and(|custom| custom.terminating)
    {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Status::new(405, "MethodNotAllowed", why));
    }
    Ok(())
}

/// New content needs a namespace that exists and is not going away.
fn check_namespace(call: &Call<'_>, name: &str) -> Result<()> {
    let Call {
        core,
        resource,
        namespace,
        ..
    } = call;
    if !resource.namespaced {
        return Ok(());
    }
    if namespace.is_empty() {
        return Err(Status::bad_request(
            "an empty namespace may not be set during creation",
        ));
    }
    let namespaces = core.builtin("", "namespaces");
    let found = core.entry(&namespaces, "", namespace)?;
    let found: Value = crate::core::decode_stored(&found)?;
    if found["metadata"]["deletionTimestamp"].is_string() {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let message = format!("namespace {namespace} is being terminated");
        return Err(Status::forbidden(resource, name, &why).with_cause(
            "NamespaceTerminating",
            &message,
            "metadata.namespace",
        ));
    }
    Ok(())
}

/// Fills in what a new object leaves out; its status is not for those who create it.
fn settle(call: &Call<'_>, object: &mut Value) -> Result<()> {
    let has_status = call.resource.has("status");
    if let Some(fields) = object.as_object_mut().filter(|_| has_status) {
        fields.remove("status");
    }
    kinds::default(call.resource, object);
    kinds::prepare_create(call, object)?;
    quota::give_defaults(call, object);
    Ok(())
}

/// Sets what the server alone decides about a new object.
fn prepare(resource: &Resource, object: &mut Value) {
    let metadata = meta::of(object);
    for key in [
        "selfLink",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        metadata.remove(key);
    }
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), meta::now().into());
    metadata.remove("generation");
    if resource.has_generation {
        metadata.insert("generation".into(), 1.into());
    }
}
