//! Whatever bytes arrive: no decoder panics, and what was decoded survives encoding and the log.

use bytes::Bytes;
use cloudevents::{Event, Limits, Mode, Style, decode, decode_one, display, encode, encode_batch};
use proptest::prelude::*;

fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = prop_oneof![
        Just("ce-specversion".to_owned()),
        Just("ce-id".to_owned()),
        Just("Ce-Source".to_owned()),
        Just("CE-TYPE".to_owned()),
        Just("content-type".to_owned()),
        Just("ce-time".to_owned()),
        "ce-[a-z0-9-]{0,6}",
        "[ -~]{0,8}",
    ];
    let value = prop_oneof![
        Just(b"1.0".to_vec()),
        Just(b"0.3".to_vec()),
        Just(b"application/cloudevents+json".to_vec()),
        Just(b"application/cloudevents-batch+json".to_vec()),
        "[ -~]{0,12}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    (name, value)
}

/// JSON that is nearly an event.
fn json() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("\"1.0\"".to_owned()),
        Just("\"0.3\"".to_owned()),
        "\"[a-z%/:\\\\n]{0,6}\"",
        Just("{\"a\":[1,null]}".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        Just("\"AP8=\"".to_owned()),
    ];
    let name = prop_oneof![
        Just("data".to_owned()),
        Just("data_base64".to_owned()),
        Just("datacontenttype".to_owned()),
        Just("datacontentencoding".to_owned()),
        Just("dataschema".to_owned()),
        Just("time".to_owned()),
        "[a-zA-Z0-9\\\\u]{0,5}",
    ];
    let rest = proptest::collection::vec((name, value), 0..6);
    (any::<bool>(), rest).prop_map(|(old, rest)| {
        let version = if old { "0.3" } else { "1.0" };
        let mut out =
            format!("{{\"specversion\":\"{version}\",\"id\":\"1\",\"source\":\"/\",\"type\":\"t\"");
        for (name, value) in rest {
            out += &format!(",\"{name}\":{value}");
        }
        out + "}"
    })
}

/// Everything one can do with an event; none of it may lose anything.
#[allow(clippy::unwrap_used)] // a property fails by panicking, too
fn survives(event: &Event) -> Result<(), TestCaseError> {
    let limits = Limits::default();
    let _ = display(event, Style::Current);
    let stored = Event::from_record(&event.to_record().into()).unwrap();
    prop_assert_eq!(&stored, event);
    let structured = encode(event, Mode::Structured);
    let back = decode_one(&structured.headers, structured.body, &limits).unwrap();
    prop_assert_eq!(back.version(), event.version());
    prop_assert_eq!(back.id(), event.id());
    let batch = encode_batch([event, event]);
    prop_assert_eq!(
        decode(&batch.headers, batch.body, &limits).unwrap().len(),
        2
    );
    let binary = encode(event, Mode::Binary);
    let back = decode_one(&binary.headers, binary.body, &limits).unwrap();
    prop_assert_eq!(back.source(), event.source());
    prop_assert_eq!(
        back.data().cloned().unwrap_or_default(),
        event.data().cloned().unwrap_or_default()
    );
    Ok(())
}

#[test]
fn what_no_header_may_hold_is_coded() {
    let headers: [(&str, &[u8]); 4] = [
        ("ce-specversion", b"1.0"),
        ("ce-id", b"a\x0eb"),
        ("ce-source", b"/"),
        ("ce-type", b"t"),
    ];
    let event = decode_one(&headers[..], Bytes::new(), &Limits::default()).expect("an event");
    assert_eq!(event.id(), "a\u{e}b");
    assert_eq!(encode(&event, Mode::Binary).headers["ce-id"], "a%0Eb");
}

proptest! {
    #[test]
    fn no_request_panics(headers in proptest::collection::vec(header(), 0..8), body in proptest::collection::vec(any::<u8>(), 0..40)) {
        for event in decode(&headers[..], body.into(), &Limits::default()).unwrap_or_default() {
            survives(&event)?;
        }
    }

    #[test]
    fn no_json_panics(json in json()) {
        let headers = [("content-type", "application/cloudevents+json")];
        if let Ok(event) = decode_one(&headers[..], json.into(), &Limits::default()) {
            survives(&event)?;
        }
    }

    #[test]
    fn no_record_panics(record in proptest::collection::vec(any::<u8>(), 0..60), head in any::<bool>()) {
        let mut bytes = record;
        if head && bytes.len() > 4 {
            bytes[..4].copy_from_slice(&[1, 1, 0, 1]);
        }
        if let Ok(event) = Event::from_record(&Bytes::from(bytes)) {
            let _ = display(&event, Style::Validated);
            let _ = encode(&event, Mode::Binary);
        }
    }
}
