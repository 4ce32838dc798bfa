//! Label selectors: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.

use std::collections::BTreeMap;

use serde_json::Value;

/// A conjunction of requirements; empty selects everything.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct LabelSelector(Vec<Requirement>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

impl LabelSelector {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses the query parameter's syntax.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser {
            rest: text.trim_start(),
        };
        let mut requirements = Vec::new();
        while !parser.rest.is_empty() {
            requirements.push(parser.requirement()?);
            if parser.rest.is_empty() {
                break;
            }
            parser.expect(',', "expected: ',' or 'end of string'")?;
            if parser.rest.is_empty() {
                return Err("found '', expected: identifier after ','".to_owned());
            }
        }
        Ok(Self(requirements))
    }

    /// The selector in an object (`matchLabels`, `matchExpressions`).
    pub(crate) fn from_value(selector: &Value) -> Self {
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let operator = Operator::In(vec![value.as_str().unwrap_or_default().to_owned()]);
            requirements.push(Requirement {
                key: key.clone(),
                operator,
            });
        }
        for expression in selector["matchExpressions"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let key = expression["key"].as_str().unwrap_or_default().to_owned();
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            let operator = match expression["operator"].as_str() {
                Some("In") => Operator::In(values),
                Some("NotIn") => Operator::NotIn(values),
                Some("DoesNotExist") => Operator::DoesNotExist,
                _ => Operator::Exists,
            };
            requirements.push(Requirement { key, operator });
        }
        Self(requirements)
    }

    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let number = || value?.parse::<i64>().ok();
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Operator::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn requirement(&mut self) -> Result<Requirement, String> {
        if self.eat("!") {
            let key = self.key()?;
            return Ok(Requirement {
                key,
                operator: Operator::DoesNotExist,
            });
        }
        let key = self.key()?;
        let operator = self.operator()?;
        Ok(Requirement { key, operator })
    }

    fn operator(&mut self) -> Result<Operator, String> {
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok(Operator::Exists);
        }
        if self.eat("!=") {
            return Ok(Operator::NotIn(vec![self.value()?]));
        }
        if self.eat("==") || self.eat("=") {
            return Ok(Operator::In(vec![self.value()?]));
        }
        if self.eat(">") {
            return Ok(Operator::GreaterThan(self.number()?));
        }
        if self.eat("<") {
            return Ok(Operator::LessThan(self.number()?));
        }
        match self.word() {
            "in" => Ok(Operator::In(self.values()?)),
            "notin" => Ok(Operator::NotIn(self.values()?)),
            found => {
                let found = if found.is_empty() { self.rest } else { found };
                Err(format!(
                    "found '{found}', expected: in, notin, =, ==, !=, gt, lt"
                ))
            }
        }
    }

    fn key(&mut self) -> Result<String, String> {
        let key = self.word().to_owned();
        if key.is_empty() {
            return Err(format!(
                "found '{}', expected: !, identifier, or 'end of string'",
                self.rest
            ));
        }
        match crate::field::qualified_name(&key).first() {
            Some(wrong) => Err(format!("key: Invalid value: \"{key}\": {wrong}")),
            None => Ok(key),
        }
    }

    fn value(&mut self) -> Result<String, String> {
        let value = self.word().to_owned();
        match crate::field::label_value(&value).first() {
            Some(wrong) => Err(format!(
                "values[0][value]: Invalid value: \"{value}\": {wrong}"
            )),
            None => Ok(value),
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        let word = self.word();
        word.parse().map_err(|_| {
            format!("values[0][value]: Invalid value: \"{word}\": for 'Gt', 'Lt' operators, the value must be an integer")
        })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        self.expect('(', "expected: '('")?;
        let mut values = vec![self.value()?];
        while self.eat(",") {
            values.push(self.value()?);
        }
        self.expect(')', "expected: ',', or ')'")?;
        Ok(values)
    }

    fn expect(&mut self, wanted: char, message: &str) -> Result<(), String> {
        if self.eat(wanted.encode_utf8(&mut [0; 4])) {
            return Ok(());
        }
        Err(format!("found '{}', {message}", self.rest))
    }

    fn eat(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else {
            return false;
        };
        self.rest = rest.trim_start();
        true
    }

    fn word(&mut self) -> &str {
        let special = |c: char| c.is_whitespace() || "!=<>(),".contains(c);
        let end = self.rest.find(special).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }
}
