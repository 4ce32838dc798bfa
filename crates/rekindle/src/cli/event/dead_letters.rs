//! `rekindle event dead-letters list|show|resend|delete`: what could not be delivered, another try,
//! and its end.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use cloudevents::{Limits, Style};
use http::{HeaderMap, HeaderValue, Method, header};
use jiff::{Span, Timestamp};
use serde_json::Value;

use super::super::client::{Api, Target};
use super::super::output;
use super::{EVENTING, MESSAGING};
use crate::dead_letters::SUBRESOURCE;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// List dead letters, the oldest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// `json` prints the letters with their events.
        #[arg(long, short)]
        output: Option<String>,
    },
    /// Show one dead letter with its event.
    Show {
        /// Its ID in the list.
        id: u64,
        #[command(flatten)]
        filter: Filter,
    },
    /// Send dead letters to their Triggers' or Subscriptions' subscribers once more.
    Resend(Which),
    /// Throw dead letters away, such as those of a Trigger that is gone.
    Delete(Which),
}

/// Letters to do something to.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Their IDs in the list; they count for one Broker or channel.
    ids: Vec<u64>,
    #[command(flatten)]
    filter: Filter,
    /// All that the filters leave; without filters, all of the namespace.
    #[arg(long)]
    all: bool,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

/// What is done to letters.
struct Deed {
    method: Method,
    /// How it is done …
    done: &'static str,
    /// … to the letter of a subscriber.
    toward: &'static str,
}

const RESEND: Deed = Deed {
    method: Method::POST,
    done: "sent",
    toward: "to",
};
const DELETE: Deed = Deed {
    method: Method::DELETE,
    done: "deleted",
    toward: "of",
};

/// Which letters.
#[derive(Args, Debug)]
pub(crate) struct Filter {
    /// Of this Broker; default: of every Broker and channel.
    #[arg(long, conflicts_with = "channel")]
    broker: Option<String>,
    /// Of this channel.
    #[arg(long)]
    channel: Option<String>,
    /// Those this Trigger's subscriber did not take; of one that is gone, its UID.
    #[arg(long)]
    trigger: Option<String>,
    /// Those this Subscription's subscriber did not take; of one that is gone, its UID.
    #[arg(long, conflicts_with = "trigger")]
    subscription: Option<String>,
    /// Given up since then: a time (RFC 3339), or how long ago (`90m`, `2h`).
    #[arg(long)]
    since: Option<String>,
}

impl Filter {
    fn narrows(&self) -> bool {
        let named = [
            &self.broker,
            &self.channel,
            &self.trigger,
            &self.subscription,
        ];
        named.iter().any(|name| name.is_some()) || self.since.is_some()
    }
}

/// A Broker or channel that keeps events.
struct Ingress {
    /// `broker/default`.
    title: String,
    /// Where its dead letters are.
    path: String,
}

/// One dead letter.
struct Letter<'a> {
    ingress: &'a Ingress,
    value: Value,
}

pub(super) async fn run(target: &Target, verb: Verb) -> Result<()> {
    let api = target.connect().await?;
    match verb {
        Verb::List { filter, output } => {
            let ingresses = ingresses(&api, &filter).await?;
            let letters = letters(&api, &ingresses, &filter, &[]).await?;
            match output.as_deref() {
                Some("json") => {
                    let values: Vec<_> = letters.into_iter().map(|letter| letter.value).collect();
                    output::line(&serde_json::to_string_pretty(&values)?)
                }
                None => output::print(&listed(&letters, Timestamp::now())),
                Some(other) => bail!("--output {other}: only json is known"),
            }
        }
        Verb::Show { id, filter } => {
            let ingresses = ingresses(&api, &filter).await?;
            let letters = letters(&api, &ingresses, &filter, &[id]).await?;
            match &letters[..] {
                [letter] => output::print(&shown(letter)?),
                [] => bail!(missing(id)),
                more => bail!(
                    "{} dead letters have the ID {id}: name the --broker or --channel",
                    more.len()
                ),
            }
        }
        Verb::Resend(which) => act(&api, &which, &RESEND).await,
        Verb::Delete(which) => act(&api, &which, &DELETE).await,
    }
}

/// Does it to the letters that are meant.
async fn act(api: &Api, which: &Which, deed: &Deed) -> Result<()> {
    let Which { ids, filter, .. } = which;
    if ids.is_empty() && !which.all && !filter.narrows() {
        bail!("say which: IDs, a filter, or --all");
    }
    let ingresses = ingresses(api, filter).await?;
    if !ids.is_empty() && ingresses.len() > 1 {
        bail!("IDs count for one Broker or channel: name it with --broker or --channel");
    }
    let letters = letters(api, &ingresses, filter, ids).await?;
    for id in ids {
        if !letters.iter().any(|letter| letter.value["id"] == *id) {
            bail!(missing(*id));
        }
    }
    act_on(api, &letters, deed, which.dry_run).await
}

fn missing(id: u64) -> String {
    format!("there is no dead letter {id}; see `rekindle event dead-letters list`")
}

/// The Brokers and channels that are meant.
async fn ingresses(api: &Api, filter: &Filter) -> Result<Vec<Ingress>> {
    let namespace = &api.namespace;
    let ingress = |title: &str, group: &str, plural: &str, name: &str| Ingress {
        title: format!("{title}/{name}"),
        path: format!("{group}/namespaces/{namespace}/{plural}/{name}/{SUBRESOURCE}"),
    };
    let broker = |name: &str| ingress("broker", EVENTING, "brokers", name);
    let channel = |name: &str| ingress("channel", MESSAGING, "inmemorychannels", name);
    if let Some(name) = &filter.broker {
        return Ok(vec![broker(name)]);
    }
    if let Some(name) = &filter.channel {
        return Ok(vec![channel(name)]);
    }
    let mut all = Vec::new();
    let brokers = names(api, &format!("{EVENTING}/namespaces/{namespace}/brokers")).await?;
    all.extend(brokers.iter().map(|name| broker(name)));
    let path = format!("{MESSAGING}/namespaces/{namespace}/inmemorychannels");
    let channels = names(api, &path).await?;
    all.extend(channels.iter().map(|name| channel(name)));
    Ok(all)
}

async fn names(api: &Api, path: &str) -> Result<Vec<String>> {
    let list = api.get(path).await?;
    let items = list["items"].as_array().into_iter().flatten();
    let names = items.filter_map(|item| item["metadata"]["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

/// The letters that are meant, of each Broker and channel the oldest first.
async fn letters<'a>(
    api: &Api,
    ingresses: &'a [Ingress],
    filter: &Filter,
    ids: &[u64],
) -> Result<Vec<Letter<'a>>> {
    let mut query = Vec::new();
    if let Some(name) = filter.trigger.as_ref().or(filter.subscription.as_ref()) {
        query.push(format!("trigger={name}"));
    }
    if let Some(since) = &filter.since {
        query.push(format!("since={}", since_when(since, Timestamp::now())?));
    }
    let query = query.join("&");
    let mut letters = Vec::new();
    for ingress in ingresses {
        let mut list = api.get(&format!("{}?{query}", ingress.path)).await?;
        let Value::Array(items) = list["items"].take() else {
            bail!("{} answers no list of dead letters", ingress.path);
        };
        let wanted = items.into_iter().filter(|value| {
            ids.is_empty() || value["id"].as_u64().is_some_and(|id| ids.contains(&id))
        });
        letters.extend(wanted.map(|value| Letter { ingress, value }));
    }
    Ok(letters)
}

fn since_when(text: &str, now: Timestamp) -> Result<Timestamp> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let span: Span = text.parse().with_context(|| {
        format!("--since {text}: use a time such as 2026-01-31T12:00:00Z or how long ago, as 90m")
    })?;
    Ok(now.checked_sub(span)?)
}

async fn act_on(api: &Api, letters: &[Letter<'_>], deed: &Deed, dry_run: bool) -> Result<()> {
    let (mut well, mut failed) = (0, 0);
    let done = match dry_run {
        true => format!("would be {}", deed.done),
        false => deed.done.to_owned(),
    };
    for letter in letters {
        let id = &letter.value["id"];
        let dry = if dry_run { "&dryRun=All" } else { "" };
        let path = format!("{}?id={id}{dry}", letter.ingress.path);
        let method = deed.method.clone();
        let said = match api
            .request(method, &path, "application/json", Vec::new())
            .await
        {
            Ok(_) => {
                well += 1;
                done.clone()
            }
            Err(error) => {
                failed += 1;
                format!("not {}: {error:#}", deed.done)
            }
        };
        let (of, to) = (&letter.ingress.title, subscriber(&letter.value));
        output::line(&format!("{of} {id} {} {to}: {said}", deed.toward))?;
    }
    output::line(&format!("{well} {done}, {failed} failed."))?;
    if failed > 0 {
        bail!(
            "{failed} of {} dead letters were not {}",
            letters.len(),
            deed.done
        );
    }
    Ok(())
}

fn listed(letters: &[Letter<'_>], now: Timestamp) -> String {
    if letters.is_empty() {
        return "No dead letters found.\n".to_owned();
    }
    let head = [
        "OF",
        "ID",
        "SUBSCRIBER",
        "AGE",
        "CODE",
        "TYPE",
        "SOURCE",
        "EVENT-ID",
        "IN-SINK",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for letter in letters {
        let (value, event) = (&letter.value, &letter.value["event"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        rows.push(vec![
            letter.ingress.title.clone(),
            value["id"].to_string(),
            subscriber(value),
            age(value, now),
            value["code"].to_string(),
            text(&event["type"]),
            text(&event["source"]),
            text(&event["id"]),
            value["takenByDeadLetterSink"].to_string(),
        ]);
    }
    format!(
        "{}\n{} dead letters.\n",
        output::columns(&rows).trim_end(),
        letters.len()
    )
}

fn age(letter: &Value, now: Timestamp) -> String {
    let at = letter["givenUpAt"].as_str();
    let at: Option<Timestamp> = at.and_then(|at| at.parse().ok());
    at.map_or_else(
        || "<unknown>".to_owned(),
        |at| match now.as_second() - at.as_second() {
            seconds @ ..120 => format!("{seconds}s"),
            seconds @ ..7200 => format!("{}m", seconds / 60),
            seconds @ ..172_800 => format!("{}h", seconds / 3600),
            seconds => format!("{}d", seconds / 86_400),
        },
    )
}

fn subscriber(letter: &Value) -> String {
    let subscriber = &letter["subscriber"];
    match (subscriber["kind"].as_str(), subscriber["name"].as_str()) {
        (Some(kind), Some(name)) => format!("{}/{name}", kind.to_lowercase()),
        _ => format!("<gone: {}>", subscriber["uid"].as_str().unwrap_or_default()),
    }
}

fn shown(letter: &Letter<'_>) -> Result<String> {
    let value = &letter.value;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |title: &str, value: String| vec![format!("{title}:"), value];
    let mut rows = vec![
        row("ID", value["id"].to_string()),
        row("Of", letter.ingress.title.clone()),
        row("Subscriber", subscriber(value)),
        row("Given up", text(&value["givenUpAt"])),
        row("Sent to", text(&value["destination"])),
        row("Code", value["code"].to_string()),
    ];
    if let Some(answer) = value["answer"].as_str() {
        rows.push(row("Answer", answer.trim().to_owned()));
    }
    rows.push(row(
        "In dead letter sink",
        value["takenByDeadLetterSink"].to_string(),
    ));
    let mut headers = HeaderMap::new();
    let structured = HeaderValue::from_static("application/cloudevents+json");
    headers.insert(header::CONTENT_TYPE, structured);
    let limits = Limits {
        body_bytes_max: usize::MAX,
        ..Limits::default()
    };
    let body = serde_json::to_vec(&value["event"])?.into();
    let event = cloudevents::decode_one(&headers, body, &limits);
    let event = event.context("the dead letter holds no event")?;
    let event = cloudevents::display(&event, Style::Current);
    Ok(format!("{}\n{event}", output::columns(&rows)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ingress() -> Ingress {
        Ingress {
            title: "broker/default".to_owned(),
            path: String::new(),
        }
    }

    fn letter(ingress: &Ingress) -> Letter<'_> {
        Letter {
            ingress,
            value: json!({
                "id": 7,
                "subscriber": {"kind": "Trigger", "name": "t", "uid": "u"},
                "givenUpAt": "1970-01-01T00:00:00Z",
                "takenByDeadLetterSink": false,
                "destination": "http://nobody.ns",
                "code": 500,
                "answer": "oh no\n",
                "event": {"specversion": "1.0", "id": "1", "source": "/s", "type": "t",
                          "datacontenttype": "application/json", "data": {"a": 1}},
            }),
        }
    }

    #[test]
    fn letters_are_listed_and_counted() {
        let ingress = ingress();
        let now = Timestamp::from_second(300).expect("in range");
        expect_test::expect![[r#"
            OF               ID   SUBSCRIBER   AGE   CODE   TYPE   SOURCE   EVENT-ID   IN-SINK
            broker/default   7    trigger/t    5m    500    t      /s       1          false
            1 dead letters.
        "#]]
        .assert_eq(&listed(&[letter(&ingress)], now));
        assert_eq!(listed(&[], now), "No dead letters found.\n");
    }

    #[test]
    fn a_letter_is_shown_with_its_event() {
        let ingress = ingress();
        expect_test::expect![[r#"
            ID:                    7
            Of:                    broker/default
            Subscriber:            trigger/t
            Given up:              1970-01-01T00:00:00Z
            Sent to:               http://nobody.ns
            Code:                  500
            Answer:                oh no
            In dead letter sink:   false

            ☁️  cloudevents.Event
            Context Attributes,
              specversion: 1.0
              type: t
              source: /s
              id: 1
              datacontenttype: application/json
            Data,
              {
                "a": 1
              }
        "#]]
        .assert_eq(&shown(&letter(&ingress)).expect("an event"));
    }

    #[test]
    fn since_is_a_time_or_how_long_ago() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a time");
        let since = |text: &str| since_when(text, now).map(|at| at.to_string()).ok();
        let expected = |text: &str| Some(text.to_owned());
        assert_eq!(since("90m"), expected("2026-01-31T10:30:00Z"));
        assert_eq!(since("2h"), expected("2026-01-31T10:00:00Z"));
        assert_eq!(
            since("2026-01-01T00:00:00Z"),
            expected("2026-01-01T00:00:00Z")
        );
        assert_eq!(since("yesterday"), None);
    }
}
