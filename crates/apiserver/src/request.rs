//! What a request asks for: path, query and the negotiated form of the answer.

use std::sync::Arc;

use http::header::ACCEPT;
use http::{HeaderMap, Method};

use crate::resource::{Resource, Table};
use crate::status::{Result, Status};

/// The object or collection a path names.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) resource: Arc<Resource>,
    pub(crate) namespace: String,
    /// Empty for a collection.
    pub(crate) name: String,
    /// Empty for the object itself.
    pub(crate) subresource: String,
}

impl Target {
    /// Reads a path below `/api/v1` or `/apis/GROUP/VERSION`; `None` when nothing is served there.
    pub(crate) fn parse(table: &Table, path: &str) -> Option<Self> {
        let mut segments = path
            .split('/')
            .filter(|s| !s.is_empty())
            .map(percent_decode);
        let (group, version) = match &*segments.next()? {
            "api" => (String::new(), segments.next()?),
            "apis" => (segments.next()?, segments.next()?),
            _ => return None,
        };
        let mut rest: Vec<String> = segments.collect();
        if rest.first().is_some_and(|first| first == "watch") {
            rest.remove(0);
        }
        let in_namespace = rest.len() >= 3
            && rest[0] == "namespaces"
            && !(rest.len() == 3 && matches!(&*rest[2], "status" | "finalize"));
        let namespace = if in_namespace {
            rest.drain(..2).nth(1)?
        } else {
            String::new()
        };
        let mut rest = rest.into_iter();
        let resource = Arc::clone(table.find(&group, &version, &rest.next()?)?);
        if in_namespace && !resource.namespaced {
            return None;
        }
        let name = rest.next().unwrap_or_default();
        let subresource = rest.next().unwrap_or_default();
        Some(Self {
            resource,
            namespace,
            name,
            subresource,
        })
    }

    /// The verb RBAC and error messages know the request by.
    pub(crate) fn verb(&self, method: &Method, query: &Query) -> &'static str {
        match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if self.name.is_empty() => "deletecollection",
            Method::DELETE => "delete",
            _ if query.flag("watch") && self.subresource.is_empty() => "watch",
            _ if self.name.is_empty() => "list",
            _ => "get",
        }
    }
}

/// The decoded query parameters.
#[derive(Clone, Default, Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        let decode = |text: &str| percent_decode(&text.replace('+', " "));
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(
            pairs
                .map(|(key, value)| (decode(key), decode(value)))
                .collect(),
        )
    }

    /// The first value of a parameter, empty when it is absent.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.first(key).unwrap_or_default()
    }

    fn first(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| &**value)
    }

    /// Every value of a parameter.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, value)| &**value)
    }

    /// All parameters.
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// A boolean parameter, as Kubernetes reads them.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.all(key)
            .next()
            .is_some_and(|value| !matches!(value, "0" | "false" | "False"))
    }

    /// A number, if there is one.
    ///
    /// # Errors
    /// 400 in the words of Go's parser when it is none.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>> {
        let text = self.get(key);
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| {
            Status::bad_request(format!(
                "strconv.ParseInt: parsing \"{text}\": invalid syntax"
            ))
        })
    }

    /// Whether nothing may be stored.
    pub(crate) fn dry_run(&self) -> Result<bool> {
        match self.all("dryRun").find(|value| *value != "All") {
            None => Ok(self.all("dryRun").next().is_some()),
            Some("") => Ok(false),
            Some(other) => Err(Status::bad_request(format!(
                "invalid dryRun parameter: \"{other}\", supported values: \"All\""
            ))),
        }
    }
}

/// The form of an answer that contains objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Form {
    /// The objects themselves.
    #[default]
    Plain,
    /// Rows for people.
    Table,
    /// Metadata alone.
    Partial,
}

/// What the `Accept` header wants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Accept {
    pub(crate) form: Form,
    pub(crate) yaml: bool,
    /// `v` of `g=apidiscovery.k8s.io`, when aggregated discovery is accepted.
    pub(crate) discovery: Option<String>,
}

impl Accept {
    /// Takes the first media type that can be served.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self> {
        let header = headers
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("*/*");
        let found = header.split(',').find_map(Self::media_type);
        if header.trim().is_empty() {
            return Ok(Self::default());
        }
        found.ok_or_else(Status::not_acceptable)
    }

    fn media_type(media_type: &str) -> Option<Self> {
        let mut parts = media_type.split(';').map(str::trim);
        let mut accept = Self::default();
        match parts.next()? {
            "application/json" | "*/*" | "application/*" => {}
            "application/yaml" => accept.yaml = true,
            _ => return None,
        }
        let (mut kind, mut group, mut version) = ("", "", "");
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key {
                "as" => kind = value,
                "g" => group = value,
                "v" => version = value,
                _ => {}
            }
        }
        match (kind, group, version) {
            ("", ..) => {}
            ("Table", "meta.k8s.io", "v1" | "v1beta1") => accept.form = Form::Table,
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", _) => {
                accept.form = Form::Partial;
            }
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2" | "v2beta1") => {
                accept.discovery = Some(version.to_owned());
            }
            _ => return None,
        }
        Some(accept)
    }
}

fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let escaped = (byte == b'%').then(|| {
            let digits = bytes.clone().take(2).collect::<Vec<_>>();
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
        });
        match escaped.flatten() {
            Some(decoded) => {
                out.push(decoded);
                bytes.nth(1);
            }
            None => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse(Some(
            "labelSelector=a%3Db%2Cc&x=a+b&watch=1&command=ls&command=-l",
        ));
        assert_eq!(query.get("labelSelector"), "a=b,c");
        assert_eq!(query.get("x"), "a b");
        assert!(query.flag("watch") && !query.flag("follow"));
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["ls", "-l"]);
    }

    #[test]
    fn the_first_media_type_we_serve_is_taken() {
        let check = |header: &str, expected: Option<Form>| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, header.parse().unwrap());
            assert_eq!(
                Accept::parse(&headers).ok().map(|a| a.form),
                expected,
                "{header}"
            );
        };
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        check(table, Some(Form::Table));
        check(
            "application/vnd.kubernetes.protobuf, */*",
            Some(Form::Plain),
        );
        check("application/vnd.kubernetes.protobuf", None);
        check(
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            Some(Form::Partial),
        );
    }
}
