//! JSONata's functions that `jsonata-rs` has not. Still missing after them: `$eval`, `$formatNumber`,
//! `$formatInteger`, `$parseInteger`.

use jsonata_rs::{ArrayFlags, Error, FunctionContext, JsonAta, Value};
use rand::seq::SliceRandom;

type Result<'a> = std::result::Result<&'a Value<'a>, Error>;

/// Makes them known under their names.
pub(super) fn register(jsonata: &JsonAta<'_>) {
    jsonata.register_function("average", 1, average);
    jsonata.register_function("type", 1, type_of);
    jsonata.register_function("sift", 2, sift);
    jsonata.register_function("spread", 1, spread);
    jsonata.register_function("shuffle", 1, shuffle);
    jsonata.register_function("formatBase", 2, format_base);
    jsonata.register_function("encodeUrl", 1, |cx, args| encode(&cx, args, URL_KEPT));
    jsonata.register_function("encodeUrlComponent", 1, |cx, args| {
        encode(&cx, args, COMPONENT_KEPT)
    });
    jsonata.register_function("decodeUrl", 1, decode);
    jsonata.register_function("decodeUrlComponent", 1, decode);
}

/// What stays as it is in a component of a URL, besides letters and digits …
const COMPONENT_KEPT: &str = "-_.!~*'()";
/// … and in a whole one.
const URL_KEPT: &str = "-_.!~*'();/?:@&=+$,#";

/// The argument, or the context where there is none.
fn given<'a>(cx: &FunctionContext<'a, '_>, args: &[&'a Value<'a>]) -> &'a Value<'a> {
    args.first().copied().unwrap_or(cx.input)
}

fn wrong(cx: &FunctionContext<'_, '_>, why: &str) -> Error {
    Error::D3137Error(format!("${}: {why}", cx.name))
}

fn average<'a>(cx: FunctionContext<'a, '_>, args: &[&'a Value<'a>]) -> Result<'a> {
    let value = given(&cx, args);
    if value.is_undefined() {
        return Ok(value);
    }
    if value.is_number() {
        return Ok(Value::number(cx.arena, value.as_f64()));
    }
    if !value.is_array() || !value.is_array_of_valid_numbers()? {
        return Err(wrong(&cx, "the argument must be an array of numbers"));
    }
    if value.is_empty() {
        return Ok(Value::undefined());
    }
    let sum: f64 = value.members().map(Value::as_f64).sum();
    let count = u32::try_from(value.len()).unwrap_or(u32::MAX);
    Ok(Value::number(cx.arena, sum / f64::from(count)))
}

fn type_of<'a>(cx: FunctionContext<'a, '_>, args: &[&'a Value<'a>]) -> Result<'a> {
    let value = given(&cx, args);
    let name = match value {
        value if value.is_undefined() => return Ok(value),
        value if value.is_null() => "null",
        value if value.is_number() => "number",
        value if value.is_string() => "string",
        value if value.is_bool() => "boolean",
        value if value.is_array() => "array",
        value if value.is_function() => "function",
        _ => "object",
    };
    Ok(Value::string(cx.arena, name))
}

/// The entries of an object in the order of their names.
fn entries<'a>(object: &'a Value<'a>) -> Vec<(&'a str, &'a Value<'a>)> {
    let mut entries: Vec<_> = object
        .entries()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    entries.sort_by_key(|(name, _)| *name);
    entries
}

fn sift<'a>(cx: FunctionContext<'a, '_>, args: &[&'a Value<'a>]) -> Result<'a> {
    let (object, keeps) = match args {
        [keeps] => (cx.input, *keeps),
        [object, keeps, ..] => (*object, *keeps),
        [] => return Err(wrong(&cx, "a function is needed")),
    };
    if object.is_undefined() {
        return Ok(object);
    }
    if !object.is_object() || !keeps.is_function() {
        return Err(wrong(&cx, "an object and a function are needed"));
    }
    let kept = Value::object(cx.arena);
    for (name, value) in entries(object) {
        let mut given: Vec<&'a Value<'a>> = vec![value, Value::string(cx.arena, name), object];
        given.truncate(keeps.arity().max(1));
        let answer = cx.evaluate_function(keeps, &given)?;
        if cx.trampoline_evaluate_value(answer)?.is_truthy() {
            kept.insert(name, value);
        }
    }
    Ok(if kept.entries().len() == 0 {
        Value::undefined()
    } else {
        kept
    })
}

fn spread<'a>(cx: FunctionContext<'a, '_>, args: &[&'a Value<'a>]) -> Result<'a> {
    let value = given(&cx, args);
    if !value.is_array() && !value.is_object() {
        return Ok(value);
    }
    let all = Value::array(cx.arena, ArrayFlags::SEQUENCE);
    let objects: Vec<&'a Value<'a>> = match value.is_array() {
        true => value.members().collect(),
        false => vec![value],
    };
    for object in objects {
        if !object.is_object() {
            all.push(object);
            continue;
        }
        for (name, value) in entries(object) {
            let one = Value::object(cx.arena);
            one.insert(name, value);
            all.push(one);
        }
    }
    Ok(all)
}

fn shuffle<'a>(cx: FunctionContext<'a, '_>, args: &[&'a Value<'a>]) -> Result<'a> {
    let value = given(&cx, args);
    if !value.is_array() {
        return Ok(value);
    }
    let mut members: Vec<&'a Value<'a>> = value.members().collect();
    members.shuffle(&mut rand::rng());
    let shuffled = Value::array_with_capacity(cx.arena, members.len(), ArrayFlags::SEQUENCE);
    for member in members {
        shuffled.push(member);
    }
    Ok(shuffled)
}

#[allow(clippy::cast_possible_truncation)] // What is beyond an i64 has no digits a person reads.
fn format_base<'a>(cx: FunctionContext<'a, '_>, args: &[&'a Value<'a>]) -> Result<'a> {
    let value = given(&cx, args);
    if value.is_undefined() {
        return Ok(value);
    }
    let radix = match args.get(1) {
        Some(radix) if radix.is_number() => radix.as_f64() as i64,
        _ => 10,
    };
    let radix = u64::try_from(radix)
        .ok()
        .filter(|radix| (2..=36).contains(radix));
    let radix = radix.ok_or_else(|| wrong(&cx, "the radix must be between 2 and 36"))?;
    if !value.is_number() {
        return Err(wrong(&cx, "the first argument must be a number"));
    }
    let number = value.as_f64().round_ties_even() as i64;
    let (mut left, mut digits) = (number.unsigned_abs(), Vec::new());
    while left > 0 || digits.is_empty() {
        let digit = u32::try_from(left % radix).unwrap_or(0);
        let radix = u32::try_from(radix).unwrap_or(10);
        digits.extend(char::from_digit(digit, radix));
        left /= u64::from(radix);
    }
    digits.extend((number < 0).then_some('-'));
    let text: String = digits.iter().rev().collect();
    Ok(Value::string(cx.arena, &text))
}

fn encode<'a>(cx: &FunctionContext<'a, '_>, args: &[&'a Value<'a>], kept: &str) -> Result<'a> {
    let value = given(cx, args);
    if value.is_undefined() {
        return Ok(value);
    }
    if !value.is_string() {
        return Err(wrong(cx, "the argument must be a string"));
    }
    let mut text = String::new();
    for byte in value.as_str().bytes() {
        let plain = byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte);
        match plain {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(Value::string(cx.arena, &text))
}

fn decode<'a>(cx: FunctionContext<'a, '_>, args: &[&'a Value<'a>]) -> Result<'a> {
    let value = given(&cx, args);
    if value.is_undefined() {
        return Ok(value);
    }
    if !value.is_string() {
        return Err(wrong(&cx, "the argument must be a string"));
    }
    let text = value.as_str().into_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(|| wrong(&cx, "a % without two digits behind it"))?);
        rest = &rest[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong(&cx, "what is coded is no UTF-8"))?;
    Ok(Value::string(cx.arena, &text))
}
