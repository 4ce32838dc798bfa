//! What Dockerfiles mean, as tables: the text, and the plan of the stage that is built.

use dockerfile::{Base, Config, Dockerfile, From, Mode, Options, Origin, Source, Stage, Step};

fn options(args: &[(&str, &str)], target: Option<&str>) -> Options {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Options {
        target: target.map(str::to_owned),
        build_args: args.iter().map(pair).collect(),
        architecture: "amd64".to_owned(),
    }
}

/// The stage with everything it stands on; images have one variable and one command.
fn plan(file: &Dockerfile, number: usize, options: &Options) -> Result<Stage, dockerfile::Error> {
    let base = match file.base(number, options)? {
        From::Scratch => Base::default(),
        From::Stage(earlier) => plan(file, earlier, options)?.as_base(),
        From::Image(name) => Base::image(Config {
            env: vec!["PATH=/bin".to_owned()],
            cmd: Some(vec!["base".to_owned()]),
            on_build: match name.as_str() {
                "trigger" => vec!["RUN t $A".to_owned(), "COPY <<E /e\nx\nE".to_owned()],
                _ => Vec::new(),
            },
            ..Config::default()
        }),
    };
    file.plan(number, &base, options)
}

fn build(text: &str, options: &Options) -> Result<Stage, dockerfile::Error> {
    let file = Dockerfile::parse(text)?;
    let target = file.target(options)?;
    plan(&file, target, options)
}

/// The steps in short.
fn steps(stage: &Stage) -> Vec<String> {
    let short = |step: &Step| match step {
        Step::Workdir(path) => format!("dir {path}"),
        Step::Run(run) => {
            let env = run.env.iter().filter(|pair| *pair != "PATH=/bin");
            let mut words: Vec<String> = env.cloned().collect();
            words.push(format!("{:?}", run.argv));
            if !run.user.is_empty() {
                words.push(format!("user={}", run.user));
            }
            if let Some(text) = &run.stdin {
                words.push(format!("stdin={text:?}"));
            }
            format!("run in {}: {}", run.cwd, words.join(" "))
        }
        Step::Copy(copy) => {
            let from = match &copy.from {
                Source::Context => String::new(),
                Source::Stage(number) => format!("stage {number}: "),
                Source::Image(name) => format!("image {name}: "),
            };
            let origins: Vec<String> = copy
                .origins
                .iter()
                .map(|origin| match origin {
                    Origin::Path(path) | Origin::Url(path) => path.clone(),
                    Origin::Git(one) => format!("{}@{}:{}", one.url, one.reference, one.directory),
                    Origin::Inline { name, text } => format!("{name}={text:?}"),
                })
                .collect();
            let mut more = String::new();
            if let Some(chown) = &copy.chown {
                more.push_str(&format!(" {}:{:?}", chown.user, chown.group));
            }
            match &copy.chmod {
                Some(Mode::Bits(bits)) => more.push_str(&format!(" {bits:o}")),
                Some(Mode::Letters(text)) => more.push_str(&format!(" {text}")),
                None => {}
            }
            if copy.parents {
                more.push_str(" with parents");
            }
            if copy.unpacks {
                more.push_str(" unpacks");
            }
            format!("copy {from}{} to {}{more}", origins.join(" "), copy.dest)
        }
    };
    let planned = stage.planned.iter().filter_map(|one| one.step.as_ref());
    planned.map(short).collect()
}

#[track_caller]
fn check(text: &str, args: &[(&str, &str)], target: Option<&str>, expected: &[&str]) {
    let stage = build(text, &options(args, target));
    let found = stage.map(|stage| steps(&stage));
    assert_eq!(
        found,
        Ok(expected.iter().map(|s| (*s).to_owned()).collect()),
        "{text}"
    );
}

#[track_caller]
fn config(text: &str, expected: &str) {
    let stage = build(text, &options(&[], None)).expect(text);
    let mut config = stage.config;
    config.env.retain(|pair| pair != "PATH=/bin");
    let found = serde_json::to_string(&config).expect("json");
    assert_eq!(found, expected, "{text}");
}

#[test]
fn copies_of_later_syntax() {
    check(
        "FROM a\nARG V=v1\nADD --keep-git-dir https://h/r.git#$V:sub /src\n\
         COPY --parents --chmod=go-w ./a/./b/*.txt c /d/\nADD --checksum=abc git@h:r.git /s/",
        &[],
        None,
        &[
            "copy https://h/r.git@v1:sub to /src unpacks",
            "copy ./a/./b/*.txt c to /d/ go-w with parents",
            "copy git@h:r.git@: to /s/ unpacks",
        ],
    );
}

#[test]
fn variables() {
    check(
        "ARG V=1\nARG W=${V}x\nFROM a:$V\nARG W\nARG X=d\nENV X=e Y=$X\nRUN p $W",
        &[("V", "2")],
        None,
        &[r#"run in /: X=e Y=d W=2x ["/bin/sh", "-c", "p $W"]"#],
    );
    check(
        "FROM a\nARG A\nARG B=b\nRUN p",
        &[("A", "1"), ("B", ""), ("C", "3"), ("HTTP_PROXY", "h")],
        None,
        &[r#"run in /: A=1 B= ["/bin/sh", "-c", "p"]"#],
    );
    check(
        "FROM a\nARG TARGETARCH\nARG TARGETOS\nWORKDIR /$TARGETOS-${TARGETARCH:-x}",
        &[],
        None,
        &["dir /linux-amd64"],
    );
    // Arguments of a stage go on into stages that stand on it, and nowhere else.
    check(
        "FROM a AS b\nARG A=1\nFROM b\nRUN p\n",
        &[],
        None,
        &[r#"run in /: A=1 ["/bin/sh", "-c", "p"]"#],
    );
    check(
        "FROM a AS b\nARG A=1\nFROM a\nWORKDIR /x$A",
        &[],
        None,
        &["dir /x"],
    );
}

#[test]
fn runs() {
    check(
        "FROM a\nUSER u:g\nWORKDIR /w\nWORKDIR x/../y\nRUN [\"a\", \"$b\"]\nSHELL [\"sh\", \"-ec\"]\n\
         RUN a && \\\n    # why\n    b",
        &[],
        None,
        &[
            "dir /w",
            "dir /w/y",
            r#"run in /w/y: ["a", "$b"] user=u:g"#,
            r#"run in /w/y: ["sh", "-ec", "a &&     b"] user=u:g"#,
        ],
    );
    check(
        "FROM a\nRUN <<E\na\nb\nE\nRUN <<E\n#!/usr/bin/env python3\nprint()\nE\nRUN cat <<E > /f\n$x\nE",
        &[],
        None,
        &[
            r#"run in /: ["/bin/sh", "-c", "a\nb\n"]"#,
            "run in /: [\"/usr/bin/env\", \"python3\", \"/dev/stdin\"] \
             stdin=\"#!/usr/bin/env python3\\nprint()\\n\"",
            r#"run in /: ["/bin/sh", "-c", "cat <<E > /f\n$x\nE\n"]"#,
        ],
    );
}

#[test]
fn copies() {
    check(
        "FROM a AS One\nFROM b\nWORKDIR /w\nENV D=d U=u\nCOPY . .\nCOPY a $D\nCOPY a b ./$D/\n\
         COPY --from=one --chown=$U:g --chmod=0755 /x /y\nCOPY --from=0 /x /\nCOPY --from=img:1 /x /y\n\
         COPY [\"a b\", \"c/\"]\nADD x.tgz /opt\nADD http://h/x.tgz /opt/",
        &[],
        None,
        &[
            "dir /w",
            "copy . to /w/",
            "copy a to /w/d",
            "copy a b to /w/d/",
            r#"copy stage 0: /x to /y u:Some("g") 755"#,
            "copy stage 0: /x to /",
            "copy image img:1: /x to /y",
            "copy a b to /w/c/",
            "copy x.tgz to /opt unpacks",
            "copy http://h/x.tgz to /opt/ unpacks",
        ],
    );
    check(
        "FROM a\nENV X=1\nCOPY <<one.txt <<'two' f /d/\n$X\none.txt\n$X\ntwo\n",
        &[],
        None,
        &[r#"copy f one.txt="1\n" two="$X\n" to /d/"#],
    );
}

#[test]
fn triggers_of_the_base_come_first() {
    check(
        "FROM trigger\nRUN b",
        &[],
        None,
        &[
            r#"run in /: ["/bin/sh", "-c", "t $A"]"#,
            r#"copy e="x\n" to /e"#.replace("e=", "E=").as_str(),
            r#"run in /: ["/bin/sh", "-c", "b"]"#,
        ],
    );
    config(
        "FROM a\nONBUILD RUN x\nONBUILD COPY . /a",
        r#"{"Cmd":["base"],"OnBuild":["RUN x","COPY . /a"]}"#,
    );
}

#[test]
fn targets() {
    let text = "FROM a AS one\nRUN 1\nFROM one AS Two\nRUN 2\nFROM scratch\nCOPY --from=two / /";
    let run = |n: u32| format!(r#"run in /: ["/bin/sh", "-c", "{n}"]"#);
    check(text, &[], Some("one"), &[&run(1)]);
    check(text, &[], Some("TWO"), &[&run(2)]);
    check(text, &[], Some("1"), &[&run(2)]);
    check(text, &[], None, &["copy stage 1: / to /"]);
}

#[test]
fn configurations() {
    config(
        "FROM a\nENTRYPOINT e f",
        r#"{"Entrypoint":["/bin/sh","-c","e f"]}"#,
    );
    config(
        "FROM a\nCMD [\"c\"]\nENTRYPOINT [\"e\"]",
        r#"{"Entrypoint":["e"],"Cmd":["c"]}"#,
    );
    config("FROM a\nCMD []", r#"{"Cmd":[]}"#);
    config(
        "FROM scratch\nEXPOSE 80 53/udp 8000-8001\nVOLUME /a /b\nVOLUME [\"/c d\"]\nSTOPSIGNAL SIGINT\n\
         LABEL a=b \"c d\"=\"e f\" g=h\\ i\nUSER 1000",
        r#"{"User":"1000","ExposedPorts":{"53/udp":{},"80/tcp":{},"8000/tcp":{},"8001/tcp":{}},"Volumes":{"/a":{},"/b":{},"/c d":{}},"Labels":{"a":"b","c d":"e f","g":"h i"},"StopSignal":"SIGINT"}"#,
    );
    config(
        "FROM scratch\nENV A 1 2\nENV B=$A C=\"x y\" A=3\nENV B=4",
        r#"{"Env":["A=3","B=4","C=x y"]}"#,
    );
    config(
        "FROM scratch\nHEALTHCHECK --interval=5s --retries=2 CMD curl x || exit 1",
        r#"{"Healthcheck":{"Test":["CMD-SHELL","curl x || exit 1"],"Interval":5000000000,"Retries":2}}"#,
    );
    config(
        "FROM scratch\nHEALTHCHECK NONE",
        r#"{"Healthcheck":{"Test":["NONE"]}}"#,
    );
    config(
        "# escape=`\nFROM scratch\nENV A=`\n\\x",
        r#"{"Env":["A="]}"#.replace("\"A=\"", "\"A=\\\\x\"").as_str(),
    );
}

/// A text, and the line and words of its mistake; nothing for none.
const MISTAKES: &[(&str, &str)] = &[
    ("", "1: there is no FROM: a Dockerfile needs at least one"),
    (
        "RUN a",
        "1: no build stage in current context: FROM comes first",
    ),
    ("FROM a\n\nRUM x", "3: unknown instruction: RUM"),
    ("FROM a\nRUN", "2: RUN requires at least one argument"),
    (
        "FROM a b",
        "1: FROM requires an image, or an image AS a name",
    ),
    ("FROM $X", "1: base name ($X) should not be blank"),
    (
        "FROM a AS 1x",
        "1: invalid name for build stage: \"1x\", name can't start with a number or contain symbols",
    ),
    (
        "FROM a AS b\nFROM c AS B",
        "2: there are two stages with the name \"b\"",
    ),
    (
        "FROM a\nCOPY x",
        "2: COPY requires at least two arguments: source and target",
    ),
    (
        "FROM a\nCOPY --fro=b x /",
        "2: COPY does not know the flag --fro",
    ),
    (
        "FROM a\nCOPY a b c",
        "2: When using COPY with more than one source file, the destination must be a directory and end with a /",
    ),
    ("FROM a\nCOPY --from=z x /\nFROM b AS c", ""),
    (
        "FROM a AS x\nCOPY --from=later x /\nFROM b AS later\nFROM x",
        "2: --from=later: only stages further up can be copied from",
    ),
    (
        "FROM a\nCOPY http://a/b /",
        "2: source can't be a URL for COPY",
    ),
    (
        "FROM a\nADD https://a/b.git?c=d /",
        "2: ADD https://a/b.git?c=d: unknown query \"c\"",
    ),
    (
        "FROM a\nADD --checksum=sha256:1 a /",
        "2: ADD --checksum is for one URL",
    ),
    (
        "FROM a\nCOPY --chmod=u+y a b",
        "2: --chmod=u+y: permissions are octal digits (755) or letters (u=rwX,go=rX)",
    ),
    ("FROM a\nENV A", "2: A needs a value: A=VALUE"),
    ("FROM a\nEXPOSE x", "2: invalid containerPort: x"),
    (
        "FROM a\nSHELL sh",
        "2: SHELL requires the arguments to be in JSON form",
    ),
    (
        "FROM a\nONBUILD ONBUILD RUN x",
        "2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
    ),
    (
        "FROM a\nONBUILD FROM x",
        "2: FROM isn't allowed as an ONBUILD trigger",
    ),
    (
        "FROM a\nHEALTHCHECK DO x",
        "2: unknown type \"DO\" in HEALTHCHECK (try CMD)",
    ),
    (
        "FROM a\nHEALTHCHECK --retries=0 CMD x",
        "2: --retries=0 is not a positive number",
    ),
    (
        "FROM a\nRUN --network=host x",
        "2: RUN --network=host is not allowed: default or none",
    ),
    ("FROM a\nWORKDIR ${X:?is needed}", "2: X: is needed"),
    (
        "FROM --platform=linux/s390x a",
        "1: --platform=linux/s390x: this builder builds for linux/amd64 only",
    ),
];

#[test]
fn mistakes_say_where_and_what() {
    for (text, expected) in MISTAKES {
        let found = build(text, &options(&[], None)).err();
        let found = found.map(|error| error.to_string()).unwrap_or_default();
        let expected = match *expected {
            "" => String::new(),
            expected => format!("Dockerfile:{expected}"),
        };
        assert_eq!(found, expected, "{text}");
    }
    let file = Dockerfile::parse("FROM a").expect("a file");
    let error = file.target(&options(&[], Some("x"))).expect_err("no stage");
    assert_eq!(error.message, "target stage \"x\" could not be found");
}

#[test]
fn arguments_nobody_asks_for_are_found() {
    let file = Dockerfile::parse("ARG A\nFROM a\nARG B").expect("a file");
    let options = options(
        &[("A", "1"), ("B", "1"), ("C", "1"), ("no_proxy", "1")],
        None,
    );
    assert_eq!(file.unused_args(&options), ["C"]);
}
