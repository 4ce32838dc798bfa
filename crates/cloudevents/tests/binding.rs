//! The HTTP binding, the JSON format, the record and the printed form, by what peers see of them.

use bytes::Bytes;
use cloudevents::{
    Error, Event, Fault, Limits, Mode, SpecVersion, Style, Value, decode, decode_one, display,
    encode, encode_batch,
};

fn read(headers: &[(&str, &str)], body: &str) -> Result<Event, Error> {
    decode_one(
        headers,
        Bytes::copy_from_slice(body.as_bytes()),
        &Limits::default(),
    )
}

fn structured(body: &str) -> Result<Event, Error> {
    read(&[("Content-Type", "application/cloudevents+json")], body)
}

/// The first event of the Eventing tutorial.
fn greeting() -> Event {
    read(
        &[
            ("Ce-Id", "say-hello"),
            ("Ce-Specversion", "0.3"),
            ("Ce-Type", "greeting"),
            ("Ce-Source", "not-sendoff"),
            ("Content-Type", "application/json"),
        ],
        "{\"msg\":\"Hello Knative!\"}",
    )
    .expect("the tutorial's event")
}

/// Header lines without order, as text.
fn lines(event: &Event, mode: Mode) -> Vec<String> {
    let mut lines: Vec<_> = encode(event, mode)
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_binary_event_of_0_3_stays_one() {
    let event = greeting();
    assert_eq!(event.version(), SpecVersion::V03);
    assert_eq!((event.id(), event.kind()), ("say-hello", "greeting"));
    assert_eq!(
        lines(&event, Mode::Binary),
        [
            "ce-id: say-hello",
            "ce-source: not-sendoff",
            "ce-specversion: 0.3",
            "ce-type: greeting",
            "content-type: application/json",
        ]
    );
    assert_eq!(
        lines(&event, Mode::Structured),
        ["content-type: application/cloudevents+json"]
    );
    assert_eq!(
        encode(&event, Mode::Structured).body,
        "{\"specversion\":\"0.3\",\"id\":\"say-hello\",\"type\":\"greeting\",\"source\":\"not-sendoff\",\
         \"datacontenttype\":\"application/json\",\"data\":{\"msg\":\"Hello Knative!\"}}"
    );
}

#[test]
fn it_prints_as_event_display_does() {
    expect_test::expect![[r#"
        ☁️  cloudevents.Event
        Validation: valid
        Context Attributes,
          specversion: 0.3
          type: greeting
          source: not-sendoff
          id: say-hello
          datacontenttype: application/json
        Data,
          {
            "msg": "Hello Knative!"
          }
    "#]]
    .assert_eq(&display(&greeting(), Style::Validated));

    let event = structured(
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t","zeta":true,"alpha":42,
            "time":"2019-10-18T17:23:20.809000+02:00","datacontenttype":"application/json",
            "data":{"z":[],"a":{},"n":[1.50,"x, {y}: \"z\""]}}"#,
    )
    .unwrap();
    expect_test::expect![[r#"
        ☁️  cloudevents.Event
        Context Attributes,
          specversion: 1.0
          type: t
          source: s
          id: 1
          time: 2019-10-18T15:23:20.809Z
          datacontenttype: application/json
        Extensions,
          alpha: 42
          zeta: true
        Data,
          {
            "z": [],
            "a": {},
            "n": [
              1.50,
              "x, {y}: \"z\""
            ]
          }
    "#]]
    .assert_eq(&display(&event, Style::Current));
}

#[test]
fn binary_data_is_base64_in_json_and_bytes_in_a_body() {
    let event = structured(
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"image/png","data_base64":"AP8="}"#,
    )
    .unwrap();
    assert_eq!(event.data().unwrap(), &[0u8, 0xff][..]);
    assert_eq!(encode(&event, Mode::Binary).body, &[0u8, 0xff][..]);
    let again = encode(&event, Mode::Structured).body;
    assert!(String::from_utf8_lossy(&again).contains(r#""data_base64":"AP8=""#));

    let old = structured(
        r#"{"specversion":"0.3","id":"1","source":"/s","type":"t","datacontentencoding":"base64","data":"AP8="}"#,
    )
    .unwrap();
    assert_eq!(old.data().unwrap(), &[0u8, 0xff][..]);
    let names = lines(&old, Mode::Binary);
    assert!(
        !names
            .iter()
            .any(|line| line.contains("datacontentencoding"))
    );
    let again = encode(&old, Mode::Structured).body;
    assert!(
        String::from_utf8_lossy(&again)
            .ends_with(r#""datacontentencoding":"base64","data":"AP8="}"#)
    );
}

#[test]
fn text_data_is_a_string_in_json() {
    let event = structured(
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/plain","data":"a \"b\"\n"}"#,
    )
    .unwrap();
    assert_eq!(event.data().unwrap(), "a \"b\"\n");
    let again = encode(&event, Mode::Structured).body;
    assert!(String::from_utf8_lossy(&again).ends_with(r#""data":"a \"b\"\n"}"#));
    // JSON by default: a string is JSON, quotes and all.
    let event = structured(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"a"}"#);
    assert_eq!(event.unwrap().data().unwrap(), "\"a\"");
}

#[test]
fn header_values_go_on_as_they_came() {
    let event = read(
        &[
            ("ce-specversion", "1.0"),
            ("ce-id", "\"quoted \\\" id\""),
            ("ce-type", "100%"),
            ("ce-source", "/s"),
            ("ce-subject", "%41 b"),
        ],
        "",
    )
    .unwrap();
    assert_eq!((event.id(), event.kind()), ("quoted \" id", "100%"));
    assert_eq!(event.subject(), Some("A b"));
    let stored = Event::from_record(&event.to_record().into()).unwrap();
    assert_eq!(
        lines(&stored, Mode::Binary),
        [
            "ce-id: \"quoted \\\" id\"",
            "ce-source: /s",
            "ce-specversion: 1.0",
            "ce-subject: %41 b",
            "ce-type: 100%",
        ]
    );
}

#[test]
fn a_map_of_0_3_becomes_headers() {
    let event = structured(
        r#"{"specversion":"0.3","id":"1","source":"/s","type":"t","m":{"a":"x","B":2}}"#,
    )
    .unwrap();
    let lines = lines(&event, Mode::Binary);
    assert!(lines.contains(&"ce-m-a: x".to_owned()) && lines.contains(&"ce-m-b: 2".to_owned()));
}

#[test]
fn batches_are_lists_of_events() {
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let read = |body: &str| {
        decode(
            &batch[..],
            Bytes::copy_from_slice(body.as_bytes()),
            &Limits::default(),
        )
    };
    assert_eq!(read("[]"), Ok(Vec::new()));
    let events = read(
        r#"[{"specversion":"1.0","id":"1","source":"/s","type":"t","data":[1]},
            {"specversion":"0.3","id":"2","source":"/s","type":"t"}]"#,
    )
    .unwrap();
    assert_eq!(events[0].data().unwrap(), "[1]");
    let again = encode_batch(&events);
    assert_eq!(
        decode(&again.headers, again.body, &Limits::default()),
        Ok(events)
    );
    let error = read(r#"[{"specversion":"1.0","id":"1","source":"/s","type":"t"},{}]"#);
    assert_eq!(
        error.unwrap_err().to_string(),
        "event 1 of the batch: specversion: is required and must not be empty"
    );
    let one = decode_one(&batch[..], "[]".into(), &Limits::default());
    assert_eq!(one, Err(Error::Batch));
}

/// A header put among valid ones (or taken away, when empty), and the answer.
const WRONG_HEADERS: &[(&str, &str, &str)] = &[
    (
        "ce-specversion",
        "",
        "400 specversion: is required and must not be empty",
    ),
    (
        "ce-specversion",
        "2.0",
        "400 specversion \"2.0\" is not supported: use \"1.0\" or \"0.3\"",
    ),
    ("ce-id", "", "400 id: is required and must not be empty"),
    (
        "ce-type",
        " ",
        "400 type: is required and must not be empty",
    ),
    (
        "ce-source",
        "%zz",
        "400 source: is not a URI reference: two hexadecimal digits must follow each %",
    ),
    (
        "ce-time",
        "yesterday",
        "400 time: is not an RFC 3339 timestamp such as 2018-04-05T17:31:00Z",
    ),
    (
        "ce-my-extension",
        "x",
        "400 \"my-extension\" is no attribute name: use lower-case letters and digits only",
    ),
    (
        "ce-subject",
        "%ff",
        "400 subject: is not UTF-8, after percent-decoding",
    ),
    (
        "content-type",
        "application/cloudevents+xml",
        "415 event format \"application/cloudevents+xml\" is not supported: use application/cloudevents+json or ce- headers",
    ),
    (
        "content-type",
        "a b",
        "400 datacontenttype: is not a media type (RFC 2046) such as application/json",
    ),
];

/// A structured body and the answer.
const WRONG_BODIES: &[(&str, &str)] = &[
    (
        "{",
        "the body is not valid JSON of an event: EOF while parsing an object at line 1 column 1",
    ),
    (
        "{\"specversion\":1.0}",
        "specversion \"1.0\" is not supported: use \"1.0\" or \"0.3\"",
    ),
    (
        r#"{"specversion":"1.0","id":1,"source":"/s","type":"t"}"#,
        "id: must be a string",
    ),
    (
        r#"{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"}"#,
        "id: is given more than once",
    ),
    (
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","n":2147483648}"#,
        "n: is a number beyond 32 bits or with a fraction: send it as a string",
    ),
    (
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","o":{}}"#,
        "o: must be a string, a boolean or an integer of 32 bits: put structured values into the data",
    ),
    (
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":"AA"}"#,
        "data (or data_base64): is given more than once",
    ),
    (
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"%"}"#,
        "data_base64: is not Base64",
    ),
];

#[test]
fn what_is_wrong_is_said() {
    let base = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];
    let with = |name: &'static str, value: &'static str| {
        let mut headers: Vec<_> = base.iter().filter(|line| line.0 != name).copied().collect();
        if !value.is_empty() {
            headers.push((name, value));
        }
        let error = read(&headers, "").unwrap_err();
        assert_eq!(error.fault(), Fault::Sender);
        format!("{} {error}", error.status())
    };
    for (name, value, message) in WRONG_HEADERS {
        assert_eq!(with(name, value), *message);
    }
    assert_eq!(
        read(&[("content-type", "text/plain")], "x"),
        Err(Error::NotAnEvent)
    );
    for (body, message) in WRONG_BODIES {
        assert_eq!(structured(body).unwrap_err().to_string(), *message);
    }
}

#[test]
fn limits_are_the_listeners() {
    let limits = Limits {
        body_bytes_max: 4,
        attributes_max: 4,
        attribute_bytes_max: 8,
        ..Limits::default()
    };
    let base = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];
    let mut many: Vec<_> = base.to_vec();
    assert!(decode_one(&many[..], "1234".into(), &limits).is_ok());
    assert_eq!(
        decode_one(&many[..], "12345".into(), &limits)
            .unwrap_err()
            .status(),
        413
    );
    many.push(("ce-subject", "123456789"));
    assert_eq!(
        decode_one(&many[..], "".into(), &limits)
            .unwrap_err()
            .status(),
        413
    );
    many.pop();
    many.extend([("ce-a", "1"), ("ce-b", "1")]);
    assert_eq!(
        decode_one(&many[..], "".into(), &limits)
            .unwrap_err()
            .status(),
        413
    );
}

#[test]
fn attributes_can_be_set_and_removed() {
    let mut event = Event::new("1", "/s", "t").unwrap();
    event.set("knativebrokerttl", "255").unwrap();
    event.set("knativebrokerttl", 254).unwrap();
    event.set_data("application/json", "{}".into()).unwrap();
    assert_eq!(event.get("knativebrokerttl"), Some(&Value::Integer(254)));
    assert!(event.set("Bad", "x").is_err() && event.set("time", "x").is_err());
    assert!(event.set("specversion", "0.3").is_err());
    event.remove("knativebrokerttl");
    event.remove("id");
    assert_eq!(event.id(), "1");
    assert_eq!(event.extensions().count(), 0);
    assert!(Event::new("", "/s", "t").is_err());
}

#[test]
fn the_bytes_of_a_record_are_fixed() {
    let record = greeting().to_record();
    let expected: &[u8] = b"\x01\x00\x00\x01\x04\x00\x00\x09say-hello\x02\x00\x08greeting\
        \x01\x00\x0bnot-sendoff\x05\x00\x10application/json{\"msg\":\"Hello Knative!\"}";
    assert_eq!(record, expected);
    let later = Bytes::from_static(b"\x02\x00");
    assert_eq!(
        Event::from_record(&later).unwrap_err().fault(),
        Fault::Storage
    );
}
