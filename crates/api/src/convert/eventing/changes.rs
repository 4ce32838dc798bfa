//! What older versions spelled otherwise, each in both directions.

use serde_json::{Map, Value, json};

use crate::convert::{Form, take, take_all};

/// One difference between an older version and the stored one.
pub(super) struct Change {
    /// To the stored version; what it cannot say goes into the form.
    pub(super) up: fn(&mut Value, &mut Form) -> Result<(), String>,
    /// To the older version.
    pub(super) down: fn(&mut Value, &Form),
}

/// A Broker said what its channels are made of. Ours needs none; the words come back.
pub(super) const CHANNEL_TEMPLATE: Change = Change {
    up: |object, form| {
        let spec = object.get_mut("spec");
        let said = spec.map(|spec| take_all(spec, &["channelTemplate", "channelTemplateSpec"]));
        form.extend(said.unwrap_or_default());
        Ok(())
    },
    down: |object, form| {
        for key in ["channelTemplate", "channelTemplateSpec"] {
            if let Some(said) = form.get(key) {
                object["spec"][key] = said.clone();
            }
        }
    },
};

/// An address had a host name besides its URL.
pub(super) const HOSTNAME: Change = Change {
    up: |object, _| {
        if let Some(address) = object.get_mut("status").and_then(|s| s.get_mut("address")) {
            take(address, "hostname");
        }
        Ok(())
    },
    down: |object, _| {
        let Some(address) = object.get_mut("status").and_then(|s| s.get_mut("address")) else {
            return;
        };
        let url = address.get("url").and_then(Value::as_str);
        let rest = url.and_then(|url| url.split_once("://"));
        let host = rest.and_then(|(_, rest)| rest.split(['/', ':']).next());
        if let Some(host) = host.map(str::to_owned) {
            address["hostname"] = json!(host);
        }
    },
};

/// A Trigger without a Broker listened to the one called `default`.
pub(super) const DEFAULT_BROKER: Change = Change {
    up: |object, _| {
        let spec = &mut object["spec"];
        if spec.is_object() && spec["broker"].as_str().unwrap_or_default().is_empty() {
            spec["broker"] = json!("default");
        }
        Ok(())
    },
    down: |_, _| {},
};

/// `filter.sourceAndType` came before `filter.attributes`.
pub(super) const SOURCE_AND_TYPE: Change = Change {
    up: |object, form| {
        let Some(filter) = object
            .get_mut("spec")
            .and_then(|spec| spec.get_mut("filter"))
        else {
            return Ok(());
        };
        let Some(said) = take(filter, "sourceAndType") else {
            return Ok(());
        };
        if filter
            .get("attributes")
            .is_some_and(|attributes| !attributes.is_null())
        {
            return Err(
                "You can filter by either SourceAndType or Attributes, not both: \
                        spec.filter.sourceAndType, spec.filter.attributes"
                    .to_owned(),
            );
        }
        let set = said.as_object().into_iter().flatten();
        let set = set.filter(|(_, value)| value.as_str().is_some_and(|text| !text.is_empty()));
        let attributes: Map<String, Value> = set.map(|(k, v)| (k.clone(), v.clone())).collect();
        filter["attributes"] = Value::Object(attributes);
        form.insert("sourceAndType".to_owned(), said);
        Ok(())
    },
    down: |object, form| {
        let Some(said) = form.get("sourceAndType").and_then(Value::as_object) else {
            return;
        };
        let filter = &mut object["spec"]["filter"];
        let attributes = filter["attributes"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        if attributes
            .keys()
            .any(|key| key != "source" && key != "type")
        {
            return;
        }
        // An empty value meant any, and is no attribute now.
        let empty = said.iter().filter(|(_, value)| **value == "");
        let mut back: Map<String, Value> = empty.map(|(k, v)| (k.clone(), v.clone())).collect();
        back.extend(attributes);
        *filter = json!({"sourceAndType": back});
    },
};

/// Where destinations can stand in a spec.
const DESTINATIONS_AT: &[&str] = &["sink", "subscriber", "reply", "delivery/deadLetterSink"];

/// A destination could be a bare reference, or a DNS name.
pub(super) const DESTINATIONS: Change = Change {
    up: |object, form| {
        each_destination(object, |path, destination| {
            let inline = take_all(destination, &["apiVersion", "kind", "name", "namespace"]);
            if !inline.is_empty() {
                destination["ref"] = Value::Object(inline);
                form.insert(format!("{path}/inline"), json!(true));
            }
            if let Some(name) = take(destination, "dnsName") {
                destination["uri"] =
                    json!(format!("http://{}/", name.as_str().unwrap_or_default()));
                form.insert(format!("{path}/dnsName"), name);
            }
        });
        Ok(())
    },
    down: |object, form| {
        each_destination(object, |path, destination| {
            if form.contains_key(&format!("{path}/inline"))
                && let Some(Value::Object(reference)) = take(destination, "ref")
            {
                for (field, value) in reference {
                    destination[field] = value;
                }
            }
            if let Some(name) = form.get(&format!("{path}/dnsName"))
                && destination["uri"]
                    .as_str()
                    .and_then(|uri| uri.strip_prefix("http://"))
                    == name.as_str().map(|name| format!("{name}/")).as_deref()
            {
                take(destination, "uri");
                destination["dnsName"] = name.clone();
            }
        });
    },
};

fn each_destination(object: &mut Value, mut visit: impl FnMut(&str, &mut Value)) {
    let Some(spec) = object.get_mut("spec") else {
        return;
    };
    for path in DESTINATIONS_AT {
        if let Some(found) = spec
            .pointer_mut(&format!("/{path}"))
            .filter(|d| d.is_object())
        {
            visit(path, found);
        }
    }
    for list in ["steps", "branches"] {
        for (index, item) in spec[list].as_array_mut().into_iter().flatten().enumerate() {
            if list == "steps" {
                visit(&format!("{list}/{index}"), item);
                continue;
            }
            for field in ["filter", "subscriber", "reply"] {
                if let Some(found) = item.get_mut(field).filter(|found| found.is_object()) {
                    visit(&format!("{list}/{index}/{field}"), found);
                }
            }
        }
    }
    if let Some(map) = spec.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
}

/// `status.subscriberURI` became `status.subscriberUri`.
pub(super) const SUBSCRIBER_URI: Change = Change {
    up: |object, _| {
        rename(
            object.get_mut("status"),
            &[("subscriberURI", "subscriberUri")],
        );
        Ok(())
    },
    down: |object, _| {
        rename(
            object.get_mut("status"),
            &[("subscriberUri", "subscriberURI")],
        )
    },
};

/// Of the addresses behind a Subscription.
const URIS: &[(&str, &str)] = &[
    ("subscriberURI", "subscriberUri"),
    ("replyURI", "replyUri"),
    ("deadLetterSinkURI", "deadLetterSinkUri"),
];

/// The same in `status.physicalSubscription`.
pub(super) const PHYSICAL_URIS: Change = Change {
    up: |object, _| {
        rename(object.pointer_mut("/status/physicalSubscription"), URIS);
        Ok(())
    },
    down: |object, _| {
        rename(
            object.pointer_mut("/status/physicalSubscription"),
            &back(URIS),
        )
    },
};

/// Subscribers stood in `subscribable`, and their state in `subscribableStatus`.
pub(super) const SUBSCRIBABLE: Change = Change {
    up: |object, form| {
        lift(object.get_mut("spec"), "subscribable", URIS, form);
        lift(object.get_mut("status"), "subscribableStatus", &[], form);
        Ok(())
    },
    down: |object, form| {
        lower(object.get_mut("spec"), "subscribable", &back(URIS), form);
        lower(object.get_mut("status"), "subscribableStatus", &[], form);
    },
};

/// `spec.reply.channel` became `spec.reply.ref`.
pub(super) const REPLY_CHANNEL: Change = Change {
    up: |object, form| {
        let reply = object
            .pointer_mut("/spec/reply")
            .filter(|reply| reply.is_object());
        if let Some(reply) = reply
            && let Some(channel) = take(reply, "channel")
        {
            reply["ref"] = channel;
            form.insert("replyChannel".to_owned(), json!(true));
        }
        Ok(())
    },
    down: |object, form| {
        let reply = object
            .pointer_mut("/spec/reply")
            .filter(|reply| reply.is_object());
        if let Some(reply) = reply
            && form.contains_key("replyChannel")
            && let Some(reference) = take(reply, "ref")
        {
            reply["channel"] = reference;
        }
    },
};

fn lift(object: Option<&mut Value>, field: &str, names: &[(&str, &str)], form: &mut Form) {
    let Some(object) = object else { return };
    let Some(mut wrapper) = take(object, field) else {
        return;
    };
    if let Some(mut subscribers) = take(&mut wrapper, "subscribers") {
        for subscriber in subscribers.as_array_mut().into_iter().flatten() {
            rename(Some(subscriber), names);
        }
        object["subscribers"] = subscribers;
    } else {
        form.insert(field.to_owned(), wrapper);
    }
}

fn lower(object: Option<&mut Value>, field: &str, names: &[(&str, &str)], form: &Form) {
    let Some(object) = object else { return };
    if let Some(mut subscribers) = take(object, "subscribers") {
        for subscriber in subscribers.as_array_mut().into_iter().flatten() {
            rename(Some(subscriber), names);
        }
        object[field] = json!({"subscribers": subscribers});
    } else if let Some(wrapper) = form.get(field) {
        object[field] = wrapper.clone();
    }
}

fn rename(object: Option<&mut Value>, names: &[(&str, &str)]) {
    let Some(object) = object else { return };
    for (from, to) in names {
        if let Some(value) = take(object, from) {
            object[*to] = value;
        }
    }
}

fn back(names: &'static [(&str, &str)]) -> Vec<(&'static str, &'static str)> {
    names.iter().map(|(old, new)| (*new, *old)).collect()
}
