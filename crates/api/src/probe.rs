//! The fields of a container's probe, for those who judge or write one.

/// When a probe asks, and how often it must be answered.
pub const TIMES: [&str; 5] = [
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
];

/// How it asks; one of these is set. In the order of Knative's messages.
pub const HANDLERS: [&str; 4] = ["httpGet", "tcpSocket", "exec", "grpc"];
