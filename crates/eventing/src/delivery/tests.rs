//! Deliveries in virtual time. A subscriber is a function from what is sent to what it answers;
//! what the machine does is compared line by line.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::delivery::{Endpoint, Growth, Key, Policy, Start, Subscriber};
use api::world::TRIGGER;
use proptest::prelude::*;
use stdx::{Instant, Machine};

use super::*;

/// How long every request takes.
const LATENCY: Duration = Duration::from_millis(10);

fn rules() -> Rules {
    Rules {
        retry: 0,
        backoff: None,
        retry_after_max: None,
        has_target: true,
        replies: false,
        dead_letters: false,
        ordered: false,
        parallelism: 2,
        window: 4,
    }
}

fn exponential(retry: u32) -> Rules {
    Rules {
        retry,
        backoff: Some((Growth::Exponential, Duration::from_millis(100))),
        ..rules()
    }
}

fn event() -> Answer {
    Answer::Response {
        code: 200,
        has_event: true,
        retry_after: None,
        body: Vec::new(),
    }
}

fn busy(code: u16, seconds: u64) -> Answer {
    Answer::Response {
        code,
        has_event: false,
        retry_after: Some(Duration::from_secs(seconds)),
        body: b"busy".to_vec(),
    }
}

fn name(to: &Recipient) -> &'static str {
    match to {
        Recipient::Target => "target",
        Recipient::Reply => "reply",
        Recipient::DeadLetter(_) => "dls",
    }
}

fn line(output: &Output) -> String {
    match output {
        Output::Send {
            offset,
            to,
            attempt,
        } => format!("send {offset} to {}, {attempt}", name(to)),
        Output::Finished(offset, outcome) => match outcome {
            Outcome::Delivered => format!("{offset} delivered"),
            Outcome::DeadLettered(failure) => format!("{offset} dead-lettered {:?}", failure.code),
            Outcome::GivenUp(failure) => format!("{offset} given up {:?}", failure.code),
        },
        Output::Commit(offset) => format!("commit {offset}"),
    }
}

/// Plays the shell for the events `offered`; answers what happened when, in milliseconds.
fn play(rules: Rules, offered: &[Offset], answer: impl Fn(Offset, &str, u32) -> Answer) -> String {
    let mut delivery = Delivery::new(rules, 0, []);
    let mut offered = offered.iter().copied();
    let mut answers: BTreeMap<(Instant, Offset), Answer> = BTreeMap::new();
    let mut now = Instant::ZERO;
    let mut lines = String::new();
    loop {
        while delivery.room() > 0
            && let Some(offset) = offered.next()
        {
            delivery.handle(now, Input::Offer(offset));
        }
        while let Some(output) = delivery.poll_output() {
            let millis = now.since_origin().as_millis();
            lines.push_str(&format!("{millis:>4} {}\n", line(&output)));
            if let Output::Send {
                offset,
                to,
                attempt,
            } = output
            {
                let due = (now + LATENCY, offset);
                answers.insert(due, answer(offset, name(&to), attempt));
            }
        }
        let answered = answers.keys().next().map(|(at, _)| *at);
        let Some(next) = answered.into_iter().chain(delivery.poll_timeout()).min() else {
            return lines;
        };
        now = next;
        delivery.handle_timeout(now);
        while let Some(entry) = answers.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, offset), answer) = entry.remove_entry();
            delivery.handle(now, Input::Answered(offset, answer));
        }
    }
}

#[track_caller]
fn check(
    rules: Rules,
    offered: &[Offset],
    answer: impl Fn(Offset, &str, u32) -> Answer,
    expected: &str,
) {
    let expected: Vec<_> = expected.trim().lines().map(str::trim).collect();
    let got = play(rules, offered, answer);
    let got: Vec<_> = got.lines().map(str::trim).collect();
    assert_eq!(got, expected);
}

#[test]
fn events_go_out_in_parallel_and_the_position_follows_the_oldest() {
    check(
        rules(),
        &[0, 3, 4],
        |_, _, _| Answer::status(202),
        "0 send 0 to target, 0
         0 send 3 to target, 0
         10 0 delivered
         10 send 4 to target, 0
         10 3 delivered
         10 commit 4
         20 4 delivered
         20 commit 5",
    );
}

#[test]
fn exponential_backoff_doubles_from_the_delay_itself() {
    check(
        exponential(3),
        &[0],
        |_, _, attempt| Answer::status(if attempt < 3 { 503 } else { 200 }),
        "0 send 0 to target, 0
         110 send 0 to target, 1
         320 send 0 to target, 2
         730 send 0 to target, 3
         740 0 delivered
         740 commit 1",
    );
}

#[test]
fn linear_backoff_counts_from_zero_so_that_the_first_retry_is_at_once() {
    let linear = Rules {
        backoff: Some((Growth::Linear, Duration::from_millis(100))),
        ..exponential(3)
    };
    check(
        linear,
        &[0],
        |_, _, _| Answer::None,
        "0 send 0 to target, 0
         10 send 0 to target, 1
         120 send 0 to target, 2
         330 send 0 to target, 3
         340 0 given up None
         340 commit 1",
    );
}

#[test]
fn only_some_answers_are_tried_again() {
    for code in [404, 408, 409, 429, 500, 501, 503, 599] {
        assert_eq!(Answer::status(code).verdict(), Verdict::TryAgain, "{code}");
    }
    for code in [100, 301, 302, 400, 401, 403, 405, 413, 415, 422] {
        assert_eq!(Answer::status(code).verdict(), Verdict::Refused, "{code}");
    }
    for code in [200, 202, 204, 299] {
        assert_eq!(Answer::status(code).verdict(), Verdict::Taken, "{code}");
    }
    assert_eq!(Answer::None.verdict(), Verdict::TryAgain);
}

#[test]
fn retry_after_counts_for_429_and_503_up_to_its_maximum() {
    let with = |max: Option<u64>| Rules {
        retry_after_max: max.map(Duration::from_secs),
        ..exponential(1)
    };
    let waits = |max, code, seconds| with(max).wait(0, &busy(code, seconds)).as_millis();
    assert_eq!(waits(Some(5), 429, 3), 3_000);
    assert_eq!(waits(Some(5), 503, 60), 5_000);
    assert_eq!(waits(Some(5), 429, 0), 100, "the backoff is the least");
    assert_eq!(waits(Some(5), 500, 3), 100);
    assert_eq!(waits(None, 429, 3), 100);
    let longest = with(None).wait(u32::MAX, &Answer::None);
    assert_eq!(
        longest,
        Duration::from_secs(86_400),
        "waits do not overflow"
    );
}

#[test]
fn replies_go_on_and_their_failure_dead_letters_the_event() {
    let rules = Rules {
        replies: true,
        dead_letters: true,
        ..exponential(1)
    };
    check(
        rules.clone(),
        &[0],
        |_, _, _| event(),
        "0 send 0 to target, 0
         10 send 0 to reply, 0
         20 0 delivered
         20 commit 1",
    );
    check(
        rules,
        &[0],
        |_, to, _| match to {
            "target" => event(),
            "reply" => busy(500, 0),
            _ => Answer::status(200),
        },
        "0 send 0 to target, 0
         10 send 0 to reply, 0
         120 send 0 to reply, 1
         130 send 0 to dls, 0
         140 0 dead-lettered Some(500)
         140 commit 1",
    );
}

#[test]
fn an_answer_that_is_no_event_or_has_nowhere_to_go_ends_there() {
    let delivered = "0 send 0 to target, 0
         10 0 delivered
         10 commit 1";
    check(rules(), &[0], |_, _, _| event(), delivered);
    let replies = Rules {
        replies: true,
        ..rules()
    };
    check(replies, &[0], |_, _, _| Answer::status(200), delivered);
}

#[test]
fn without_a_subscriber_the_event_itself_is_the_reply() {
    let rules = Rules {
        has_target: false,
        replies: true,
        ..rules()
    };
    check(
        rules,
        &[0],
        |_, _, _| Answer::status(200),
        "0 send 0 to reply, 0
         10 0 delivered
         10 commit 1",
    );
}

#[test]
fn dead_letters_are_tried_again_by_the_same_policy_and_then_given_up() {
    let rules = Rules {
        dead_letters: true,
        ..exponential(1)
    };
    check(
        rules,
        &[0],
        |_, to, _| Answer::status(if to == "dls" { 503 } else { 400 }),
        "0 send 0 to target, 0
         10 send 0 to dls, 0
         120 send 0 to dls, 1
         130 0 given up Some(400)
         130 commit 1",
    );
}

#[test]
fn ordered_delivery_finishes_one_event_before_the_next() {
    let rules = Rules {
        ordered: true,
        parallelism: 9,
        ..exponential(1)
    };
    check(
        rules,
        &[0, 1],
        |offset, _, _| Answer::status(if offset == 0 { 500 } else { 200 }),
        "0 send 0 to target, 0
         110 send 0 to target, 1
         120 0 given up Some(500)
         120 send 1 to target, 0
         120 commit 1
         130 1 delivered
         130 commit 2",
    );
}

#[test]
fn unordered_delivery_goes_on_while_one_event_waits() {
    let rules = Rules {
        parallelism: 1,
        window: 2,
        ..exponential(1)
    };
    check(
        rules,
        &[0, 1, 2],
        |offset, _, attempt| {
            Answer::status(if (offset, attempt) == (0, 0) {
                500
            } else {
                200
            })
        },
        "0 send 0 to target, 0
         10 send 1 to target, 0
         20 1 delivered
         20 send 2 to target, 0
         30 2 delivered
         110 send 0 to target, 1
         120 0 delivered
         120 commit 3",
    );
}

#[test]
fn a_later_process_delivers_what_was_open_and_nothing_else() {
    let mut first = Delivery::new(rules(), 0, []);
    for offset in [0, 1, 2] {
        first.handle(Instant::ZERO, Input::Offer(offset));
    }
    first.handle(Instant::ZERO, Input::Answered(1, Answer::status(200)));
    let (next, open): (_, Vec<_>) = (first.next(), first.open().collect());
    assert_eq!((next, &open[..], first.committed()), (3, &[0, 2][..], 0));
    let mut second = Delivery::new(rules(), next, open);
    let lines: Vec<_> = std::iter::from_fn(|| second.poll_output())
        .map(|output| line(&output))
        .collect();
    assert_eq!(lines, ["send 0 to target, 0", "send 2 to target, 0"]);
    second.handle(Instant::ZERO, Input::Answered(0, Answer::status(200)));
    second.handle(Instant::ZERO, Input::Gone(2));
    second.handle(Instant::ZERO, Input::Answered(2, Answer::status(200)));
    let lines: Vec<_> = std::iter::from_fn(|| second.poll_output())
        .map(|output| line(&output))
        .collect();
    assert_eq!(lines, ["0 delivered", "commit 3"]);
    second.handle(Instant::ZERO, Input::Scanned(9));
    assert_eq!(second.poll_output(), Some(Output::Commit(9)));
    assert_eq!(second.in_flight(), 0);
}

#[test]
fn a_change_of_the_rules_holds_for_what_waits() {
    let with_letters = Rules {
        dead_letters: true,
        parallelism: 1,
        ..rules()
    };
    let mut delivery = Delivery::new(with_letters, 0, []);
    delivery.handle(Instant::ZERO, Input::Offer(0));
    delivery.handle(Instant::ZERO, Input::Offer(1));
    let without_target = Rules {
        has_target: false,
        ..rules()
    };
    delivery.handle(Instant::ZERO, Input::Change(without_target));
    delivery.handle(Instant::ZERO, Input::Answered(0, Answer::status(400)));
    let lines: Vec<_> = std::iter::from_fn(|| delivery.poll_output())
        .map(|output| line(&output))
        .collect();
    assert_eq!(
        lines,
        [
            "send 0 to target, 0",
            "1 delivered",
            "0 given up Some(400)",
            "commit 2"
        ]
    );
}

#[test]
fn dead_letters_tell_who_failed_and_how() {
    let endpoint = |url: &str| {
        Some(Endpoint {
            url: url.into(),
            ca_certs: None,
            audience: None,
        })
    };
    let subscriber = Subscriber {
        uid: "u".into(),
        key: Key::new(TRIGGER, "ns", "t"),
        filters: Vec::new(),
        target: endpoint("http://subscriber"),
        reply: endpoint("http://reply"),
        replies_to_ingress: false,
        policy: Policy::default(),
        ordered: false,
        parallelism: 0,
        start: Start::Now,
        replay: String::new(),
        service_account: None,
    };
    let extensions = |of_reply, answer| Failure::new(of_reply, answer).extensions(&subscriber);
    let text = |list: Vec<(&str, String)>| -> Vec<String> {
        list.into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    };
    assert_eq!(
        text(extensions(false, busy(422, 0))),
        [
            "knativeerrordest=http://subscriber",
            "knativeerrorcode=422",
            "knativeerrordata=YnVzeQ==",
        ]
    );
    assert_eq!(
        text(extensions(true, Answer::None)),
        ["knativeerrordest=http://reply", "knativeerrorcode=-1"]
    );
    let long = Answer::Response {
        code: 500,
        has_event: false,
        retry_after: None,
        body: vec![b'x'; 5_000],
    };
    let data = extensions(false, long).pop().map(|(_, value)| value.len());
    assert_eq!(data, Some(1_024));
}

proptest! {
    /// Whatever the subscriber answers: each event ends once, positions only rise and never pass
    /// an event that is not finished, and no bound is broken.
    #[test]
    fn every_event_ends_once_and_no_bound_is_broken(
        seed in any::<u64>(),
        ordered in any::<bool>(),
        dead_letters in any::<bool>(),
        replies in any::<bool>(),
        retry in 0u32..4,
    ) {
        let rules = Rules { ordered, dead_letters, replies, ..exponential(retry) };
        let parallelism = rules.requests_max();
        let window = rules.window;
        let mut random = stdx::Rng::new(seed);
        let mut delivery = Delivery::new(rules, 0, []);
        let (mut now, mut offered, mut sent) = (Instant::ZERO, 0, Vec::new());
        let (mut ended, mut committed) = (BTreeSet::new(), 0);
        const EVENTS: Offset = 40;
        while (ended.len() as Offset) < EVENTS {
            match random.below(3) {
                0 if delivery.room() > 0 && offered < EVENTS => {
                    delivery.handle(now, Input::Offer(offered));
                    offered += 1;
                }
                1 if !sent.is_empty() => {
                    let offset = sent.swap_remove(random.below(sent.len() as u64) as usize);
                    let answers = [Answer::None, Answer::status(200), event(), busy(503, 1), Answer::status(400)];
                    let answer = answers[random.below(5) as usize].clone();
                    delivery.handle(now, Input::Answered(offset, answer));
                }
                _ => {
                    now = delivery.poll_timeout().map_or(now, |at| at.max(now));
                    delivery.handle_timeout(now);
                }
            }
            while let Some(output) = delivery.poll_output() {
                match output {
                    Output::Send { offset, .. } => sent.push(offset),
                    Output::Finished(offset, _) => prop_assert!(ended.insert(offset)),
                    Output::Commit(offset) => {
                        prop_assert!(offset > committed);
                        committed = offset;
                        prop_assert!((0..offset).all(|earlier| ended.contains(&earlier)));
                    }
                }
            }
            prop_assert!(sent.len() <= parallelism);
            prop_assert!(delivery.open().count() <= window);
        }
        prop_assert_eq!(committed, EVENTS);
    }
}
