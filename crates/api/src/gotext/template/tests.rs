//! Templates and what Go makes of them.

use serde_json::json;

use super::Template;

#[track_caller]
fn check(source: &str, expected: &str) {
    let data = json!({
        "Name": "hello",
        "Namespace": "ns",
        "Domain": "example.com",
        "Labels": {"app": "a"},
        "Annotations": null,
        "Request": {"Method": "GET", "Size": 3},
    });
    let got = Template::parse("t", source).and_then(|template| template.execute(&data));
    assert_eq!(got.unwrap_or_else(|error| error), expected, "{source}");
}

#[test]
fn templates_of_the_config_maps() {
    check(
        "{{.Name}}.{{ .Namespace }}.{{.Domain}}",
        "hello.ns.example.com",
    );
    check("{{index .Labels \"app\"}}-{{.Name}}", "a-hello");
    check("{{if index .Annotations \"sub\"}}x{{else}}y{{end}}", "y");
    check("a {{- if eq .Namespace \"ns\" -}} b {{- end }}c", "abc");
    check("{{if false}}1{{else if true}}2{{else}}3{{end}}", "2");
    check(
        "{{with .Request}}{{.Method}} {{$.Name}}{{end}}",
        "GET hello",
    );
    check("{{.Request.Method | printf \"%s-%d\" .Name}}", "hello-GET");
    check("{{js \"a\\\"b<\"}}{{/* nothing */}}", "a\\\"b\\u003C");
    check(
        "{{len .Labels}} {{.Request.Size}} {{not true}}",
        "1 3 false",
    );
    check("{{(index .Labels \"app\")}}{{or \"\" \"d\"}}", "ad");
    check("{{`raw}}`}}", "raw}}");
}

#[test]
fn mistakes_are_told_with_their_line() {
    check("{{.Name", "template: t:1: unclosed action");
    check("a\n{{.Nope}}", "template: t:2: can't evaluate field Nope");
    check(
        "{{nope .Name}}",
        "template: t:1: function \"nope\" not defined",
    );
    check("{{if .Name}}", "template: t:1: unexpected EOF");
    check("{{end}}", "template: t:1: unexpected {{end}}");
    check("{{}}", "template: t:1: missing value for command");
}

#[test]
fn objects_are_printed_as_maps() {
    let data = json!({"items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}],
        "data": {"y": 2, "x": 1}, "none": []});
    for (source, expected) in [
        (
            "{{range .items}}{{.metadata.name}}{{\"\\n\"}}{{end}}",
            "a\nb\n",
        ),
        ("{{range .data}}{{.}},{{end}}", "1,2,"),
        ("{{range .none}}x{{else}}none{{end}}", "none"),
        ("{{range .gone}}x{{end}}{{.gone}}", "<no value>"),
        (
            "{{range .items}}{{len $.items}}{{.kind}}{{end}}",
            "2<no value>2<no value>",
        ),
        ("{{println .data.x .data.y}}", "1 2\n"),
        (
            "{{range 3}}{{end}}",
            "template: t:1: range can't iterate over 3",
        ),
        ("{{range .items}}", "template: t:1: unexpected EOF"),
    ] {
        let got = Template::parse("t", source).and_then(|template| template.print(&data));
        assert_eq!(got.unwrap_or_else(|error| error), expected, "{source}");
    }
}
