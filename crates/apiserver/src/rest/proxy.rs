//! The subresource `proxy` of Pods, Services and nodes: a request is passed on to what listens
//! there, and its answer back. Connections that are upgraded (WebSocket) are joined.
//!
//! `[SCHEME:]NAME[:PORT]` names the listener, as in Kubernetes; the certificates of `https` are not
//! checked, as there. Rights are checked before. Bodies of requests are whole before they are
//! passed on, and bounded like every other's; answers are passed on as they come.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, LOCATION, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyDataStream, Full};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rand::seq::IteratorRandom;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{Body, Reply};
use crate::core::{Core, decode_stored};
use crate::hooks::Duplex;
use crate::kinds::{items, text};
use crate::request::Target;
use crate::status::{Result, Status};
use crate::tls;

/// How long a connection may take to be there.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// Where a kubelet listens, which is who is meant by a node without a port.
const KUBELET_PORT: &str = "10250";
/// Headers that are about one connection only.
const OF_CONNECTION: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Who listens.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    is_tls: bool,
    /// Address and port.
    address: String,
}

/// `[SCHEME:]NAME[:PORT]`, taken apart.
struct Asked<'a> {
    is_tls: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Asked<'a> {
    fn parse(id: &'a str) -> Option<Self> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => return None,
        };
        let is_valid = matches!(scheme, "" | "http" | "https") && !name.is_empty();
        is_valid.then_some(Self {
            is_tls: scheme == "https",
            name,
            port,
        })
    }

    fn at(&self, host: &str, port: &str) -> Place {
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        let usual = if self.is_tls { "443" } else { "80" };
        let port = if port.is_empty() { usual } else { port };
        Place {
            is_tls: self.is_tls,
            address: format!("{host}:{port}"),
        }
    }
}

/// Passes the request on.
pub(super) async fn answer(
    core: &Core,
    target: &Target,
    parts: &mut Parts,
    body: Bytes,
) -> Result<Reply> {
    let Some(path) = path_behind(parts.uri.path(), target.resource.namespaced) else {
        return Ok(with_slash(parts));
    };
    let kind = target.resource.kind.to_lowercase();
    let asked = Asked::parse(&target.name)
        .ok_or_else(|| Status::bad_request(format!("invalid {kind} request {:?}", target.name)))?;
    let object = core.entry(&target.resource, &target.namespace, asked.name)?;
    let object = decode_stored(&object)?;
    let place = match &*target.resource.plural {
        "pods" => of_pod(&asked, &object)?,
        "services" => of_service(core, target, &asked, &object)?,
        _ if matches!(asked.port, "" | KUBELET_PORT) => return kubelet(core, &asked, path),
        _ => of_node(&asked, &object)?,
    };
    let upgrade = match parts.headers.contains_key(UPGRADE) {
        true => parts.extensions.remove::<OnUpgrade>(),
        false => None,
    };
    let request = outgoing(parts, &place, path, body, upgrade.is_some())?;
    let response = exchange(&place, request).await.map_err(|why| {
        Status::service_unavailable(&format!("error trying to reach service: {why}"))
    })?;
    Ok(reply(response, upgrade))
}

/// What is behind `/proxy/`, as it was written; `None` where even the slash is missing.
fn path_behind(path: &str, is_namespaced: bool) -> Option<&str> {
    // An empty one before the first slash, `api`, `v1`, …, `proxy`.
    let before = if is_namespaced { 8 } else { 6 };
    path.splitn(before + 1, '/').nth(before)
}

/// Relative links are only right below a slash.
fn with_slash(parts: &Parts) -> Reply {
    let query = parts.uri.query().map(|query| format!("?{query}"));
    let location = format!("{}/{}", parts.uri.path(), query.unwrap_or_default());
    Reply::new(301, "", Body::empty()).with_header(LOCATION, location)
}

fn of_pod(asked: &Asked<'_>, pod: &Value) -> Result<Place> {
    let ip = text(&pod["status"]["podIP"]);
    if ip.is_empty() {
        return Err(Status::bad_request("address not allowed"));
    }
    let ports = items(&pod["spec"]["containers"])
        .iter()
        .flat_map(|container| items(&container["ports"]).first());
    let first = ports
        .filter_map(|port| port["containerPort"].as_u64())
        .next();
    let first = first.map(|port| port.to_string()).unwrap_or_default();
    let port = if asked.port.is_empty() {
        &*first
    } else {
        asked.port
    };
    Ok(asked.at(ip, port))
}

fn of_service(core: &Core, target: &Target, asked: &Asked<'_>, service: &Value) -> Result<Place> {
    let name = asked.name;
    let port = match asked.port.parse::<u64>() {
        Err(_) => asked.port,
        Ok(number) => {
            let mut ports = items(&service["spec"]["ports"]).iter();
            let port = ports.find(|port| port["port"] == number);
            let port = port.ok_or_else(|| {
                let why = format!("no service port {number} found for service {name:?}");
                Status::service_unavailable(&why)
            })?;
            text(&port["name"])
        }
    };
    let endpoints = core.read("", "endpoints", &target.namespace, name);
    let endpoints = endpoints.unwrap_or_default();
    let ready = items(&endpoints["subsets"]).iter().flat_map(|subset| {
        let ports = items(&subset["ports"]).iter();
        let mut ports = ports.filter(|one| text(&one["name"]) == port);
        let number = ports.next().and_then(|one| one["port"].as_u64());
        let addresses = items(&subset["addresses"]).iter();
        addresses.filter_map(move |address| Some((text(&address["ip"]), number?)))
    });
    let (ip, number) = ready.choose(&mut rand::rng()).ok_or_else(|| {
        let why = format!("no endpoints available for service {:?}", target.name);
        Status::service_unavailable(&why)
    })?;
    Ok(asked.at(ip, &number.to_string()))
}

fn of_node(asked: &Asked<'_>, node: &Value) -> Result<Place> {
    let mut addresses = items(&node["status"]["addresses"]).iter();
    let internal = addresses.find(|address| address["type"] == "InternalIP");
    let ip = internal
        .map(|address| text(&address["address"]))
        .unwrap_or_default();
    match ip {
        "" => Err(Status::service_unavailable(&format!(
            "node {:?} has no address",
            asked.name
        ))),
        ip => Ok(asked.at(ip, asked.port)),
    }
}

/// What a kubelet is asked most: there is none, and the API server knows the answers.
fn kubelet(core: &Core, asked: &Asked<'_>, path: &str) -> Result<Reply> {
    match path.trim_end_matches('/') {
        "healthz" => Ok(Reply::text(200, "ok")),
        "pods" => {
            let pods = core.store.list(core.builtin("", "pods").id, "");
            let pods = pods.iter().filter_map(|pod| decode_stored(pod).ok());
            let pods = pods.filter(|pod| pod["spec"]["nodeName"] == asked.name);
            let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {},
                "items": pods.collect::<Vec<_>>()});
            Ok(Reply::value(200, &list))
        }
        _ => Ok(Reply::text(404, "404 page not found\n")),
    }
}

fn outgoing(
    parts: &Parts,
    place: &Place,
    path: &str,
    body: Bytes,
    upgrades: bool,
) -> Result<Request<Full<Bytes>>> {
    let query = parts.uri.query().map(|query| format!("?{query}"));
    let uri = format!("/{path}{}", query.unwrap_or_default());
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri
        .parse()
        .map_err(|error| Status::bad_request(format!("the path: {error}")))?;
    let mut headers = passed_on(&parts.headers, upgrades);
    headers.remove(AUTHORIZATION);
    headers.remove(CONTENT_LENGTH);
    let impersonation: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("impersonate-"))
        .cloned()
        .collect();
    for name in impersonation {
        headers.remove(name);
    }
    let host = parts.uri.authority().map(|authority| authority.as_str());
    let host = host.unwrap_or(&place.address).parse();
    if let (false, Ok(host)) = (headers.contains_key(HOST), host) {
        headers.insert(HOST, host);
    }
    if let Ok(path) = parts.uri.path().parse() {
        headers.insert("x-forwarded-uri", path);
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// The headers that are not about the connection.
fn passed_on(headers: &HeaderMap, upgrades: bool) -> HeaderMap {
    let mut passed = headers.clone();
    for name in OF_CONNECTION {
        if !upgrades || !matches!(name, CONNECTION | UPGRADE) {
            passed.remove(name);
        }
    }
    passed
}

async fn exchange(
    place: &Place,
    request: Request<Full<Bytes>>,
) -> std::result::Result<Response<Incoming>, String> {
    let address = &place.address;
    let connected = tokio::time::timeout(CONNECT_MAX, connect(place)).await;
    let io = match connected {
        Ok(connected) => connected.map_err(|error| format!("dial tcp {address}: {error}"))?,
        Err(_) => return Err(format!("dial tcp {address}: i/o timeout")),
    };
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(io)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await;
    response.map_err(|error| error.to_string())
}

async fn connect(place: &Place) -> io::Result<Box<dyn Duplex>> {
    let stream = TcpStream::connect(&place.address).await?;
    stream.set_nodelay(true)?;
    match place.is_tls {
        true => Ok(Box::new(
            tls::connect_unchecked(stream, &place.address).await?,
        )),
        false => Ok(Box::new(stream)),
    }
}

fn reply(mut response: Response<Incoming>, upgrade: Option<OnUpgrade>) -> Reply {
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = passed_on(response.headers(), switches);
    let code = response.status().as_u16();
    let body = match (switches, upgrade) {
        (true, Some(front)) => {
            let back = hyper::upgrade::on(&mut response);
            tokio::spawn(join(front, back));
            Body::empty()
        }
        _ => {
            let data = BodyDataStream::new(response.into_body());
            Body::stream(data.map(|piece| piece.map_err(io::Error::other)).boxed())
        }
    };
    let mut reply = Reply::new(code, "", body);
    for (name, value) in &headers {
        if let Ok(value) = value.to_str() {
            reply = reply.with_header(name.clone(), value);
        }
    }
    reply
}

/// Copies between the two upgraded connections until both have ended.
async fn join(front: OnUpgrade, back: OnUpgrade) {
    let joined = async {
        let (front, back) = tokio::try_join!(front, back).map_err(io::Error::other)?;
        let (mut front, mut back) = (TokioIo::new(front), TokioIo::new(back));
        tokio::io::copy_bidirectional(&mut front, &mut back).await
    };
    if let Err(error) = joined.await {
        tracing::debug!(%error, "a connection through the proxy has ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_named_as_in_kubernetes() {
        let check = |id: &str, expected: Option<&str>| {
            let place = Asked::parse(id).map(|asked| {
                let place = asked.at(asked.name, asked.port);
                format!("{} {}", place.is_tls, place.address)
            });
            assert_eq!(place.as_deref(), expected, "{id}");
        };
        check("web", Some("false web:80"));
        check("web:8080", Some("false web:8080"));
        check("https:web:", Some("true web:443"));
        check("http:web:http", Some("false web:http"));
        check("ftp:web:21", None);
        check(":80", None);
        check("a:b:c:d", None);
    }

    #[test]
    fn a_pods_first_port_is_meant_when_none_is_said() {
        let pod = json!({
            "spec": {"containers": [{}, {"ports": [{"containerPort": 8080}]}]},
            "status": {"podIP": "10.0.0.1"},
        });
        let check = |id: &str, expected: &str| {
            let asked = Asked::parse(id).expect("a name");
            let place = of_pod(&asked, &pod).expect("a place");
            assert_eq!(place.address, expected);
        };
        check("web", "10.0.0.1:8080");
        check("web:90", "10.0.0.1:90");
    }

    #[test]
    fn the_path_is_passed_on_as_it_was_written() {
        let of_pod = "/api/v1/namespaces/a/pods/p/proxy";
        assert_eq!(path_behind(of_pod, true), None);
        let with = |rest: &str| format!("{of_pod}/{rest}");
        assert_eq!(path_behind(&with(""), true), Some(""));
        assert_eq!(path_behind(&with("a%2Fb//c/"), true), Some("a%2Fb//c/"));
        let of_node = "/api/v1/nodes/n/proxy/healthz";
        assert_eq!(path_behind(of_node, false), Some("healthz"));
    }
}
