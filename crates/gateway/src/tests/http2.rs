//! HTTP/2 on either side, and gRPC's trailers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serving::route::Protocol;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::support::{Fixture, echo, header, pod, revision};
use super::traces::{expected_traceparent, traced};
use crate::Face;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// An h2c application that answers with the request's version, host and body, and a trailer.
async fn h2c_application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let serve = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(serve);
        }
    });
    address
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let about = format!("{:?} {} ", request.version(), request.uri());
    let forwarded = request.headers()["forwarded"].to_str().unwrap().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let text = format!("{about}{forwarded} {}", String::from_utf8_lossy(&body));
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let frames = [Frame::data(Bytes::from(text)), Frame::trailers(trailers)];
    let stream = futures_util::stream::iter(frames.map(Ok::<_, Infallible>));
    Ok(Response::new(StreamBody::new(stream).boxed_unsync()))
}

/// An h2c application that sends every piece of a request back as soon as it comes.
async fn h2c_mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mirror = |request: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new(request.into_body()))
            };
            let serve = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(mirror));
            tokio::spawn(serve);
        }
    });
    address
}

fn h2c_revision(fixture: &Fixture, address: SocketAddr) {
    let mut facts = revision("grpc-00001", vec![pod("g", address)]);
    facts.protocol = Protocol::H2c;
    facts.timeout = Duration::from_secs(5);
    fixture.revision(facts);
    fixture.route("grpc.localhost", "grpc-00001");
}

async fn send_h2(gateway: SocketAddr, host: &str, body: &str) -> (u16, String, Option<HeaderMap>) {
    let stream = TcpStream::connect(gateway).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{host}/pkg.Service/Method"))
        .header("te", "trailers")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().cloned();
    (
        status,
        String::from_utf8(body.to_bytes().to_vec()).unwrap(),
        trailers,
    )
}

#[test]
fn an_h2_request_is_traced() {
    let (fixture, mut spans) = traced(echo("hello"));
    let gateway = fixture.gateway.address(Face::External, false).unwrap();
    let (_, body, _) = runtime().block_on(send_h2(gateway, "hello.localhost", "x"));
    let expected = expected_traceparent(&mut spans, None);
    assert_eq!(header(&body, "traceparent"), Some(&*expected), "{body}");
}

#[test]
fn h2_to_h2c_with_trailers() {
    let (runtime, fixture) = (runtime(), Fixture::new());
    let gateway = fixture.gateway.address(Face::External, false).unwrap();
    runtime.block_on(async {
        h2c_revision(&fixture, h2c_application().await);
        for _ in 0..3 {
            let (status, body, trailers) = send_h2(gateway, "grpc.localhost", "ping").await;
            assert_eq!(
                (status, &*body),
                (
                    200,
                    "HTTP/2.0 http://grpc.localhost/pkg.Service/Method \
                     for=127.0.0.1;host=grpc.localhost;proto=http ping"
                )
            );
            assert_eq!(trailers.unwrap()["grpc-status"], "0");
        }
        assert_eq!(send_h2(gateway, "other.localhost", "").await.0, 404);
    });
}

#[test]
fn h1_to_h2c() {
    let (runtime, fixture) = (runtime(), Fixture::new());
    let address = runtime.block_on(h2c_application());
    h2c_revision(&fixture, address);
    let mut client = fixture.client(Face::External);
    for _ in 0..3 {
        let answer = client.get("grpc.localhost", "/path");
        assert!(
            answer.body.contains("HTTP/2.0 http://grpc.localhost/path"),
            "{answer:?}"
        );
    }
}

#[test]
fn h2_to_h1() {
    let (runtime, fixture) = (runtime(), Fixture::new());
    fixture.revision(revision("hello-00001", vec![pod("p", echo("hello"))]));
    fixture.route("hello.localhost", "hello-00001");
    let gateway = fixture.gateway.address(Face::External, false).unwrap();
    for _ in 0..3 {
        let (status, body, _) = runtime.block_on(send_h2(gateway, "hello.localhost", "body"));
        assert_eq!(status, 200);
        assert!(body.contains("POST /pkg.Service/Method HTTP/1.1"), "{body}");
        assert!(body.to_lowercase().contains("host: hello.localhost") && body.ends_with("body"));
    }
}

#[test]
fn h2_waits_for_a_pod_and_is_counted() {
    let (runtime, mut fixture) = (runtime(), Fixture::new());
    let address = runtime.block_on(h2c_application());
    let mut facts = revision("grpc-00001", vec![]);
    facts.protocol = Protocol::H2c;
    fixture.revision(facts);
    fixture.route("grpc.localhost", "grpc-00001");
    let gateway = fixture.gateway.address(Face::External, false).unwrap();
    let answer = runtime.spawn(send_h2(gateway, "grpc.localhost", "cold"));
    let poke = fixture.stats.blocking_recv().unwrap();
    assert_eq!(poke.reporter, "activator");
    h2c_revision(&fixture, address);
    assert_eq!(runtime.block_on(answer).unwrap().0, 200);
}

#[test]
fn streams_run_both_ways_at_once() {
    let (runtime, fixture) = (runtime(), Fixture::new());
    let gateway = fixture.gateway.address(Face::External, false).unwrap();
    runtime.block_on(async {
        h2c_revision(&fixture, h2c_mirror().await);
        let stream = TcpStream::connect(gateway).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let (pieces, body) = tokio::sync::mpsc::channel::<Frame<Bytes>>(1);
        let body = futures_util::stream::unfold(body, async |mut body| {
            let frame = body.recv().await?;
            Some((Ok::<_, Infallible>(frame), body))
        });
        let request = Request::post("http://grpc.localhost/pkg.Service/Chat")
            .body(StreamBody::new(Box::pin(body)))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let mut answer = response.into_body();
        for word in ["one", "two", "three"] {
            pieces.send(Frame::data(Bytes::from(word))).await.unwrap();
            let frame = answer.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), word);
        }
        drop(pieces);
        assert!(answer.collect().await.unwrap().to_bytes().is_empty());
    });
}
