//! What the broker cannot do, on its way to the plans: they show it in the conditions of the objects.
//! The broker of this process tells, its driver learns; with controllers in a process of their own
//! nobody is told, and conditions follow the objects alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::api::delivery::Key;
use ::api::world::Fact;
use broker::Report;
use controller::Handle;
use serde_json::json;

/// See the module; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Troubles(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// What there is now: a driver that comes later has to know it, too.
    messages: BTreeMap<Key, String>,
    driver: Option<Handle>,
}

impl Troubles {
    /// The driver that is told from now on.
    pub(crate) fn attach(&self, driver: Handle) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, message) in &known.messages {
            driver.learn(fact(key), json!({"message": message}));
        }
        known.driver = Some(driver);
    }
}

impl Report for Troubles {
    fn trouble(&self, key: &Key, why: Option<&str>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => drop(known.messages.insert(key.clone(), why.to_owned())),
            None => drop(known.messages.remove(key)),
        }
        let Some(driver) = &known.driver else { return };
        match why {
            Some(why) => driver.learn(fact(key), json!({"message": why})),
            None => driver.unlearn(fact(key)),
        }
    }
}

fn fact(key: &Key) -> Fact {
    Fact::Trouble {
        kind: key.kind,
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
    }
}
