//! Who may post: the bearer token of the request and the EventPolicies of the address.

use api::delivery::{Access, Allowed};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};

use super::Event;
use crate::answer::Answer;
use crate::filters::Filter;
use crate::tokens::Tokens;

/// Who sends, as far as that was asked.
pub(crate) enum Sender {
    /// Nobody asked.
    Anyone,
    /// The subject of a valid token.
    Subject(String),
}

/// An [`Access`] with its filters compiled.
pub(crate) struct Guard {
    audience: Option<String>,
    allowed: Option<Vec<(Vec<String>, Filter)>>,
}

impl Guard {
    pub(crate) fn new(access: &Access) -> Self {
        let compile = |allowed: &Allowed| (allowed.subjects.clone(), Filter::new(&allowed.filters));
        let allowed = access.allowed.as_ref();
        Self {
            audience: access.audience.clone(),
            allowed: allowed.map(|policies| policies.iter().map(compile).collect()),
        }
    }

    /// Whether no event is refused for who sent it, once the token is checked.
    pub(crate) fn is_open(&self) -> bool {
        self.allowed.is_none()
    }

    /// Checks the token, where one is asked for.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        tokens: &dyn Tokens,
    ) -> Result<Sender, Answer> {
        let Some(audience) = &self.audience else {
            return Ok(Sender::Anyone);
        };
        let refused = |why: String| {
            let text = format!(
                "{why}: send `Authorization: Bearer TOKEN` with a service account's token for audience {audience}"
            );
            Answer::text(StatusCode::UNAUTHORIZED, text)
        };
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| refused("there is no token".into()))?;
        let subject = tokens.verify(token.trim(), audience).await;
        subject.map(Sender::Subject).map_err(refused)
    }

    /// Checks the policies, where there are any.
    pub(crate) fn authorize(&self, sender: &Sender, event: &Event) -> Result<(), Box<Answer>> {
        let (Some(allowed), Sender::Subject(subject)) = (&self.allowed, sender) else {
            return Ok(());
        };
        let admits = |(subjects, filter): &(Vec<String>, Filter)| {
            subjects.iter().any(|pattern| matches(pattern, subject)) && filter.passes(event)
        };
        if allowed.iter().any(admits) {
            return Ok(());
        }
        let text = format!("no EventPolicy lets {subject} send this event here");
        Err(Box::new(Answer::text(StatusCode::FORBIDDEN, text)))
    }
}

/// A subject's name, or its beginning with `*` after it.
fn matches(pattern: &str, subject: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => subject.starts_with(beginning),
        None => pattern == subject,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_ends_a_beginning() {
        let subject = "system:serviceaccount:ns:sa";
        for (pattern, expected) in [
            ("system:serviceaccount:ns:sa", true),
            ("system:serviceaccount:ns:*", true),
            ("*", true),
            ("system:serviceaccount:ns", false),
            ("system:serviceaccount:other:*", false),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern}");
        }
    }
}
