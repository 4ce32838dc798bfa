//! The one shape of the kinds of 2018: their webhook did not mind unknown fields, and what it did
//! mind is in `admission::history`.

pub(super) const TABLE: &str = "
Historic: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec opaque, status opaque
HistoricChannelSpec: bus string, clusterBus string
HistoricSubscriptionSpec: channel string, replyTo string
";
