//! Bodies as client-go encodes them.

use serde_json::{Value, json};

use super::*;

/// A message in the making.
#[derive(Default, Clone)]
struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn int(mut self, number: u32, value: i64) -> Self {
        self.varint(u64::from(number) << 3);
        self.varint(value.cast_unsigned());
        self
    }

    fn bytes(mut self, number: u32, value: impl AsRef<[u8]>) -> Self {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    fn double(mut self, number: u32, value: f64) -> Self {
        self.varint(u64::from(number) << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
}

impl AsRef<[u8]> for Writer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn msg() -> Writer {
    Writer::default()
}

fn body(api_version: &str, kind: &str, raw: &Writer) -> Vec<u8> {
    let type_meta = msg().bytes(1, api_version).bytes(2, kind);
    let unknown = msg()
        .bytes(1, type_meta)
        .bytes(2, raw)
        .bytes(3, "")
        .bytes(4, "");
    [MAGIC, unknown.as_ref()].concat()
}

fn check(api_version: &str, kind: &str, raw: &Writer, mut expected: Value) {
    expected["apiVersion"] = api_version.into();
    expected["kind"] = kind.into();
    let decoded = decode(&body(api_version, kind, raw)).expect("the body is well formed");
    assert_eq!(decoded, expected);
}

/// `metadata` as client-go sends it: every string that is no pointer, even empty ones.
fn metadata() -> Writer {
    let label = msg().bytes(1, "app").bytes(2, "web");
    msg()
        .bytes(1, "web")
        .bytes(2, "")
        .bytes(3, "default")
        .bytes(4, "")
        .bytes(5, "")
        .bytes(6, "")
        .int(7, 0)
        .bytes(8, "")
        .bytes(11, label)
}

#[test]
fn a_pod_is_the_json_it_would_have_been() {
    let limit = msg().bytes(1, "cpu").bytes(2, msg().bytes(1, "100m"));
    let port = msg()
        .bytes(1, "")
        .int(2, 0)
        .int(3, 8080)
        .bytes(4, "TCP")
        .bytes(5, "");
    let get = msg()
        .bytes(1, "/")
        .bytes(2, msg().int(1, 1).int(2, 0).bytes(3, "http"));
    let probe = msg().bytes(1, msg().bytes(2, get)).int(2, 0).int(4, 10);
    let context = msg().int(2, 0);
    let security = msg().bytes(1, msg()).int(4, 0);
    let container = msg()
        .bytes(1, "c")
        .bytes(2, "image")
        .bytes(3, "sh")
        .bytes(3, "-c")
        .bytes(6, port)
        .bytes(8, msg().bytes(1, limit))
        .bytes(10, probe)
        .bytes(14, "")
        .bytes(15, security)
        .int(16, 0);
    let volume = msg()
        .bytes(1, "v")
        .bytes(2, msg().bytes(2, msg().bytes(1, "")));
    let spec = msg()
        .bytes(1, volume)
        .bytes(2, container)
        .bytes(3, "Never")
        .int(4, 0)
        .int(11, 0)
        .bytes(14, context)
        .int(30, 0);
    let pod = msg().bytes(1, metadata()).bytes(2, spec).bytes(3, msg());
    check(
        "v1",
        "Pod",
        &pod,
        json!({
            "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
            "spec": {
                "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{
                    "name": "c",
                    "image": "image",
                    "command": ["sh", "-c"],
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                    "resources": {"limits": {"cpu": "100m"}},
                    "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 10},
                    "securityContext": {"capabilities": {}, "runAsUser": 0},
                }],
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsUser": 0},
                "enableServiceLinks": false,
            },
            "status": {},
        }),
    );
}

#[test]
fn secrets_are_base64() {
    let entry = msg().bytes(1, "k").bytes(2, [0xff, 0x00]);
    let empty = msg().bytes(1, "e");
    let secret = msg().bytes(2, entry).bytes(2, empty).bytes(3, "Opaque");
    check(
        "v1",
        "Secret",
        &secret,
        json!({"data": {"k": "/wA=", "e": ""}, "type": "Opaque"}),
    );
}

#[test]
fn times_are_rfc_3339() {
    let time = msg().int(1, 1_700_000_000).int(2, 123_456_000);
    let spec = msg().bytes(1, "").int(2, 15).bytes(3, &time);
    let meta = msg().bytes(1, "l").bytes(9, &time);
    let lease = msg().bytes(1, meta).bytes(2, spec);
    check(
        "coordination.k8s.io/v1",
        "Lease",
        &lease,
        json!({
            "metadata": {"name": "l", "deletionTimestamp": "2023-11-14T22:13:20Z"},
            "spec": {"holderIdentity": "", "leaseDurationSeconds": 15,
                "acquireTime": "2023-11-14T22:13:20.123456Z"},
        }),
    );
}

#[test]
fn options_travel_under_any_group() {
    let options = msg()
        .int(1, 0)
        .bytes(2, msg().bytes(1, "u"))
        .bytes(4, "Foreground")
        .bytes(5, "All");
    check(
        "apps/v1",
        "DeleteOptions",
        &options,
        json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u"},
            "propagationPolicy": "Foreground", "dryRun": ["All"]}),
    );
}

#[test]
fn reviews_hold_lists_in_maps() {
    let groups = msg()
        .bytes(1, "scope")
        .bytes(2, msg().bytes(1, "a").bytes(1, "b"));
    let spec = msg().bytes(3, "me").bytes(5, groups);
    check(
        "authorization.k8s.io/v1",
        "SubjectAccessReview",
        &msg().bytes(2, spec),
        json!({"spec": {"user": "me", "extra": {"scope": ["a", "b"]}}}),
    );
}

#[test]
fn schemas_nest() {
    let number = msg().bytes(5, "integer").double(9, 5.0);
    let property = msg().bytes(1, "size").bytes(2, number);
    let list = msg()
        .bytes(5, "array")
        .bytes(24, msg().bytes(1, msg().bytes(5, "string")));
    let free = msg().bytes(5, "object").bytes(30, msg().int(1, 1));
    let schema = msg()
        .bytes(5, "object")
        .bytes(29, property)
        .bytes(29, msg().bytes(1, "list").bytes(2, list))
        .bytes(29, msg().bytes(1, "free").bytes(2, free))
        .bytes(8, msg().bytes(1, "{}"));
    let facts =
        facts::message("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
    let number = |wanted: &str| {
        let fields = &facts.as_ref().expect("the table has it").fields;
        fields
            .iter()
            .find(|fact| {
                matches!(&fact.content, facts::Content::Field { name, .. } if *name == wanted)
            })
            .map(|fact| fact.number)
    };
    assert_eq!(
        [
            "type",
            "default",
            "maximum",
            "items",
            "properties",
            "additionalProperties"
        ]
        .map(number),
        [Some(5), Some(8), Some(9), Some(24), Some(29), Some(30)]
    );
    let version = msg().bytes(1, "v1").bytes(4, msg().bytes(1, schema));
    let crd = msg().bytes(2, msg().bytes(1, "example.com").bytes(7, version));
    let decoded = decode(&body(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        &crd,
    ))
    .expect("the body is well formed");
    assert_eq!(
        decoded["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        json!({"type": "object", "default": {}, "properties": {
            "size": {"type": "integer", "maximum": 5},
            "list": {"type": "array", "items": {"type": "string"}},
            "free": {"type": "object", "additionalProperties": true},
        }})
    );
}

#[test]
fn malformed_bodies_are_refused() {
    let cases = [
        (
            b"{}".to_vec(),
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
        ),
        (
            body("v1", "Pod", &Writer(vec![0x0a, 9])),
            "unexpected EOF: a protobuf field is cut short",
        ),
        (
            body("v1", "Pod", &Writer(vec![0x0b])),
            "proto: illegal wireType 3",
        ),
        (
            body("v1", "Pod", &msg().int(1, 1)),
            "proto: wrong wireType for field metadata of io.k8s.api.core.v1.Pod",
        ),
        (
            body("serving.knative.dev/v1", "Service", &msg()),
            r#"no kind "Service" is registered for version "serving.knative.dev/v1": send it as application/json"#,
        ),
    ];
    for (body, text) in cases {
        assert_eq!(
            decode(&body).expect_err("it is malformed").to_string(),
            text
        );
    }
}
