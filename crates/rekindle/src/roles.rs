//! Which parts of the product a process of `rekindle up` runs. Read by `wire`; the controllers
//! alone, in a process of their own, are `controllers`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// One part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Role {
    /// The Kubernetes API over its store.
    Api,
    /// Runs Pods.
    Node,
    /// Forwards requests; plans what it must know itself.
    Gateway,
    /// All other plans and the autoscaler.
    Controller,
}

const NAMES: [(&str, Role); 4] = [
    ("api", Role::Api),
    ("node", Role::Node),
    ("gateway", Role::Gateway),
    ("controller", Role::Controller),
];

/// A set of parts that can work together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Roles(BTreeSet<Role>);

impl Roles {
    /// Every part.
    pub(crate) fn all() -> Self {
        Self(NAMES.iter().map(|(_, role)| *role).collect())
    }

    /// The set of a process of controllers that others share an API with.
    pub(crate) fn controllers() -> Self {
        Self(BTreeSet::from([Role::Controller]))
    }

    /// Whether the part is among them.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }
}

/// Why a set of parts is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Error {
    /// No part has this name.
    Unknown(String),
    /// The parts need the API in their process.
    NoApi,
    /// The gateway needs the node in its process.
    NoNode,
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                write!(
                    f,
                    "no part is called {name:?}; there are {}",
                    names.join(", ")
                )
            }
            Self::NoApi => f.write_str(
                "api is missing, and the other parts of a process work on its API; \
                 the controllers alone are `rekindle controller --kubeconfig FILE`",
            ),
            Self::NoNode => f.write_str(
                "gateway needs node: it reaches Pods through sockets in their networks, \
                 which the node of the same process opens",
            ),
        }
    }
}

impl FromStr for Roles {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let names = text.split(',').map(str::trim);
        let roles = names.map(|name| {
            let found = NAMES.iter().find(|(known, _)| *known == name);
            found
                .map(|(_, role)| *role)
                .ok_or_else(|| Error::Unknown(name.to_owned()))
        });
        let roles = Self(roles.collect::<Result<_, _>>()?);
        if !roles.has(Role::Api) {
            return Err(Error::NoApi);
        }
        if roles.has(Role::Gateway) && !roles.has(Role::Node) {
            return Err(Error::NoNode);
        }
        Ok(roles)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.iter().filter(|(_, role)| self.has(*role));
        let names: Vec<&str> = names.map(|(name, _)| *name).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_that_make_sense() {
        let check = |text: &str, expected: &str| {
            let parsed = text.parse::<Roles>().map(|roles| roles.to_string());
            assert_eq!(parsed.as_deref(), Ok(expected), "{text}");
        };
        check("api", "api");
        check("gateway, node,api", "api,node,gateway");
        check("api,controller,api", "api,controller");
        check(&Roles::all().to_string(), "api,node,gateway,controller");
    }

    #[test]
    fn sets_that_make_none() {
        let check = |text: &str, expected: Error| {
            assert_eq!(text.parse::<Roles>(), Err(expected), "{text}");
        };
        check("api,broom", Error::Unknown("broom".to_owned()));
        check("", Error::Unknown(String::new()));
        check("node,gateway", Error::NoApi);
        check("controller", Error::NoApi);
        check("api,gateway", Error::NoNode);
    }
}
