//! Values and how Go prints them.

use super::*;

#[test]
fn durations_read_and_print_as_in_go() {
    let cases = [
        ("0", "0s"),
        ("60s", "1m0s"),
        ("1h", "1h0m0s"),
        ("1.5h", "1h30m0s"),
        ("-1m30.5s", "-1m30.5s"),
        ("300ms", "300ms"),
        ("1500us", "1.5ms"),
        ("+5ns", "5ns"),
        (".5s", "500ms"),
        ("2h45m0.000000001s", "2h45m0.000000001s"),
    ];
    for (input, printed) in cases {
        assert_eq!(
            format_duration(parse_duration(input).unwrap()),
            printed,
            "{input}"
        );
    }
}

#[test]
fn bad_durations_get_go_sentences() {
    let cases = [
        ("", "time: invalid duration \"\""),
        ("5", "time: missing unit in duration \"5\""),
        ("5d", "time: unknown unit \"d\" in duration \"5d\""),
        ("jan", "time: invalid duration \"jan\""),
        ("1.2.3s", "time: invalid duration \"1.2.3s\""),
        ("9999999h", "time: invalid duration \"9999999h\""),
    ];
    for (input, error) in cases {
        assert_eq!(parse_duration(input).unwrap_err(), error);
    }
}

#[test]
fn numbers_read_as_in_go() {
    assert_eq!(parse_int("-7", 32), Ok(-7));
    assert_eq!(parse_int("+7", 32), Ok(7));
    let range = "strconv.ParseInt: parsing \"2147483648\": value out of range";
    assert_eq!(parse_int("2147483648", 32), Err(range.to_owned()));
    let syntax = "strconv.ParseInt: parsing \"1.0\": invalid syntax";
    assert_eq!(parse_int("1.0", 32), Err(syntax.to_owned()));
    assert_eq!(parse_float("1e3"), Ok(1000.0));
    assert!(parse_float("1e999").is_err());
    assert!(parse_bool("yes").is_err());
}

#[test]
fn floats_print_as_in_go() {
    for (value, printed) in [
        (1.0, "1"),
        (0.01, "0.01"),
        (1e21, "1e+21"),
        (1e-5, "1e-05"),
        (123.456, "123.456"),
        (-0.5, "-0.5"),
    ] {
        assert_eq!(format_float(value), printed);
    }
}

#[test]
fn quotes_as_in_go() {
    assert_eq!(quote("a\"b\\c\n\u{1}"), r#""a\"b\\c\n\x01""#);
}
