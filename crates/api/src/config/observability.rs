//! `config-observability`: metrics, traces, request logs. The rules of
//! knative.dev/pkg/observability and of Knative Serving's own part.

use super::data::{Data, Error, Reader, require};
use crate::gotext::{Nanos, Template, format_duration, quote};

/// The request log's default line.
pub const REQUEST_LOG_TEMPLATE: &str = concat!(
    r#"{"httpRequest": {"requestMethod": "{{.Request.Method}}", "#,
    r#""requestUrl": "{{js .Request.RequestURI}}", "#,
    r#""requestSize": "{{.Request.ContentLength}}", "status": {{.Response.Code}}, "#,
    r#""responseSize": "{{.Response.Size}}", "userAgent": "{{js .Request.UserAgent}}", "#,
    r#""remoteIp": "{{js .Request.RemoteAddr}}", "serverIp": "{{.Revision.PodIP}}", "#,
    r#""referer": "{{js .Request.Referer}}", "latency": "{{.Response.Latency}}s", "#,
    r#""protocol": "{{.Request.Proto}}"}, "traceId": "{{.TraceID}}"}"#,
);

/// Where metrics go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metrics {
    /// `none`, `prometheus`, `http/protobuf` or `grpc`.
    pub protocol: String,
    /// Where to, for the last two.
    pub endpoint: String,
    /// How often, nanoseconds; 0 leaves it to the exporter.
    pub export_interval: Nanos,
}

/// The settings of observability.
#[derive(Clone, PartialEq, Debug)]
pub struct Observability {
    /// `metrics-*`: of the components.
    pub metrics: Metrics,
    /// `request-metrics-*`: of the queue-proxies.
    pub request_metrics: Metrics,
    /// `tracing-protocol`.
    pub tracing_protocol: String,
    /// `tracing-endpoint`.
    pub tracing_endpoint: String,
    /// `tracing-sampling-rate`.
    pub tracing_sampling_rate: f64,
    /// `runtime-profiling`.
    pub profiling: bool,
    /// `logging.enable-var-log-collection`.
    pub var_log_collection: bool,
    /// `logging.revision-url-template`; `${REVISION_UID}` stands for the UID.
    pub revision_url_template: String,
    /// `logging.request-log-template`.
    pub request_log_template: String,
    /// `logging.enable-request-log`.
    pub request_log: bool,
    /// `logging.enable-probe-request-log`.
    pub probe_request_log: bool,
}

impl Default for Observability {
    fn default() -> Self {
        let metrics = Metrics {
            protocol: "none".to_owned(),
            endpoint: String::new(),
            export_interval: 0,
        };
        Self {
            request_metrics: metrics.clone(),
            metrics,
            tracing_protocol: "none".to_owned(),
            tracing_endpoint: String::new(),
            tracing_sampling_rate: 0.0,
            profiling: false,
            var_log_collection: false,
            revision_url_template: String::new(),
            request_log_template: REQUEST_LOG_TEMPLATE.to_owned(),
            request_log: false,
            probe_request_log: false,
        }
    }
}

impl Observability {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-observability";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// A value that cannot be parsed or does not fit the others, in Knative's words.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut config = Self::default();
        let reader = Reader(data);
        config.metrics.read(&reader, "")?;
        config.request_metrics.read(&reader, "request-")?;
        config.read_tracing(&reader)?;
        config.read_profiling(&reader)?;
        config.read_logging(&reader)?;
        Ok(config)
    }

    fn read_tracing(&mut self, reader: &Reader<'_>) -> Result<(), Error> {
        reader.string("tracing-protocol", &mut self.tracing_protocol);
        reader.string("tracing-endpoint", &mut self.tracing_endpoint);
        reader.float("tracing-sampling-rate", &mut self.tracing_sampling_rate)?;
        let protocol = quote(&self.tracing_protocol);
        match self.tracing_protocol.as_str() {
            "grpc" | "http/protobuf" => require(!self.tracing_endpoint.is_empty(), || {
                format!("endpoint should be set for protocol {protocol}")
            })?,
            "none" | "stdout" => require(self.tracing_endpoint.is_empty(), || {
                "endpoint should not be set when protocol is 'none'".to_owned()
            })?,
            _ => return Err(Error(format!("unsupported protocol {protocol}"))),
        }
        let rate = self.tracing_sampling_rate;
        require(rate >= 0.0, || {
            format!("sampling rate {rate:.6} should be greater or equal to zero")
        })?;
        require(rate <= 1.0, || {
            format!("sampling rate {rate:.6} should be less than or equal to one")
        })
    }

    fn read_profiling(&mut self, reader: &Reader<'_>) -> Result<(), Error> {
        self.profiling = match reader.0.get("runtime-profiling").map(String::as_str) {
            None | Some("disabled") => false,
            Some("enabled") => true,
            Some(other) => {
                return Err(Error(format!(
                    "unsupported profile setting {}",
                    quote(other)
                )));
            }
        };
        let mut interval = 0;
        reader.duration("runtime-export-interval", &mut interval)?;
        check_interval(interval)
    }

    fn read_logging(&mut self, reader: &Reader<'_>) -> Result<(), Error> {
        reader.bool(
            "logging.enable-var-log-collection",
            &mut self.var_log_collection,
        )?;
        reader.string(
            "logging.revision-url-template",
            &mut self.revision_url_template,
        );
        reader.string(
            "logging.request-log-template",
            &mut self.request_log_template,
        );
        reader.bool("logging.enable-request-log", &mut self.request_log)?;
        reader.bool(
            "logging.enable-probe-request-log",
            &mut self.probe_request_log,
        )?;
        require(
            !self.request_log || !self.request_log_template.is_empty(),
            || {
                "\"logging.enable-request-log\" was set to true, but no \
             \"logging.request-log-template\" was specified"
                    .to_owned()
            },
        )?;
        Template::parse("requestLog", &self.request_log_template).map_err(Error)?;
        Ok(())
    }
}

impl Metrics {
    fn read(&mut self, reader: &Reader<'_>, prefix: &str) -> Result<(), Error> {
        reader.string(&format!("{prefix}metrics-protocol"), &mut self.protocol);
        reader.string(&format!("{prefix}metrics-endpoint"), &mut self.endpoint);
        reader.duration(
            &format!("{prefix}metrics-export-interval"),
            &mut self.export_interval,
        )?;
        let protocol = quote(&self.protocol);
        match self.protocol.as_str() {
            "grpc" | "http/protobuf" => require(!self.endpoint.is_empty(), || {
                format!("endpoint should be set when protocol is {protocol}")
            })?,
            "none" => require(self.endpoint.is_empty(), || {
                format!("endpoint should not be set when protocol is {protocol}")
            })?,
            "prometheus" => {}
            _ => return Err(Error(format!("unsupported protocol {protocol}"))),
        }
        check_interval(self.export_interval)
    }
}

fn check_interval(interval: Nanos) -> Result<(), Error> {
    require(interval >= 0, || {
        let interval = quote(&format_duration(interval));
        format!("export interval {interval} should be greater than zero")
    })
}
