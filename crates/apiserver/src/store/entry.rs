//! One stored object: its encoded bytes and the little metadata the store itself needs.
//!
//! Made by [`super::Store`]; read by everything above it. Nothing here understands JSON.

use std::sync::Arc;

use bytes::Bytes;
use stdx::Packed;

/// The store's short number for a resource such as `apps/deployments`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceId(pub(super) u32);

/// What the caller tells the store about an object besides its bytes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Meta {
    /// `metadata.uid` as a number; 0 when there is none.
    pub uid: u128,
    /// The UIDs of `metadata.ownerReferences`.
    pub owners: Box<[u128]>,
}

/// An object as stored. Immutable; a change makes a new entry.
#[derive(Debug)]
pub struct Entry {
    /// The resource it belongs to.
    pub resource: ResourceId,
    /// `namespace/name`, or `name` for a cluster-scoped object.
    pub path: Arc<str>,
    /// The revision of its last change.
    pub revision: u64,
    /// UID and owners.
    pub meta: Meta,
    /// The encoded object.
    pub(super) body: Body,
}

/// An encoded object.
#[derive(Debug)]
pub(super) enum Body {
    Plain(Bytes),
    /// As it is kept once it is not new any more.
    Packed(Packed),
}

impl Body {
    pub(super) fn bytes(&self) -> Bytes {
        match self {
            Self::Plain(bytes) => bytes.clone(),
            Self::Packed(packed) => packed.bytes().into(),
        }
    }
}

impl Entry {
    /// The encoded object.
    pub fn bytes(&self) -> Bytes {
        self.body.bytes()
    }

    /// The length of [`Entry::bytes`].
    pub fn len(&self) -> usize {
        match &self.body {
            Body::Plain(bytes) => bytes.len(),
            Body::Packed(packed) => packed.len(),
        }
    }

    /// Whether it has no bytes: no object that is stored is like that.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same object with another revision, which `bytes` state.
    pub fn restamped(&self, revision: u64, bytes: Bytes) -> Self {
        Self {
            resource: self.resource,
            path: Arc::clone(&self.path),
            revision,
            meta: self.meta.clone(),
            body: Body::Plain(bytes),
        }
    }

    /// The namespace part of the path, empty for a cluster-scoped object.
    pub fn namespace(&self) -> &str {
        self.path
            .split_once('/')
            .map_or("", |(namespace, _)| namespace)
    }

    /// The name part of the path.
    pub fn name(&self) -> &str {
        self.path
            .split_once('/')
            .map_or(&self.path, |(_, name)| name)
    }
}

/// What happened to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It did not exist before.
    Added,
    /// It existed and has a new content.
    Modified,
    /// It is gone; the event's entry is its last state under the revision of the deletion.
    Deleted,
}

/// One change, as watchers receive it. Revisions of successive events only grow.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// The object after the change (before it, for a deletion).
    pub entry: Arc<Entry>,
    /// The object before the change.
    pub previous: Option<Arc<Entry>>,
}
