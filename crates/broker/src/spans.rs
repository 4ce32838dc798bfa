//! Spans of events in W3C trace context: one for each event's way in, and one for each attempt to
//! deliver it, which the receiver goes on with. Made by `ingress` and `dispatch`, sent off by
//! whoever started the [`Tracer`]. Names are those of Knative's brokers.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use api::delivery::Key;
use cloudevents::Event;
use trace::{Active, Parent, Span, SpanKind, Tracer, Value, traceparent};

/// The headers of the recommendation, and the attributes of CloudEvents' extension for it.
pub(crate) const TRACEPARENT: &str = "traceparent";
pub(crate) const TRACESTATE: &str = "tracestate";

/// Makes the spans of one object.
#[derive(Clone)]
pub(crate) struct Spans {
    tracer: Tracer,
    /// The part of Knative that would do it there.
    service: Arc<str>,
    /// `broker:NAME.NAMESPACE`.
    name: Arc<str>,
}

/// What becomes of an event in its trace.
pub(crate) struct Begun {
    /// For those behind; `None` leaves what came.
    pub(crate) traceparent: Option<String>,
    /// To be ended.
    pub(crate) span: Option<Open>,
}

/// A span on its way.
pub(crate) struct Open {
    active: Arc<Active>,
    span: Span,
}

impl Spans {
    /// Those of `key`.
    pub(crate) fn new(tracer: &Tracer, key: &Key) -> Self {
        let kind = key.kind.kind.to_ascii_lowercase();
        let service = match key.kind.kind {
            "Broker" => "mt-broker-ingress",
            "Trigger" => "mt-broker-filter",
            "Channel" | "InMemoryChannel" | "Subscription" => "imc-dispatcher",
            "JobSink" => "job-sink",
            "RequestReply" => "request-reply",
            _ => &kind,
        };
        Self {
            tracer: tracer.clone(),
            service: service.into(),
            name: format!("{kind}:{}.{}", key.name, key.namespace).into(),
        }
    }

    /// Those of another object, by the same tracer.
    pub(crate) fn of(&self, key: &Key) -> Self {
        Self::new(&self.tracer, key)
    }

    /// Begins with `event`, about which `header` tells what came with it. Nothing is asked while
    /// nothing is traced.
    pub(crate) fn begin<'a>(
        &self,
        kind: SpanKind,
        event: &Event,
        header: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> Begun {
        let Some(active) = self.tracer.active() else {
            return Begun {
                traceparent: None,
                span: None,
            };
        };
        let came_with = |name: &str| match header(name) {
            Some(value) => Some(String::from_utf8_lossy(value).into_owned()),
            None => event.get(name).map(|value| value.as_text().into_owned()),
        };
        let parent = came_with(TRACEPARENT);
        let parent = parent.as_deref().and_then(Parent::parse);
        let decided = active.decide(parent, rand::random());
        let id = (rand::random::<u64>() | 1).to_be_bytes();
        if !decided.is_sampled {
            // Those behind us shall not draw again.
            let undecided = parent.is_none();
            return Begun {
                traceparent: undecided.then(|| traceparent(decided.trace_id, id, false)),
                span: None,
            };
        }
        let span = Span {
            service: Arc::clone(&self.service),
            name: self.name.to_string().into(),
            kind,
            trace_id: decided.trace_id,
            id,
            parent: decided.parent,
            state: came_with(TRACESTATE).unwrap_or_default().into(),
            start_ns: now_ns(),
            end_ns: 0,
            attributes: self.attributes(event),
            failed: false,
        };
        Begun {
            traceparent: Some(traceparent(decided.trace_id, id, true)),
            span: Some(Open { active, span }),
        }
    }

    /// OpenTelemetry's conventions for messages and CloudEvents.
    fn attributes(&self, event: &Event) -> Vec<(&'static str, Value)> {
        let mut attributes = vec![
            ("messaging.system", Value::Text("knative".into())),
            (
                "messaging.destination.name",
                Value::Text(Arc::clone(&self.name)),
            ),
        ];
        for (name, attribute) in [
            ("messaging.message.id", "id"),
            ("cloudevents.event_id", "id"),
            ("cloudevents.event_source", "source"),
            ("cloudevents.event_type", "type"),
            ("cloudevents.event_subject", "subject"),
            ("cloudevents.event_spec_version", "specversion"),
        ] {
            if let Some(value) = event.get(attribute) {
                attributes.push((name, Value::Text((*value.as_text()).into())));
            }
        }
        attributes
    }
}

impl Open {
    /// Where it is sent.
    pub(crate) fn to(&mut self, url: &str) {
        self.span
            .attributes
            .push(("url.full", Value::Text(url.into())));
    }

    /// It was answered with `status`, or not at all.
    pub(crate) fn end(mut self, status: Option<u16>) {
        if let Some(status) = status {
            let status = Value::Number(status.into());
            self.span
                .attributes
                .push(("http.response.status_code", status));
        }
        self.span.failed = status.is_none_or(|status| status >= 400);
        self.span.end_ns = now_ns();
        self.active.record(self.span);
    }
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}
