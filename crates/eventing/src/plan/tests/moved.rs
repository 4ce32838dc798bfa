//! The channels and flows of 2019 and what they become.

use api::world as kinds;
use expect_test::expect;

use super::cluster::Cluster;

const OLD: &str = "eventing.knative.dev/v1alpha1";

fn apply(cluster: &mut Cluster, api_version: &str, kind: &str, name: &str, spec: &str) {
    cluster.apply(&format!(
        "{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: {name}}}, spec: {spec}}}"
    ));
}

fn channel(cluster: &mut Cluster, name: &str, provisioner: &str) {
    let spec = format!("{{provisioner: {{kind: ClusterChannelProvisioner, name: {provisioner}}}}}");
    apply(cluster, OLD, "Channel", name, &spec);
}

fn of_old(name: &str) -> String {
    format!("{{apiVersion: {OLD}, kind: Channel, name: {name}}}")
}

#[test]
fn channels_and_subscriptions() {
    let mut cluster = Cluster::new();
    channel(&mut cluster, "letters", "in-memory");
    channel(&mut cluster, "answers", "kafka");
    let (from, to) = (of_old("letters"), of_old("answers"));
    let spec = format!(
        "{{channel: {from}, subscriber: {{dnsName: printer.ns.svc.cluster.local}}, reply: {{channel: {to}}}}}"
    );
    apply(&mut cluster, OLD, "Subscription", "print", &spec);
    let spec = format!("{{channel: {from}, reply: {{channel: {to}}}}}");
    apply(&mut cluster, OLD, "Subscription", "copy", &spec);
    expect![[r#"
        InMemoryChannel answers at answers-kn-channel.ns.svc.cluster.local
        InMemoryChannel letters at letters-kn-channel.ns.svc.cluster.local
          copy: → http://answers-kn-channel.ns.svc.cluster.local
          print: → http://printer.ns.svc.cluster.local/ ↩ http://answers-kn-channel.ns.svc.cluster.local
    "#]]
    .assert_eq(&cluster.graph());
    expect![[r#"
        Addressable True
        Provisioned True
        ProvisionerInstalled True
        Ready True
        address: {"hostname":"letters-kn-channel.ns.svc.cluster.local","url":"http://letters-kn-channel.ns.svc.cluster.local"}
    "#]]
    .assert_eq(&cluster.status(kinds::CHANNEL_OF_2019, "letters", &["address"]));
    expect![[r#"
        ChannelReady True
        Ready True
        ReferencesResolved True
        physicalSubscription: {"replyURI":"http://answers-kn-channel.ns.svc.cluster.local","subscriberURI":"http://printer.ns.svc.cluster.local/"}
    "#]]
    .assert_eq(&cluster.status(
        kinds::SUBSCRIPTION_OF_2019,
        "print",
        &["physicalSubscription"],
    ));
    // From a name to a reference: nothing of the name is left.
    let spec = format!("{{channel: {from}, subscriber: {{ref: {to}}}}}");
    apply(&mut cluster, OLD, "Subscription", "print", &spec);
    let today = cluster.get(kinds::SUBSCRIPTION, "print");
    expect![[
        r#"{"ref":{"apiVersion":"messaging.knative.dev/v1","kind":"Channel","name":"answers"}}"#
    ]]
    .assert_eq(&today["spec"]["subscriber"].to_string());
    cluster.delete(kinds::CHANNEL_OF_2019, "letters");
    assert!(cluster.world.get(kinds::CHANNEL, "ns", "letters").is_none());
    expect![[r#"False ChannelReferenceFailed Failed to get Spec.Channel or backing channel: channels.messaging.knative.dev "letters" not found"#]].assert_eq(&cluster.condition(kinds::SUBSCRIPTION_OF_2019, "copy", "Ready"));
}

#[test]
fn a_provisioner_of_ones_own_must_be_there() {
    let mut cluster = Cluster::new();
    channel(&mut cluster, "a", "mine");
    let ready = |cluster: &Cluster| cluster.condition(kinds::CHANNEL_OF_2019, "a", "Ready");
    expect![[r#"False ProvisionerNotFound ClusterChannelProvisioner "mine" not found."#]]
        .assert_eq(&ready(&cluster));
    apply(&mut cluster, OLD, "ClusterChannelProvisioner", "mine", "{}");
    expect!["True"].assert_eq(&ready(&cluster));
    let found = cluster
        .world
        .get(kinds::CLUSTER_CHANNEL_PROVISIONER, "", "mine");
    assert!(found.is_some_and(|found| api::conditions::is_ready(&found)));
}

#[test]
fn sinks_may_be_channels_of_the_time() {
    let mut cluster = Cluster::new();
    channel(&mut cluster, "letters", "in-memory");
    let spec = format!(
        "{{schedule: '* * * * *', sink: {{ref: {}}}}}",
        of_old("letters")
    );
    apply(
        &mut cluster,
        "sources.knative.dev/v1",
        "PingSource",
        "tick",
        &spec,
    );
    expect![[r#"
        InMemoryChannel letters at letters-kn-channel.ns.svc.cluster.local
        PingSource tick → http://letters-kn-channel.ns.svc.cluster.local
    "#]]
    .assert_eq(&cluster.graph());
}

#[test]
fn a_sequence_of_messaging_is_one_of_flows() {
    let mut cluster = Cluster::new();
    let spec =
        "{steps: [{ref: {apiVersion: serving.knative.dev/v1alpha1, kind: Service, name: cut}}],
        channelTemplate: {apiVersion: messaging.knative.dev/v1alpha1, kind: InMemoryChannel}}";
    let messaging = "messaging.knative.dev/v1alpha1";
    apply(&mut cluster, messaging, "Sequence", "assembly", spec);
    cluster.callable("cut");
    expect![[r#"
        Addressable True
        ChannelsReady True
        Ready True
        SubscriptionsReady True
        address: {"hostname":"assembly-kn-sequence-0-kn-channel.ns.svc.cluster.local","url":"http://assembly-kn-sequence-0-kn-channel.ns.svc.cluster.local"}
    "#]]
    .assert_eq(&cluster.status(kinds::SEQUENCE_OF_2019, "assembly", &["address"]));
    let cases = "{cases: [{subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: cut}}}]}";
    apply(&mut cluster, messaging, "Choice", "coin", cases);
    expect!["True"].assert_eq(&cluster.condition(kinds::CHOICE, "coin", "Ready"));
    let parallel = cluster.get(kinds::PARALLEL, "coin");
    assert_eq!(
        parallel["spec"]["branches"].as_array().map(Vec::len),
        Some(1)
    );
}
