//! Request logs: one line per request, made by Knative's template
//! (`logging.request-log-template` of ConfigMap `config-observability`).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Where lines go, each without its newline.
pub type Sink = Arc<dyn Fn(&str) + Send + Sync>;

/// Knative's default template: one JSON object.
pub const DEFAULT_TEMPLATE: &str = concat!(
    r#"{"httpRequest": {"requestMethod": "{{.Request.Method}}", "#,
    r#""requestUrl": "{{js .Request.RequestURI}}", "requestSize": "{{.Request.ContentLength}}", "#,
    r#""status": {{.Response.Code}}, "responseSize": "{{.Response.Size}}", "#,
    r#""userAgent": "{{js .Request.UserAgent}}", "remoteIp": "{{js .Request.RemoteAddr}}", "#,
    r#""serverIp": "{{.Revision.PodIP}}", "referer": "{{js .Request.Referer}}", "#,
    r#""latency": "{{.Response.Latency}}s", "protocol": "{{.Request.Proto}}"}, "#,
    r#""traceId": "{{.TraceID}}"}"#
);

/// A template that names something unknown.
#[derive(Debug, thiserror::Error)]
#[error(
    "request log template: unknown action {{{{{action}}}}}; known are the fields of .Request, \
     .Response and .Revision and .TraceID, with `js` before them or without"
)]
pub struct TemplateError {
    action: String,
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Method,
    Uri,
    Host,
    Proto,
    ContentLength,
    UserAgent,
    RemoteAddr,
    Referer,
    Tls,
    Code,
    Size,
    Latency,
    RevisionName,
    Namespace,
    Service,
    Configuration,
    PodName,
    PodIp,
    TraceId,
}

const FIELDS: &[(&str, Field)] = &[
    (".Request.Method", Field::Method),
    (".Request.RequestURI", Field::Uri),
    (".Request.URL", Field::Uri),
    (".Request.Host", Field::Host),
    (".Request.Proto", Field::Proto),
    (".Request.ContentLength", Field::ContentLength),
    (".Request.UserAgent", Field::UserAgent),
    (".Request.RemoteAddr", Field::RemoteAddr),
    (".Request.Referer", Field::Referer),
    (".Request.TLS", Field::Tls),
    (".Response.Code", Field::Code),
    (".Response.Size", Field::Size),
    (".Response.Latency", Field::Latency),
    (".Revision.Name", Field::RevisionName),
    (".Revision.Namespace", Field::Namespace),
    (".Revision.Service", Field::Service),
    (".Revision.Configuration", Field::Configuration),
    (".Revision.PodName", Field::PodName),
    (".Revision.PodIP", Field::PodIp),
    (".TraceID", Field::TraceId),
];

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Field { field: Field, escaped: bool },
}

/// What is logged, and where.
#[derive(Clone)]
pub struct RequestLog {
    parts: Vec<Part>,
    sink: Sink,
    /// Whether health probes are logged, too (`logging.enable-probe-request-log`).
    pub log_probes: bool,
    /// Whether other requests are logged (`logging.enable-request-log`).
    pub log_requests: bool,
}

impl RequestLog {
    /// A log of ordinary requests by `template`.
    ///
    /// # Errors
    /// When the template names a field that does not exist.
    pub fn new(template: &str, sink: Sink) -> Result<Self, TemplateError> {
        Ok(Self {
            parts: parse(template)?,
            sink,
            log_probes: false,
            log_requests: true,
        })
    }

    /// Whether a request is to be logged.
    pub(crate) const fn wants(&self, is_probe: bool) -> bool {
        if is_probe {
            self.log_probes
        } else {
            self.log_requests
        }
    }

    pub(crate) fn write(&self, entry: &Entry) {
        let mut line = String::with_capacity(512);
        for part in &self.parts {
            match part {
                Part::Literal(text) => line.push_str(text),
                Part::Field { field, escaped } => {
                    let value = entry.field(*field);
                    if *escaped {
                        escape(&value, &mut line)
                    } else {
                        line.push_str(&value)
                    }
                }
            }
        }
        (self.sink)(&line);
    }
}

fn parse(template: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").unwrap_or((after, ""));
        parts.push(Part::Literal(literal.to_owned()));
        let bare = action.trim();
        let escaped = bare.strip_prefix("js ");
        let name = escaped.unwrap_or(bare).trim();
        let known = FIELDS.iter().find(|(field, _)| *field == name);
        let Some((_, field)) = known else {
            return Err(TemplateError {
                action: action.to_owned(),
            });
        };
        parts.push(Part::Field {
            field: *field,
            escaped: escaped.is_some(),
        });
        rest = after;
    }
    parts.push(Part::Literal(rest.to_owned()));
    Ok(parts)
}

/// Escapes a value for a JSON string.
fn escape(value: &str, out: &mut String) {
    for char in value.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '<' | '>' | '&' | '\'' | '=' | '\0'..='\x1f' | '\x7f' => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            _ => out.push(char),
        }
    }
}

/// What is known of one request when it is over.
#[derive(Clone, Default, Debug)]
pub(crate) struct Entry {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) host: String,
    pub(crate) proto: &'static str,
    pub(crate) content_length: String,
    pub(crate) user_agent: String,
    pub(crate) remote: String,
    pub(crate) referer: String,
    /// The name under which queue-proxy was asked by TLS.
    pub(crate) tls: Option<Arc<str>>,
    pub(crate) trace_id: String,
    pub(crate) code: u16,
    pub(crate) size: u64,
    pub(crate) latency: Duration,
    pub(crate) revision: [Arc<str>; 4],
    pub(crate) pod_name: Arc<str>,
    pub(crate) pod_ip: String,
}

impl Entry {
    fn field(&self, field: Field) -> String {
        match field {
            Field::Method => self.method.clone(),
            Field::Uri => self.uri.clone(),
            Field::Host => self.host.clone(),
            Field::Proto => self.proto.to_owned(),
            Field::ContentLength if self.content_length.is_empty() => "0".to_owned(),
            Field::ContentLength => self.content_length.clone(),
            Field::UserAgent => self.user_agent.clone(),
            Field::RemoteAddr => self.remote.clone(),
            // Beginning as Go prints a `tls.ConnectionState`: TLS 1.3, done, not resumed.
            Field::Tls => match &self.tls {
                Some(name) => format!("{{772 true false {name}}}"),
                None => "<nil>".to_owned(),
            },
            Field::Referer => self.referer.clone(),
            Field::Code => self.code.to_string(),
            Field::Size => self.size.to_string(),
            Field::Latency => self.latency.as_secs_f64().to_string(),
            Field::RevisionName => self.revision[0].to_string(),
            Field::Namespace => self.revision[1].to_string(),
            Field::Service => self.revision[2].to_string(),
            Field::Configuration => self.revision[3].to_string(),
            Field::PodName => self.pod_name.to_string(),
            Field::PodIp => self.pod_ip.clone(),
            Field::TraceId => self.trace_id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn the_default_template_is_json() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&lines);
        let sink: Sink = Arc::new(move |line| into.lock().unwrap().push(line.to_owned()));
        let log = RequestLog::new(DEFAULT_TEMPLATE, sink).unwrap();
        log.write(&Entry {
            method: "GET".into(),
            uri: "/?a=\"<b>\"".into(),
            user_agent: "curl\\1".into(),
            proto: "HTTP/1.1",
            code: 200,
            size: 6,
            latency: Duration::from_millis(2),
            ..Entry::default()
        });
        let line: serde_json::Value = serde_json::from_str(&lines.lock().unwrap()[0]).unwrap();
        let request = &line["httpRequest"];
        assert_eq!(request["requestUrl"], "/?a=\"<b>\"");
        assert_eq!(request["userAgent"], "curl\\1");
        assert_eq!(
            (&request["status"], &request["latency"]),
            (&200.into(), &"0.002s".into())
        );
    }

    #[test]
    fn an_unknown_field_is_named() {
        let Err(error) = RequestLog::new("{{.Request.Colour}}", Arc::new(|_| {})) else {
            panic!("accepted");
        };
        assert!(error.to_string().contains("{{.Request.Colour}}"), "{error}");
    }
}
