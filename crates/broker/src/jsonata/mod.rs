//! JSONata, the language of EventTransforms: whether an expression is one, and what it makes of a
//! JSON value. Used by `handlers::event_transform`; the controllers ask [`check_expression`].
//!
//! The interpreter is the crate `jsonata-rs`. It calls itself as deep as expressions and data are
//! nested and knows no other way out of its own mistakes than a panic, so it runs on threads of its
//! own with much stack, within limits of depth and time.

mod functions;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};

use bumpalo::Bump;
use jsonata_rs::JsonAta;
use serde_json::Value;
use tokio::sync::oneshot;

/// The longest expression, in bytes: each two of them may be a level of the syntax tree.
const EXPRESSION_BYTES_MAX: usize = 16 << 10;
/// Calls within calls while an expression is evaluated.
const DEPTH_MAX: usize = 1_000;
/// How long one evaluation may take, in milliseconds.
const TIME_MAX_MS: usize = 5_000;
/// The stack of an evaluating thread, in bytes. Only what is used takes memory.
const STACK_BYTES: usize = 512 << 20;
/// Evaluations at once.
const THREADS: usize = 2;
/// Evaluations that may wait for a thread.
const WAITING_MAX: usize = 1_024;

/// Why there is no result.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The expression is none.
    #[error("the expression has {0} bytes, {EXPRESSION_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// The interpreter's own word.
    #[error("{0}")]
    Jsonata(String),
    /// The interpreter gave up, which is a mistake of its own.
    #[error("the interpreter cannot evaluate this expression")]
    Broken,
    /// There is no thread for it.
    #[error("too many evaluations wait")]
    Busy,
}

struct Task {
    expression: Arc<str>,
    /// Without input the expression is only read.
    input: Option<Value>,
    done: oneshot::Sender<Result<Option<Value>, Error>>,
}

/// Why `expression` is none, if it is none. Waits for an evaluating thread.
pub async fn check_expression(expression: &str) -> Result<(), String> {
    let checked = run(expression.into(), None).await;
    checked.map(|_| ()).map_err(|error| error.to_string())
}

/// The value of `expression` for `input`; `None` where it has none (JSONata's *undefined*).
pub(crate) async fn evaluate(expression: &Arc<str>, input: Value) -> Result<Option<Value>, Error> {
    run(Arc::clone(expression), Some(input)).await
}

async fn run(expression: Arc<str>, input: Option<Value>) -> Result<Option<Value>, Error> {
    let (done, result) = oneshot::channel();
    let task = Task {
        expression,
        input,
        done,
    };
    threads().try_send(task).map_err(|_| Error::Busy)?;
    result.await.unwrap_or(Err(Error::Broken))
}

/// The queue of the evaluating threads, which start with the first task.
fn threads() -> &'static mpsc::SyncSender<Task> {
    static QUEUE: OnceLock<mpsc::SyncSender<Task>> = OnceLock::new();
    QUEUE.get_or_init(|| {
        let (sender, receiver) = mpsc::sync_channel(WAITING_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..THREADS {
            let receiver = Arc::clone(&receiver);
            let started = std::thread::Builder::new()
                .name("jsonata".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || work(&receiver));
            if let Err(error) = started {
                tracing::error!(%error, "a thread for JSONata cannot start");
            }
        }
        sender
    })
}

fn work(tasks: &Mutex<mpsc::Receiver<Task>>) {
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Task {
            expression,
            input,
            done,
        }) = task
        else {
            return;
        };
        // Nothing of the interpreter's outlives the call.
        let result = catch_unwind(AssertUnwindSafe(|| calculate(&expression, input.as_ref())));
        // Whoever asked may have gone.
        let _ = done.send(result.unwrap_or(Err(Error::Broken)));
    }
}

fn calculate(expression: &str, input: Option<&Value>) -> Result<Option<Value>, Error> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(Error::TooLong(expression.len()));
    }
    let wrong = |error: jsonata_rs::Error| Error::Jsonata(error.to_string());
    let arena = Bump::new();
    let jsonata = JsonAta::new(expression, &arena).map_err(wrong)?;
    let Some(input) = input else {
        return Ok(None);
    };
    functions::register(&jsonata);
    let input = input.to_string();
    let value = jsonata
        .evaluate_timeboxed(Some(&input), Some(DEPTH_MAX), Some(TIME_MAX_MS))
        .map_err(wrong)?;
    if value.is_undefined() {
        return Ok(None);
    }
    let text = value.serialize(false);
    let value = serde_json::from_str(&text).map_err(|_| Error::Broken)?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn of(expression: &str, input: Value) -> Result<Option<Value>, Error> {
        evaluate(&expression.into(), input).await
    }

    #[tokio::test]
    async fn expressions_of_the_documentation() {
        let event = json!({
            "specversion": "1.0", "id": "1", "source": "/s", "type": "order",
            "data": {"order": {"id": 7, "price": 1.5, "items": [{"n": 2}, {"n": 3}]}, "tags": ["a", "b"]},
        });
        let cases = [
            ("$", event.clone()),
            ("data.order.id", json!(7)),
            ("$sum(data.order.items.n)", json!(5)),
            ("data.order.items[n > 2].n", json!(3)),
            ("'Hello ' & id & '!'", json!("Hello 1!")),
            (
                "{'specversion': '1.0', 'id': id, 'type': type & '.seen', 'source': source, 'data': data.order.price * 2}",
                json!({"specversion": "1.0", "id": "1", "type": "order.seen", "source": "/s", "data": 3}),
            ),
            (
                "$merge([$, {'subject': $uppercase(type)}]).subject",
                json!("ORDER"),
            ),
            ("data.tags ~> $join('-')", json!("a-b")),
            ("type = 'order' ? 'yes' : 'no'", json!("yes")),
            (
                "($f := function($n) { $n <= 1 ? 1 : $n * $f($n - 1) }; $f(5))",
                json!(120),
            ),
            (
                "$map(data.order.items, function($i) { $i.n + 1 })",
                json!([3, 4]),
            ),
            ("$average(data.order.items.n)", json!(2.5)),
            ("$type(data.tags)", json!("array")),
            (
                "$sift(data.order, function($v, $k) { $k != 'items' })",
                json!({"id": 7, "price": 1.5}),
            ),
            ("$spread({'a': 1, 'b': 2})", json!([{"a": 1}, {"b": 2}])),
            ("$encodeUrlComponent('a b/ü')", json!("a%20b%2F%C3%BC")),
            ("$decodeUrlComponent('a%20b')", json!("a b")),
            (
                "$encodeUrl('http://h/a b?q=ü')",
                json!("http://h/a%20b?q=%C3%BC"),
            ),
            ("$formatBase(255, 16)", json!("ff")),
            ("$count($shuffle([1, 2, 3]))", json!(3)),
            ("-1", json!(-1)),
        ];
        for (expression, expected) in cases {
            let value = of(expression, event.clone()).await;
            assert_eq!(value, Ok(Some(expected)), "{expression}");
        }
        assert_eq!(of("missing", event).await, Ok(None));
    }

    #[tokio::test]
    async fn what_is_no_expression_is_refused() {
        assert_eq!(check_expression("$.data").await, Ok(()));
        for wrong in ["{'a': ", "1 +", "$f(", "\"open"] {
            assert!(check_expression(wrong).await.is_err(), "{wrong}");
        }
        let long = "1".repeat(EXPRESSION_BYTES_MAX + 1);
        assert!(check_expression(&long).await.is_err());
    }

    #[tokio::test]
    async fn nothing_takes_the_program_down() {
        let half = EXPRESSION_BYTES_MAX / 2 - 1;
        let deep = ["(".repeat(half), "1".to_owned(), ")".repeat(half)].concat();
        let chain = vec!["1"; half].join("+");
        for expression in [deep.as_str(), chain.as_str()] {
            // Either way: an answer.
            let _ = of(expression, json!({})).await;
        }
        let endless = "($f := function($n) { 1 + $f($n + 1) }; $f(0))";
        assert!(of(endless, json!({})).await.is_err());
        assert_eq!(of("1 + 1", json!({})).await, Ok(Some(json!(2))));
    }
}
