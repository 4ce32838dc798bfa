//! Writing: create, modify, delete. One path for every kind; what differs per kind is in
//! [`crate::kinds`], what differs per resource in its row.
//!
//! Called by the REST handlers and by the components inside this crate (garbage collection,
//! namespaces, bootstrap).

mod admit;
mod body;
mod create;
mod delete;
mod modify;
mod status_scale;

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

pub(crate) use body::{check_identity, name_or_generate, random_suffix};
pub(crate) use create::{create, create_named};
pub(crate) use delete::{DeleteOptions, Deleted, FOREGROUND, ORPHAN, delete};
pub(crate) use modify::modify;
pub(crate) use status_scale::{read_scale, scale_of, set_replicas};

use crate::auth::User;
use crate::core::Core;
use crate::resource::Resource;
use crate::status::{Result, Status};
use crate::store::Entry;

/// What to do about unknown and duplicate fields of a request body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// A request to write, however it came in.
pub(crate) struct Call<'a> {
    pub(crate) core: &'a Arc<Core>,
    pub(crate) resource: &'a Arc<Resource>,
    pub(crate) namespace: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) user: &'a User,
    pub(crate) dry_run: bool,
    pub(crate) field_validation: FieldValidation,
    pub(crate) field_manager: &'a str,
    /// The request comes from this process.
    pub(crate) local: bool,
    /// The object is the outcome of a server-side apply, field owners included.
    pub(crate) applied: bool,
    pub(crate) warnings: Mutex<Vec<String>>,
}

impl<'a> Call<'a> {
    /// A write this crate makes on its own behalf.
    pub(crate) fn internal(
        core: &'a Arc<Core>,
        resource: &'a Arc<Resource>,
        namespace: &'a str,
        user: &'a User,
    ) -> Self {
        Self {
            core,
            resource,
            namespace,
            subresource: "",
            user,
            dry_run: false,
            field_validation: FieldValidation::Ignore,
            field_manager: "rekindle",
            local: true,
            applied: false,
            warnings: Mutex::default(),
        }
    }

    /// Adds a `Warning` header to the answer.
    pub(crate) fn warn(&self, warning: impl Into<String>) {
        let warning = warning.into();
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// Waits for the disk where the durability asked for demands it.
    async fn acknowledge(&self, entry: Arc<Entry>) -> Result<Stored> {
        // A status can be observed again, so it need not wait.
        if self.subresource != "status" {
            let acknowledged = self.core.store.acknowledged(entry.revision).await;
            acknowledged.map_err(Status::internal)?;
        }
        Ok(Stored::Entry(entry))
    }
}

/// An object as the answer of a write.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    /// It is stored.
    Entry(Arc<Entry>),
    /// It is what would be stored (dry run), in the request's version.
    Value(Value),
}
