//! Rules of CustomResourceDefinitions in the Common Expression Language: kubectl hears when one is
//! broken, and when one is no rule.

use std::time::Duration;

use system::Instance;

const PATIENCE: Duration = Duration::from_secs(60);

/// A definition whose specification has this rule.
fn definition(rule: &str) -> String {
    format!(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: pools.test.example}}
spec:
  group: test.example
  scope: Namespaced
  names: {{plural: pools, singular: pool, kind: Pool, listKind: PoolList}}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          x-kubernetes-validations:
            - rule: self.metadata.name.startsWith('p')
              message: names begin with p
          properties:
            spec:
              type: object
              x-kubernetes-validations:
                - rule: {rule:?}
                  messageExpression: \"'at most ' + string(self.max)\"
                - rule: self.max >= oldSelf.max
                  message: a pool only grows
                  reason: FieldValueForbidden
                  fieldPath: .max
              properties:
                min: {{type: integer}}
                max: {{type: integer}}
"
    )
}

fn pool(name: &str, min: i64, max: i64) -> String {
    format!(
        "
apiVersion: test.example/v1
kind: Pool
metadata: {{name: {name}}}
spec: {{min: {min}, max: {max}}}
"
    )
}

#[test]
fn rules_are_checked_when_they_are_made_and_when_they_are_used() {
    let instance = Instance::start();
    let refused = instance.apply(&definition("self.least <= self.max"));
    let refused = refused.expect_failure();
    let wanted = "compilation failed: ERROR: <input>:1:5: undefined field 'least'";
    assert!(refused.contains(wanted), "{refused}");
    instance.apply(&definition("self.min <= self.max")).expect();
    instance.eventually(PATIENCE, || instance.apply(&pool("pond", 1, 2)).ok);
    for (object, wanted) in [
        (
            pool("pit", 3, 2),
            "spec: Invalid value: \"object\": at most 2",
        ),
        (
            pool("lake", 1, 2),
            "<nil>: Invalid value: \"object\": names begin with p",
        ),
        (pool("pond", 1, 1), "spec.max: Forbidden: a pool only grows"),
    ] {
        let refused = instance.apply(&object).expect_failure();
        assert!(refused.contains(wanted), "{refused}");
    }
    instance.apply(&pool("pond", 1, 3)).expect();
}
