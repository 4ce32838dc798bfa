//! Applications that take time, memory or turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::serve;

/// `?initialTimeout=MS&timeout=MS`: waits before the head, then between the head and the body.
pub(crate) async fn timeout() {
    serve::on(serve::port(), |request| async move {
        let first = serve::number(&request, "initialTimeout");
        let then = serve::number(&request, "timeout");
        tokio::time::sleep(Duration::from_millis(first)).await;
        if then == 0 {
            return serve::ok(format!("Slept for {first} milliseconds\n"));
        }
        let body = async move {
            tokio::time::sleep(Duration::from_millis(then)).await;
            Ok(Frame::data(Bytes::from(format!(
                "Slept for {} milliseconds\n",
                first + then
            ))))
        };
        let body = StreamBody::new(futures_util::stream::once(body));
        Response::new(body.boxed_unsync())
    })
    .await;
}

/// `?sleep=MS&bloat=MB&prime=N`: waits, takes memory and touches it, computes.
pub(crate) async fn autoscale() {
    serve::on(serve::port(), |request| async move {
        let mut said = String::new();
        let sleep = serve::number(&request, "sleep");
        if sleep > 0 {
            tokio::time::sleep(Duration::from_millis(sleep)).await;
            said.push_str(&format!("Slept for {sleep} milliseconds.\n"));
        }
        let bloat = serve::number(&request, "bloat");
        if bloat > 0 {
            let length = usize::try_from(bloat << 20).unwrap_or(usize::MAX);
            // Ones: zeroes would be pages that are not there.
            let block = vec![1u8; length];
            let last = std::hint::black_box(&block).last().copied();
            said.push_str(&format!("Allocated {bloat} Mb of memory {last:?}.\n"));
        }
        let limit = serve::number(&request, "prime");
        if limit > 0 {
            let largest = (2..=limit).rev().find(|n| is_prime(*n));
            said.push_str(&format!("The largest prime is {largest:?}.\n"));
        }
        serve::ok(said)
    })
    .await;
}

fn is_prime(number: u64) -> bool {
    (2..)
        .take_while(|divisor| divisor * divisor <= number)
        .all(|divisor| !number.is_multiple_of(divisor))
}

/// One request at a time; who comes in between is answered 500.
pub(crate) async fn single_threaded() {
    let inside = Arc::new(AtomicU64::new(0));
    serve::on(serve::port(), move |_| {
        let inside = Arc::clone(&inside);
        async move {
            let others = inside.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(500)).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            if others > 0 {
                return serve::text(StatusCode::INTERNAL_SERVER_ERROR, "not alone\n");
            }
            serve::ok("alone\n")
        }
    })
    .await;
}
