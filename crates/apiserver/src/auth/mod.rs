//! Who asks, and whether they may: client certificates, bearer tokens, impersonation, RBAC.
//!
//! [`crate::rest`] calls [`authenticate`] and [`authorize`] for every request.

mod rbac;
pub(crate) mod token;

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::Value;

use crate::core::Core;
use crate::status::{Result, Status};

pub(crate) use rbac::{Cache, rules};

/// Members may do everything without being asked.
const MASTERS: &str = "system:masters";

/// An authenticated user.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// The user's UID, often empty.
    pub uid: String,
    /// The groups the user belongs to.
    pub groups: Vec<String>,
    /// What the authenticator knows beyond that.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user of the group that may do everything.
    pub fn admin(name: &str) -> Self {
        Self::new(name, &[MASTERS, "system:authenticated"])
    }

    /// A user in `groups`.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Somebody who showed no credentials.
    pub fn anonymous() -> Self {
        Self::new("system:anonymous", &["system:unauthenticated"])
    }

    fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// From this process, on behalf of this user.
    Local(User),
    /// Over the network; the user of the client certificate, if there was one.
    Remote(Option<User>),
}

/// What somebody wants to do, in RBAC's terms.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// Set instead of the resource for everything that is not an object.
    pub(crate) path: &'a str,
}

impl<'a> Attributes<'a> {
    /// A request for something that is not an object.
    pub(crate) fn path(path: &'a str, method: &str) -> Self {
        let verb = match method {
            "POST" => "post",
            "PUT" => "put",
            "PATCH" => "patch",
            "DELETE" => "delete",
            "HEAD" => "head",
            _ => "get",
        };
        Self {
            verb,
            path,
            ..Self::default()
        }
    }
}

/// The user behind a request.
///
/// # Errors
/// 401 for credentials that do not hold, 403 for impersonation that is not allowed.
pub(crate) fn authenticate(core: &Core, identity: &Identity, headers: &HeaderMap) -> Result<User> {
    let user = match identity {
        Identity::Local(user) => user.clone(),
        Identity::Remote(certificate) => match bearer(headers) {
            Some(token) => token::verify(core, token).map_err(|why| {
                tracing::debug!(why, "bearer token refused");
                Status::new(401, "Unauthorized", "Unauthorized")
            })?,
            None => certificate.clone().unwrap_or_else(User::anonymous),
        },
    };
    impersonate(core, user, headers)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// `kubectl --as` and `--as-group`.
fn impersonate(core: &Core, user: User, headers: &HeaderMap) -> Result<User> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(name) = text("impersonate-user") else {
        return Ok(user);
    };
    let may = |resource: &str, name: &str| {
        let of = Attributes {
            verb: "impersonate",
            resource,
            name,
            ..Attributes::default()
        };
        authorize(core, &user, &of)
    };
    let account = name
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, name)) => {
            let of = Attributes {
                verb: "impersonate",
                resource: "serviceaccounts",
                namespace,
                name,
                ..Attributes::default()
            };
            authorize(core, &user, &of)?;
        }
        None => may("users", name)?,
    }
    let groups = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|v| v.to_str().ok());
    let mut groups: Vec<String> = groups.map(str::to_owned).collect();
    for group in &groups {
        may("groups", group)?;
    }
    if let Some((namespace, _)) = account.filter(|_| groups.is_empty()) {
        groups = token::groups(namespace);
    }
    let authenticated = "system:authenticated".to_owned();
    if name != "system:anonymous" && !groups.contains(&authenticated) {
        groups.push(authenticated);
    }
    let uid = text("impersonate-uid").unwrap_or_default().to_owned();
    Ok(User {
        name: name.to_owned(),
        uid,
        groups,
        extra: BTreeMap::new(),
    })
}

/// Lets a request pass or words the refusal.
pub(crate) fn authorize(core: &Core, user: &User, of: &Attributes<'_>) -> Result<()> {
    if allowed(core, user, of).is_some() {
        return Ok(());
    }
    let name = &user.name;
    if !of.path.is_empty() {
        let message = format!(
            "forbidden: User \"{name}\" cannot {} path \"{}\"",
            of.verb, of.path
        );
        let mut status = Status::new(403, "Forbidden", message);
        status.details = Some(Value::Object(serde_json::Map::new()));
        return Err(status);
    }
    let resource = match of.subresource {
        "" => of.resource.to_owned(),
        subresource => format!("{}/{subresource}", of.resource),
    };
    let scope = match of.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let qualified = match of.group {
        "" => of.resource.to_owned(),
        group => format!("{}.{group}", of.resource),
    };
    let subject = match of.name {
        "" => qualified,
        object => format!("{qualified} \"{object}\""),
    };
    let message = format!(
        "{subject} is forbidden: User \"{name}\" cannot {} resource \"{resource}\" in API group \
         \"{}\" {scope}",
        of.verb, of.group
    );
    let mut details = serde_json::json!({"kind": of.resource});
    for (key, value) in [("name", of.name), ("group", of.group)] {
        if !value.is_empty() {
            details[key] = value.into();
        }
    }
    let mut status = Status::new(403, "Forbidden", message);
    status.details = Some(details);
    Err(status)
}

/// Why a user may do something; `None` when nothing allows it.
pub(crate) fn allowed(core: &Core, user: &User, of: &Attributes<'_>) -> Option<String> {
    if user.is_master() {
        return Some(String::new());
    }
    rbac::allowed(core, user, of)
}
