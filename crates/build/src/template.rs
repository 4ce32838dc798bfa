//! A template's steps in a Build: `${NAME}` becomes the value of the parameter of that name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::plan::Invalid;

/// The Build's spec with the template's steps and volumes in it, everything filled in.
///
/// # Errors
/// The arguments do not fit the parameters.
pub(crate) fn apply(spec: &Value, template: &Value) -> Result<Value, Invalid> {
    let arguments = items(&spec["template"]["arguments"]);
    let parameters = items(&template["spec"]["parameters"]);
    check(arguments, parameters)?;
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for parameter in parameters {
        if let Some(default) = parameter["default"].as_str() {
            values.insert(text(&parameter["name"]), default.to_owned());
        }
    }
    for argument in arguments {
        values.insert(text(&argument["name"]), text(&argument["value"]));
    }
    let fill = |text: &str| filled(text, &values);
    let mut env: Vec<Value> = items(&spec["template"]["env"]).to_vec();
    env.iter_mut().for_each(|one| at(one, &["value"], &fill));
    let mut steps = items(&template["spec"]["steps"]).to_vec();
    for step in &mut steps {
        fill_step(step, &fill);
        override_env(step, &env);
    }
    let mut volumes = items(&spec["volumes"]).to_vec();
    volumes.extend_from_slice(items(&template["spec"]["volumes"]));
    volumes
        .iter_mut()
        .for_each(|volume| fill_volume(volume, &fill));
    let mut spec = spec.clone();
    spec["steps"] = json!(steps);
    spec["volumes"] = json!(volumes);
    Ok(spec)
}

fn check(arguments: &[Value], parameters: &[Value]) -> Result<(), Invalid> {
    let mut given = BTreeSet::new();
    for argument in arguments {
        let name = text(&argument["name"]);
        if !given.insert(name.clone()) {
            let message = format!("duplicate argument name {name:?}");
            return Err(Invalid::new("DuplicateArgName", message));
        }
    }
    let wanting = |parameter: &&Value| {
        !parameter["default"].is_string() && !given.contains(&text(&parameter["name"]))
    };
    let missing: Vec<String> = parameters
        .iter()
        .filter(wanting)
        .map(|p| format!("{{{} {}}}", text(&p["name"]), text(&p["description"])))
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(" ");
        let message = format!("build does not specify these required parameters: [{missing}]");
        return Err(Invalid::new("UnsatisfiedParameter", message));
    }
    let nested = |parameter: &&Value| text(&parameter["default"]).contains("${");
    if let Some(parameter) = parameters.iter().find(nested) {
        let message = format!(
            "the default of parameter {:?} holds a placeholder; only steps and volumes may",
            text(&parameter["name"])
        );
        return Err(Invalid::new("NestedPlaceholder", message));
    }
    Ok(())
}

fn fill_step(step: &mut Value, fill: &dyn Fn(&str) -> String) {
    for field in ["name", "image", "workingDir"] {
        at(step, &[field], fill);
    }
    for list in ["args", "command"] {
        for word in step[list].as_array_mut().into_iter().flatten() {
            at(word, &[], fill);
        }
    }
    for variable in step["env"].as_array_mut().into_iter().flatten() {
        at(variable, &["value"], fill);
    }
    for mount in step["volumeMounts"].as_array_mut().into_iter().flatten() {
        for field in ["name", "mountPath", "subPath"] {
            at(mount, &[field], fill);
        }
    }
}

fn fill_volume(volume: &mut Value, fill: &dyn Fn(&str) -> String) {
    const NAMES: [&[&str]; 4] = [
        &["name"],
        &["configMap", "name"],
        &["secret", "secretName"],
        &["persistentVolumeClaim", "claimName"],
    ];
    for path in NAMES {
        at(volume, path, fill);
    }
}

/// Fills in the text at `path`, if there is one.
fn at(value: &mut Value, path: &[&str], fill: &dyn Fn(&str) -> String) {
    let mut place = Some(value);
    for key in path {
        place = place.and_then(|value| value.get_mut(*key));
    }
    if let Some(Value::String(text)) = place {
        *text = fill(text);
    }
}

/// Variables of the Build replace those of the step.
fn override_env(step: &mut Value, env: &[Value]) {
    if env.is_empty() {
        return;
    }
    let overridden = |one: &&Value| env.iter().any(|other| other["name"] == one["name"]);
    let mut kept: Vec<Value> = items(&step["env"])
        .iter()
        .filter(|one| !overridden(one))
        .cloned()
        .collect();
    kept.extend_from_slice(env);
    step["env"] = json!(kept);
}

/// The text with every `${NAME}` that has a value replaced, once: values are not looked into.
fn filled(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let after = &rest[start + 2..];
        let name = after.find('}').map(|end| &after[..end]);
        match name.and_then(|name| Some((name, values.get(name)?))) {
            Some((name, value)) => {
                out.push_str(value);
                rest = &after[name.len() + 1..];
            }
            None => {
                out.push_str("${");
                rest = after;
            }
        }
    }
    out + rest
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
