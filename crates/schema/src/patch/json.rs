//! JSON patch (RFC 6902), with the texts of the library Kubernetes uses.

use serde::Deserialize;
use serde_json::Value;

use super::Error;

/// The most operations one patch may have, Kubernetes' own limit. More is refused.
const OPERATIONS_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Add {
        path: String,
        value: Value,
    },
    Remove {
        path: String,
    },
    Replace {
        path: String,
        value: Value,
    },
    Move {
        from: String,
        path: String,
    },
    Copy {
        from: String,
        path: String,
    },
    Test {
        path: String,
        #[serde(default)]
        value: Value,
    },
}

/// Applies a JSON patch: all of it, or nothing.
///
/// # Errors
/// When the patch is malformed, too long, or an operation does not apply.
pub fn json_patch(object: &mut Value, patch: &Value) -> Result<(), Error> {
    let Some(operations) = patch.as_array() else {
        return Err(Error::Decode(
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch".to_owned(),
        ));
    };
    if operations.len() > OPERATIONS_MAX {
        return Err(Error::TooManyOperations {
            limit: OPERATIONS_MAX,
            count: operations.len(),
        });
    }
    let mut result = object.clone();
    for operation in operations {
        let operation = Operation::deserialize(operation)
            .map_err(|error| Error::Decode(format!("operation {operation}: {error}")))?;
        operation.apply(&mut result).map_err(Error::Operation)?;
    }
    *object = result;
    Ok(())
}

impl Operation {
    fn apply(self, document: &mut Value) -> Result<(), String> {
        match self {
            Self::Add { path, value } => add(document, "add", &path, value),
            Self::Remove { path } => remove(document, "remove", &path).map(drop),
            Self::Replace { path, value } => replace(document, &path, value),
            Self::Move { from, path } => {
                let value = remove(document, "move", &from)?;
                add(document, "move", &path, value)
            }
            Self::Copy { from, path } => {
                let value = document.pointer(&from).cloned().ok_or_else(|| {
                    format!("copy operation does not apply: doc is missing from path: {from}: missing value")
                })?;
                add(document, "copy", &path, value)
            }
            Self::Test { path, value } => {
                let found = document.pointer(&path).unwrap_or(&Value::Null);
                match *found == value {
                    true => Ok(()),
                    false => Err(format!("testing value {path} failed: test failed")),
                }
            }
        }
    }
}

/// The container `path` leads into, and the key in it.
fn container<'a>(
    document: &'a mut Value,
    operation: &str,
    path: &str,
) -> Result<(&'a mut Value, String), String> {
    let missing = || {
        format!(
            "{operation} operation does not apply: doc is missing path: \"{path}\": missing value"
        )
    };
    let (parent, key) = path.rsplit_once('/').ok_or_else(missing)?;
    let container = document
        .pointer_mut(parent)
        .filter(|value| value.is_object() || value.is_array())
        .ok_or_else(missing)?;
    Ok((container, key.replace("~1", "/").replace("~0", "~")))
}

fn index(key: &str, length: usize) -> Option<usize> {
    key.parse().ok().filter(|index| *index < length)
}

fn invalid_index(operation: &str, path: &str, key: &str) -> String {
    format!(
        "error in {operation} for path: '{path}': Unable to access invalid index: {key}: invalid index referenced"
    )
}

fn add(document: &mut Value, operation: &str, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    match container(document, operation, path)? {
        (Value::Array(items), key) if key == "-" => items.push(value),
        (Value::Array(items), key) => {
            let index =
                index(&key, items.len() + 1).ok_or_else(|| invalid_index(operation, path, &key))?;
            items.insert(index, value);
        }
        (container, key) => container[key] = value,
    }
    Ok(())
}

fn remove(document: &mut Value, operation: &str, path: &str) -> Result<Value, String> {
    match container(document, operation, path)? {
        (Value::Array(items), key) => {
            let index =
                index(&key, items.len()).ok_or_else(|| invalid_index(operation, path, &key))?;
            Ok(items.remove(index))
        }
        (container, key) => container
            .as_object_mut()
            .and_then(|fields| fields.remove(&key))
            .ok_or_else(|| {
                format!(
                    "error in {operation} for path: '{path}': Unable to remove nonexistent key: {key}: missing value"
                )
            }),
    }
}

fn replace(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let (container, key) = container(document, "replace", path)?;
    let slot = match container {
        Value::Array(items) => index(&key, items.len()).map(|index| &mut items[index]),
        fields => fields.get_mut(&key),
    };
    *slot.ok_or_else(|| {
        format!("replace operation does not apply: doc is missing key: {path}: missing value")
    })? = value;
    Ok(())
}
