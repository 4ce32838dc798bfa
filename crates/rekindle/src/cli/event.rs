//! `rekindle event send|tail|dead-letters`: one event to a Broker, a channel or a URL; the events of
//! a Broker as they come; those that could not be delivered.

mod dead_letters;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use broker::Stream;
use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use cloudevents::{Event, Limits, Mode, SpecVersion, Style};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rand::RngCore;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::client::{Api, Target, Verbs};
use super::output;

/// Brokers and Triggers of this version are read and written.
const EVENTING: &str = "/apis/eventing.knative.dev/v1";
/// Channels of this version.
const MESSAGING: &str = "/apis/messaging.knative.dev/v1";
/// The replay of a Trigger starts here.
const REPLAY_ANNOTATION: &str = "eventing.rekindle.dev/replay-from";
/// How deep a Service may stand for another.
const NAMES_MAX: usize = 4;

/// A verb, and where.
pub(crate) type Flags = Verbs<Verb>;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Send one event.
    Send(Box<Send>),
    /// Print the events of a Broker as they come, until interrupted.
    Tail(Tail),
    /// What could not be delivered: look at it, send it again, throw it away.
    #[command(subcommand)]
    DeadLetters(dead_letters::Verb),
}

/// How `--mode` is said.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum HttpMode {
    Binary,
    Structured,
}

#[derive(Args, Debug)]
pub(crate) struct Send {
    /// The Broker that gets it.
    #[arg(long, required_unless_present_any = ["channel", "to_url"])]
    broker: Option<String>,
    /// The channel that gets it.
    #[arg(long, conflicts_with = "broker")]
    channel: Option<String>,
    /// Any address that takes events; names inside the cluster will do.
    #[arg(long, conflicts_with_all = ["broker", "channel"])]
    to_url: Option<String>,
    /// The event's ID. Default: a random one.
    #[arg(long)]
    id: Option<String>,
    /// What happened.
    #[arg(long, default_value = "dev.knative.cli.plugin.event.generic")]
    r#type: String,
    /// Where.
    #[arg(long, default_value = "rekindle-event/v1")]
    source: String,
    /// What it is about.
    #[arg(long)]
    subject: Option<String>,
    /// The data; JSON unless --content-type says otherwise.
    #[arg(long)]
    data: Option<String>,
    /// The media type of the data.
    #[arg(long, default_value = "application/json")]
    content_type: String,
    /// NAME=VALUE as an extension. May be repeated.
    #[arg(long)]
    extension: Vec<String>,
    /// 1.0 or 0.3.
    #[arg(long, default_value = "1.0")]
    specversion: String,
    /// binary or structured.
    #[arg(long, default_value = "binary")]
    mode: HttpMode,
}

#[derive(Args, Debug)]
pub(crate) struct Tail {
    /// The Broker.
    #[arg(long, default_value = "default")]
    broker: String,
    /// ATTRIBUTE=VALUE an event must have. May be repeated.
    #[arg(long)]
    filter: Vec<String>,
    /// From this time (RFC 3339) or offset on, instead of from now.
    #[arg(long)]
    since: Option<String>,
    /// Stop after so many events.
    #[arg(long)]
    count: Option<usize>,
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    match flags.verb {
        Verb::Send(send) => self::send(&flags.target, &send).await,
        Verb::Tail(tail) => self::tail(&flags.target.connect().await?, &tail).await,
        Verb::DeadLetters(verb) => dead_letters::run(&flags.target, verb).await,
    }
}

async fn send(target: &Target, send: &Send) -> Result<()> {
    let event = event(send)?;
    let api = target.connect().await;
    let to = match (&send.broker, &send.channel, &send.to_url) {
        (Some(broker), ..) => {
            let api = api.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            address(api, EVENTING, "brokers", broker).await?
        }
        (_, Some(channel), _) => {
            let api = api.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            address(api, MESSAGING, "channels", channel).await?
        }
        (_, _, Some(url)) => Address {
            url: url.clone(),
            ca_certs: None,
        },
        (None, None, None) => bail!("say where to: --broker, --channel or --to-url"),
    };
    let mode = match send.mode {
        HttpMode::Binary => Mode::Binary,
        HttpMode::Structured => Mode::Structured,
    };
    // A plain URL needs no instance.
    let (status, answer) = post(api.ok().as_ref(), &to, &event, mode).await?;
    if !status.is_success() {
        let url = &to.url;
        bail!("{url} answered {status}: {}", answer.trim());
    }
    output::line(&format!("Event (ID: {}) have been sent.", event.id()))
}

fn event(send: &Send) -> Result<Event> {
    let version = match send.specversion.as_str() {
        "1.0" => SpecVersion::V1,
        "0.3" => SpecVersion::V03,
        other => bail!("--specversion {other}: use 1.0 or 0.3"),
    };
    let id = send.id.clone().unwrap_or_else(random);
    let mut event = Event::with_version(version, &id, &send.source, &send.r#type)?;
    if let Some(subject) = &send.subject {
        event.set("subject", subject.as_str())?;
    }
    for word in &send.extension {
        let (name, value) = word
            .split_once('=')
            .with_context(|| format!("--extension {word}: NAME=VALUE"))?;
        event.set(name, value)?;
    }
    if let Some(data) = &send.data {
        if send.content_type == "application/json" {
            serde_json::from_str::<Value>(data)
                .context("--data is not JSON; name its media type with --content-type")?;
        }
        event.set_data(&send.content_type, Bytes::from(data.clone()))?;
    }
    Ok(event)
}

/// A random version-4 UUID in form.
fn random() -> String {
    let mut bytes = [0u8; 16];
    rand::rng().fill_bytes(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (a, b, c, d, e) = (
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    );
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// Where events are posted to.
struct Address {
    url: String,
    /// PEM certificates that the server's may descend from, besides the system's.
    ca_certs: Option<String>,
}

/// Where an addressable object says it is reached.
async fn address(api: &Api, group: &str, plural: &str, name: &str) -> Result<Address> {
    let path = format!("{group}/namespaces/{}/{plural}/{name}", api.namespace);
    let object = api.get(&path).await?;
    let address = &object["status"]["address"];
    let text = |field: &str| address[field].as_str().map(str::to_owned);
    Ok(Address {
        url: text("url").with_context(|| {
            format!("{plural} {name:?} has no address yet: wait until it is ready")
        })?,
        ca_certs: text("CACerts"),
    })
}

/// Posts the event; answers the status and the text.
async fn post(
    api: Option<&Api>,
    to: &Address,
    event: &Event,
    mode: Mode,
) -> Result<(StatusCode, String)> {
    let url = &to.url;
    let uri: Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
    let authority = uri.authority().context("a URL without a host")?;
    let stream = match uri.scheme_str() {
        Some("http") => connect(api, authority, 80).await?,
        Some("https") => {
            let tls = broker::tls_connector(to.ca_certs.as_deref());
            let tls = tls.map_err(anyhow::Error::msg).context("CACerts")?;
            let name = ServerName::try_from(authority.host().to_owned())?;
            let stream = connect(api, authority, 443).await?;
            let stream = tls.connect(name, stream).await;
            Box::new(stream.with_context(|| format!("speak TLS with {authority}"))?) as Stream
        }
        _ => bail!("{url:?}: http:// and https:// are spoken"),
    };
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await?;
    tokio::spawn(connection);
    let message = cloudevents::encode(event, mode);
    let mut request = Request::post(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, authority.as_str())
        .body(Full::new(message.body))?;
    request.headers_mut().extend(message.headers);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

async fn connect(api: Option<&Api>, authority: &Authority, port: u16) -> Result<Stream> {
    let to = reach(api, authority, port).await?;
    let stream = TcpStream::connect(&to).await;
    let stream = stream.with_context(|| format!("connect to {authority} at {to}"))?;
    Ok(Box::new(stream))
}

/// The socket address of a URL's host. The machine itself does not know the cluster's names; the
/// API server does.
async fn reach(api: Option<&Api>, authority: &Authority, port: u16) -> Result<String> {
    let mut host = authority.host().to_owned();
    let port = authority.port_u16().unwrap_or(port);
    for _ in 0..NAMES_MAX {
        let mut labels = host.split('.');
        let (Some(name), Some(namespace), Some("svc"), Some(api)) =
            (labels.next(), labels.next(), labels.next(), api)
        else {
            break;
        };
        let path = format!("/api/v1/namespaces/{namespace}/services/{name}");
        let service = api
            .find(&path)
            .await?
            .with_context(|| format!("{host} names no Service"))?;
        if let Some(other) = service["spec"]["externalName"].as_str() {
            host = other.to_owned();
            continue;
        }
        if let Some(ip) = service["spec"]["clusterIP"]
            .as_str()
            .filter(|ip| *ip != "None")
        {
            return Ok(format!("{ip}:{port}"));
        }
        bail!("{host} has no cluster address to connect to");
    }
    Ok(format!("{host}:{port}"))
}

/// A Trigger of its own for as long as it runs, whose subscriber is this process.
async fn tail(api: &Api, tail: &Tail) -> Result<()> {
    let listener = TcpListener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))
        .await
        .context("listen for events")?;
    let name = format!("tail-{}", &random()[..8]);
    let url = format!("http://{}/", listener.local_addr()?);
    let mut attributes = HashMap::new();
    for word in &tail.filter {
        let (attribute, value) = word
            .split_once('=')
            .with_context(|| format!("--filter {word}: ATTRIBUTE=VALUE"))?;
        attributes.insert(attribute, value);
    }
    let mut trigger = json!({
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {"name": name, "namespace": api.namespace},
        "spec": {
            "broker": tail.broker,
            "filter": {"attributes": attributes},
            "subscriber": {"uri": url},
        },
    });
    if let Some(since) = &tail.since {
        trigger["metadata"]["annotations"] = json!({REPLAY_ANNOTATION: since});
    }
    // A Broker that does not exist would make a Trigger that waits for it.
    address(api, EVENTING, "brokers", &tail.broker).await?;
    let path = format!("{EVENTING}/namespaces/{}/triggers", api.namespace);
    let stopped = super::up::asked_to_end()?;
    api.post(&path, &trigger).await?;
    let printed = tokio::select! {
        printed = print(&listener, tail.count) => printed,
        () = stopped => Ok(()),
    };
    let path = format!("{path}/{name}");
    let removed = api.request(Method::DELETE, &path, "application/json", Vec::new());
    let removed = removed.await;
    printed?;
    removed.with_context(|| format!("remove the Trigger {name}"))?;
    Ok(())
}

/// Prints what is posted, `count` events at most.
async fn print(listener: &TcpListener, count: Option<usize>) -> Result<()> {
    let (events, mut received) = tokio::sync::mpsc::channel::<Event>(64);
    let mut left = count.unwrap_or(usize::MAX);
    while left > 0 {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("accept")?;
                let events = events.clone();
                let service = service_fn(move |request| {
                    let events = events.clone();
                    async move { Ok::<_, Infallible>(take(request, &events).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
            Some(event) = received.recv() => {
                output::print(&cloudevents::display(&event, Style::Current))?;
                left -= 1;
            }
        }
    }
    Ok(())
}

async fn take(
    request: Request<Incoming>,
    events: &tokio::sync::mpsc::Sender<Event>,
) -> Response<Full<Bytes>> {
    let limits = Limits::default();
    let (head, body) = request.into_parts();
    let body = Limited::new(body, limits.body_bytes_max).collect().await;
    let decoded = body
        .ok()
        .and_then(|body| cloudevents::decode_one(&head.headers, body.to_bytes(), &limits).ok());
    let status = match decoded {
        Some(event) => match events.send(event).await {
            Ok(()) => StatusCode::ACCEPTED,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        },
        None => StatusCode::BAD_REQUEST,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
