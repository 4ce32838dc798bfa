//! Objects to be created: a Service with one container, and what a test changes in it.

use serde_json::{Map, Value, json};

/// An object being written.
#[derive(Clone, Debug)]
pub struct Draft(pub Value);

impl Draft {
    /// A Service that runs `image`.
    pub fn service(name: &str, image: &str) -> Self {
        Self(json!({
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
        }))
    }

    /// A Configuration that runs `image`.
    pub fn configuration(name: &str, image: &str) -> Self {
        Self::service(name, image).put("kind", json!("Configuration"))
    }

    /// A Route to the latest revision of `configuration`.
    pub fn route(name: &str, configuration: &str) -> Self {
        Self(json!({
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Route",
            "metadata": {"name": name},
            "spec": {"traffic": [{"configurationName": configuration, "percent": 100}]},
        }))
    }

    /// Sets what lies at `path` (words and positions with dots between them).
    pub fn put(mut self, path: &str, value: Value) -> Self {
        put(&mut self.0, path, value);
        self
    }

    /// An annotation of the revision template.
    pub fn annotate(mut self, key: &str, value: &str) -> Self {
        let template = at(&mut self.0, "spec.template.metadata.annotations");
        template[key] = json!(value);
        self
    }

    /// `autoscaling.knative.dev/KEY` of the revision template.
    pub fn scale(self, key: &str, value: impl ToString) -> Self {
        self.annotate(
            &format!("autoscaling.knative.dev/{key}"),
            &value.to_string(),
        )
    }

    /// A label of the object itself.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        at(&mut self.0, "metadata.labels")[key] = json!(value);
        self
    }

    /// A field of the revision's specification.
    pub fn revision(self, field: &str, value: Value) -> Self {
        self.put(&format!("spec.template.spec.{field}"), value)
    }

    /// A field of the first container.
    pub fn container(self, field: &str, value: Value) -> Self {
        self.put(&format!("spec.template.spec.containers.0.{field}"), value)
    }

    /// One more environment variable of the first container.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        let env = at(&mut self.0, "spec.template.spec.containers.0.env");
        if !env.is_array() {
            *env = json!([]);
        }
        env.as_array_mut()
            .expect("made an array above")
            .push(json!({"name": name, "value": value}));
        self
    }

    /// Port 8080 by the name that selects the protocol.
    pub fn port_name(self, name: &str) -> Self {
        self.container("ports", json!([{"name": name, "containerPort": 8080}]))
    }
}

/// Sets what lies at `path` of `object`.
pub fn put(object: &mut Value, path: &str, value: Value) {
    *at(object, path) = value;
}

/// What lies at `path`; objects on the way are made, positions of arrays must be there.
pub fn at<'a>(object: &'a mut Value, path: &str) -> &'a mut Value {
    let mut place = object;
    for word in path.split('.') {
        place = match word.parse::<usize>() {
            Ok(position) if place.is_array() => &mut place[position],
            _ => {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                &mut place[word]
            }
        };
    }
    if place.is_null() && (path.ends_with("labels") || path.ends_with("annotations")) {
        *place = json!({});
    }
    place
}
