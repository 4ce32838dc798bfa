//! The sources of 2019 and what they become.

use api::world::{OLD_AWS_SQS_SOURCE, OLD_CRON_JOB_SOURCE};
use expect_test::expect;

use super::cluster::Cluster;

fn old(kind: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: sources.eventing.knative.dev/v1alpha1, kind: {kind}, metadata: {{name: old}}, spec: {{{spec}}}}}"
    )
}

#[test]
fn a_cron_job_source_follows_its_ping_source() {
    let mut cluster = Cluster::new();
    let sink = "sink: {apiVersion: serving.knative.dev/v1alpha1, kind: Service, name: hello}";
    cluster.apply(&old(
        "CronJobSource",
        &format!("schedule: '* * * * *', data: hi, {sink}"),
    ));
    assert!(
        cluster
            .condition(OLD_CRON_JOB_SOURCE, "old", "Ready")
            .starts_with("False NotFound")
    );
    cluster.callable("hello");
    expect![[r#"
        Deployed True
        Ready True
        SinkProvided True
        sinkUri: "http://hello.ns.svc.cluster.local"
        ceAttributes: [{"source":"/apis/v1/namespaces/ns/cronjobsources/old","type":"dev.knative.cronjob.event"}]
    "#]]
    .assert_eq(&cluster.status(OLD_CRON_JOB_SOURCE, "old", &["sinkUri", "ceAttributes"]));
    assert_eq!(
        cluster.graph(),
        "PingSource old → http://hello.ns.svc.cluster.local\n"
    );
}

#[test]
fn what_needs_a_cloud_says_so() {
    let mut cluster = Cluster::new();
    cluster.apply(&old("AwsSqsSource", "queueUrl: 'http://q'"));
    assert!(
        cluster
            .condition(OLD_AWS_SQS_SOURCE, "old", "Ready")
            .starts_with("False NotSupported Events of Amazon SQS")
    );
}
