//! What every journal must do, told by running one. For tests only: every function panics with what is wrong.
//!
//! A store's tests implement [`Subject`] for it and call [`journal_conformance!`](crate::journal_conformance).

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this is a test suite: a panic is how it reports"
)]

use std::sync::Arc;

use super::entry::{Append, Chain, Digest, Epoch, Filter, NewEvent, NewSample, Request, Row, Standing};
use super::error::AppendError;
use super::rules::{
    EVENTS_PER_APPEND_MAX, META_BYTES_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, SAMPLES_PER_DEPLOYMENT_MAX,
};
use super::{Journal, chain};

/// A store under test, empty at first.
pub trait Subject {
    /// The open journal.
    fn journal(&self) -> Arc<dyn Journal>;
    /// Closes the journal and opens it again, as a new owner.
    fn reopen(&mut self);
}

/// Makes one test of every rule. Needs a function `fn() -> impl Subject` and one that runs a future to its end.
#[macro_export]
macro_rules! journal_conformance {
    ($subject:expr, $block_on:expr) => {
        $crate::journal_conformance!(@ $subject, $block_on,
            events_come_back_as_written_in_one_chain,
            an_append_from_an_old_picture_is_refused_and_changes_nothing,
            only_the_current_epoch_may_write,
            a_service_runs_one_deployment_at_a_time_in_each_environment,
            turns_are_unique_and_the_row_keeps_its_service,
            the_same_request_leads_to_the_same_deployment,
            what_is_out_of_bounds_is_refused,
            lists_are_filtered_bounded_and_ordered,
            the_newest_samples_stay,
            facts_are_replaced,
            everything_survives_a_new_owner,
            of_many_writers_with_one_picture_exactly_one_wins,
        );
    };
    (@ $subject:expr, $block_on:expr, $($rule:ident,)+) => {
        $(#[test]
        fn $rule() {
            let mut subject = $subject();
            $block_on($crate::journal::conformance::$rule(&mut subject));
        })+
    };
}

/// A well-formed first append of a deployment of a service with the same name: queued, turn 1, one event.
pub fn first_append(deployment: &str, epoch: Epoch) -> Append {
    Append {
        deployment: deployment.to_owned(),
        expected_seq: 0,
        epoch,
        events: vec![event("requested", "{}")],
        row: Row {
            service: deployment.to_owned(),
            environment: "production".to_owned(),
            state: "queued".to_owned(),
            standing: Standing::Queued,
            release: "r1".to_owned(),
            turn: 1,
            updated_unix_ms: 1_700_000_000_000,
        },
        request: None,
    }
}

/// An event at a fixed time.
pub fn event(kind: &str, payload: &str) -> NewEvent {
    NewEvent { at_unix_ms: 1_700_000_000_123, kind: kind.to_owned(), payload: payload.to_owned() }
}

/// The append after `append`, were that successful.
pub fn after(append: &Append) -> Append {
    Append { expected_seq: append.expected_seq + append.events.len() as u64, request: None, ..append.clone() }
}

fn standing(mut append: Append, standing: Standing) -> Append {
    append.row.standing = standing;
    append
}

fn of_service(mut append: Append, service: &str, environment: &str, turn: u64) -> Append {
    service.clone_into(&mut append.row.service);
    environment.clone_into(&mut append.row.environment);
    append.row.turn = turn;
    append
}

/// Reads page by page give what was appended; positions count all events; the hashes are those of the published format.
pub async fn events_come_back_as_written_in_one_chain(subject: &mut impl Subject) {
    let journal = subject.journal();
    assert_eq!(journal.position().await, Ok(0));
    assert_eq!(journal.read("a", 0, 10).await, Ok(Vec::new()));
    let mut one = first_append("a", journal.epoch());
    one.events = vec![event("requested", "{\"plan\":\"größe\u{0}\"}"), event("started", "")];
    let other = first_append("b", journal.epoch());
    let first = journal.append(one.clone()).await.unwrap();
    assert_eq!((first.seq, first.position, first.repeated), (2, 2, false));
    assert_eq!(journal.append(other.clone()).await.unwrap().position, 3);
    let second = journal.append(after(&one)).await.unwrap();
    assert_eq!((second.seq, second.position), (4, 5));

    let events = journal.read("a", 0, 10).await.unwrap();
    let mut head = chain::genesis("a");
    for (at, event) in events.iter().enumerate() {
        let written = &one.events[at % 2];
        assert_eq!((&event.kind, &event.payload), (&written.kind, &written.payload));
        assert_eq!((event.seq, event.epoch), (at as u64 + 1, journal.epoch()));
        assert_eq!(event.at_unix_ms, written.at_unix_ms);
        head = chain::event_hash(&head, event);
        assert_eq!(event.hash, head);
    }
    assert_eq!(second.head, head);
    assert_eq!(events.iter().map(|event| event.position).collect::<Vec<_>>(), [1, 2, 4, 5]);

    assert_eq!(journal.read("a", 1, 2).await.unwrap(), events[1..3]);
    assert_eq!(journal.read("a", 3, 10).await.unwrap(), events[3..]);
    assert_eq!(journal.read("a", 4, 10).await, Ok(Vec::new()));
    assert_eq!(journal.read("a", u64::MAX, 10).await, Ok(Vec::new()));
    let feed = journal.feed(1, 3).await.unwrap();
    assert_eq!(feed.iter().map(|event| event.position).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(feed[1].deployment, "b");
    assert_eq!(journal.position().await, Ok(5));
    let intact = Chain::Intact { deployment: "a".to_owned(), events: 4, head };
    assert_eq!(journal.verify("a").await, Ok(intact));
    let unknown = Chain::Intact { deployment: "z".to_owned(), events: 0, head: chain::genesis("z") };
    assert_eq!(journal.verify("z").await, Ok(unknown));
    assert_eq!(journal.verify_all().await, Ok(Vec::new()));
}

/// Compare-and-set on the last sequence number.
pub async fn an_append_from_an_old_picture_is_refused_and_changes_nothing(subject: &mut impl Subject) {
    let journal = subject.journal();
    let first = first_append("a", journal.epoch());
    journal.append(first.clone()).await.unwrap();
    let kept = journal.deployment("a").await.unwrap();
    for expected in [0, 2, 7] {
        let mut stale = standing(first.clone(), Standing::Running);
        stale.expected_seq = expected;
        let refused = AppendError::Conflict { deployment: "a".to_owned(), expected, actual: 1 };
        assert_eq!(journal.append(stale).await, Err(refused));
    }
    let ahead = Append { expected_seq: 1, ..first_append("new", journal.epoch()) };
    let refused = AppendError::Conflict { deployment: "new".to_owned(), expected: 1, actual: 0 };
    assert_eq!(journal.append(ahead).await, Err(refused));
    assert_eq!(journal.deployment("a").await.unwrap(), kept);
    assert_eq!(journal.deployment("new").await, Ok(None));
    assert_eq!(journal.position().await, Ok(1));
}

/// Fencing: a new owner shuts the old one out.
pub async fn only_the_current_epoch_may_write(subject: &mut impl Subject) {
    let old = subject.journal().epoch();
    let first = first_append("a", old);
    subject.journal().append(first.clone()).await.unwrap();
    subject.reopen();
    let journal = subject.journal();
    let current = journal.epoch();
    assert!(current > old, "{current} must be above {old}");
    for epoch in [old, Epoch(current.0 + 1)] {
        let refused = AppendError::Fenced { epoch, current };
        assert_eq!(journal.append(Append { epoch, ..after(&first) }).await, Err(refused.clone()));
        assert_eq!(journal.append(first_append("b", epoch)).await, Err(refused));
    }
    journal.append(Append { epoch: current, ..after(&first) }).await.unwrap();
    let epochs: Vec<Epoch> = journal.read("a", 0, 9).await.unwrap().iter().map(|event| event.epoch).collect();
    assert_eq!(epochs, [old, current]);
}

/// Queued ones wait; a second running one is refused with the name of the first.
pub async fn a_service_runs_one_deployment_at_a_time_in_each_environment(subject: &mut impl Subject) {
    let journal = subject.journal();
    let of_web = |id: &str, environment: &str, turn| {
        of_service(first_append(id, journal.epoch()), "web", environment, turn)
    };
    let first = standing(of_web("first", "production", 1), Standing::Running);
    let second = of_web("second", "production", 2);
    journal.append(first.clone()).await.unwrap();
    journal.append(second.clone()).await.unwrap();
    journal.append(standing(of_web("elsewhere", "staging", 1), Standing::Running)).await.unwrap();
    let busy = AppendError::ServiceBusy {
        service: "web".to_owned(),
        environment: "production".to_owned(),
        by: "first".to_owned(),
    };
    let third = standing(of_web("third", "production", 3), Standing::Running);
    assert_eq!(journal.append(third).await, Err(busy.clone()));
    let begin = standing(after(&second), Standing::Running);
    assert_eq!(journal.append(begin.clone()).await, Err(busy));
    assert_eq!(journal.deployment("second").await.unwrap().unwrap().seq, 1);

    let going_on = after(&first);
    journal.append(going_on.clone()).await.unwrap();
    journal.append(standing(after(&going_on), Standing::Ended)).await.unwrap();
    journal.append(begin).await.unwrap();
    let again = standing(after(&after(&going_on)), Standing::Running);
    let refused = journal.append(again).await.unwrap_err();
    assert!(matches!(refused, AppendError::ServiceBusy { by, .. } if by == "second"));
}

/// A turn is used once per service and environment; service, environment and turn of a deployment never change.
pub async fn turns_are_unique_and_the_row_keeps_its_service(subject: &mut impl Subject) {
    let journal = subject.journal();
    assert_eq!(journal.next_turn("web", "production").await, Ok(1));
    let first = of_service(first_append("first", journal.epoch()), "web", "production", 1);
    journal.append(first.clone()).await.unwrap();
    let skipping = of_service(first_append("second", journal.epoch()), "web", "production", 7);
    journal.append(skipping).await.unwrap();
    assert_eq!(journal.next_turn("web", "production").await, Ok(8));
    assert_eq!(journal.next_turn("web", "staging").await, Ok(1));
    let late = of_service(first_append("third", journal.epoch()), "web", "production", 7);
    let taken =
        AppendError::TurnTaken { service: "web".to_owned(), environment: "production".to_owned(), turn: 7 };
    assert_eq!(journal.append(late).await, Err(taken));
    for (what, changed) in [
        ("service", of_service(after(&first), "api", "production", 1)),
        ("environment", of_service(after(&first), "web", "staging", 1)),
        ("turn", of_service(after(&first), "web", "production", 2)),
    ] {
        let refused = AppendError::RowChanged { deployment: "first".to_owned(), what };
        assert_eq!(journal.append(changed).await, Err(refused));
    }
}

/// Idempotency keys, also across owners.
pub async fn the_same_request_leads_to_the_same_deployment(subject: &mut impl Subject) {
    let journal = subject.journal();
    let request = |digest: u8| Some(Request { key: "key-1".to_owned(), digest: Digest([digest; 32]) });
    let asked = |id: &str, epoch, digest| Append {
        request: request(digest),
        ..standing(of_service(first_append(id, epoch), "web", "production", 1), Standing::Running)
    };
    let made = journal.append(asked("first", journal.epoch(), 1)).await.unwrap();
    journal.append(after(&asked("first", journal.epoch(), 1))).await.unwrap();
    // Asked again under another id, while the service is busy with the first answer and its turn is taken.
    let again = journal.append(asked("second", journal.epoch(), 1)).await.unwrap();
    assert_eq!((again.deployment.as_str(), again.seq, again.repeated), ("first", 2, true));
    assert_ne!(again.head, made.head);
    let reused = AppendError::RequestReused { key: "key-1".to_owned(), deployment: "first".to_owned() };
    assert_eq!(journal.append(asked("second", journal.epoch(), 2)).await, Err(reused.clone()));
    assert_eq!(journal.deployment("second").await, Ok(None));
    assert_eq!(journal.request("key-1").await, Ok(Some("first".to_owned())));
    assert_eq!(journal.request("key-2").await, Ok(None));
    drop(journal);
    subject.reopen();
    let journal = subject.journal();
    let again = journal.append(asked("third", journal.epoch(), 1)).await.unwrap();
    assert_eq!((again.deployment.as_str(), again.repeated), ("first", true));
    assert_eq!(journal.append(asked("third", journal.epoch(), 2)).await, Err(reused));
}

/// Bounds of every part; what is at the bound is kept whole.
pub async fn what_is_out_of_bounds_is_refused(subject: &mut impl Subject) {
    let journal = subject.journal();
    let good = || first_append("a", journal.epoch());
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let change = |change: &dyn Fn(&mut Append)| {
        let mut append = good();
        change(&mut append);
        append
    };
    let bad = [
        change(&|append| append.deployment.clear()),
        change(&|append| append.deployment.clone_from(&long)),
        change(&|append| append.row.service.clear()),
        change(&|append| append.row.environment.clone_from(&long)),
        change(&|append| append.row.release.clone_from(&long)),
        change(&|append| append.row.turn = 0),
        change(&|append| append.row.turn = u64::MAX),
        change(&|append| append.events.clear()),
        change(&|append| append.events = vec![event("e", ""); EVENTS_PER_APPEND_MAX + 1]),
        change(&|append| append.events[0].kind.clear()),
        change(&|append| append.events[0].payload = "x".repeat(PAYLOAD_BYTES_MAX + 1)),
        change(&|append| append.request = Some(Request { key: String::new(), digest: Digest([0; 32]) })),
    ];
    for append in bad {
        let refused = journal.append(append).await;
        assert!(matches!(refused, Err(AppendError::OutOfBounds { .. })), "{refused:?}");
    }
    assert_eq!(journal.position().await, Ok(0));
    let mut largest = good();
    largest.events = vec![event("e", ""); EVENTS_PER_APPEND_MAX];
    largest.events[3].payload = "ü".repeat(PAYLOAD_BYTES_MAX / 2);
    journal.append(largest.clone()).await.unwrap();
    let read = journal.read("a", 0, usize::MAX).await.unwrap();
    assert_eq!(read[3].payload, largest.events[3].payload);
    assert_eq!(read.len(), EVENTS_PER_APPEND_MAX);
}

/// Newest first, page by page; the active ones oldest first.
pub async fn lists_are_filtered_bounded_and_ordered(subject: &mut impl Subject) {
    let journal = subject.journal();
    for (id, service, stands) in [
        ("d1", "web", Standing::Ended),
        ("d2", "api", Standing::Running),
        ("d3", "web", Standing::Running),
        ("d4", "web", Standing::Queued),
    ] {
        let turn = journal.next_turn(service, "production").await.unwrap();
        let append = of_service(first_append(id, journal.epoch()), service, "production", turn);
        journal.append(standing(append, stands)).await.unwrap();
    }
    let ids = |filter| {
        let journal = Arc::clone(&journal);
        async move {
            let found = journal.deployments(filter).await.unwrap();
            found.into_iter().map(|kept| kept.deployment).collect::<Vec<_>>()
        }
    };
    let all = Filter::default();
    let web = Filter { service: Some("web".to_owned()), ..all.clone() };
    assert_eq!(ids(all.clone()).await, ["d4", "d3", "d2", "d1"]);
    assert_eq!(ids(web.clone()).await, ["d4", "d3", "d1"]);
    assert_eq!(ids(Filter { standing: &[Standing::Running], ..web.clone() }).await, ["d3"]);
    let unfinished = Filter { standing: &[Standing::Running, Standing::Queued], ..web.clone() };
    assert_eq!(ids(unfinished).await, ["d4", "d3"]);
    assert_eq!(ids(Filter { environment: Some("staging".to_owned()), ..all.clone() }).await, [""; 0]);
    let page = journal.deployments(Filter { limit: Some(2), ..all.clone() }).await.unwrap();
    let before = Some(page[1].first_position);
    assert_eq!(ids(Filter { limit: Some(2), before, ..all }).await, ["d2", "d1"]);
    let active: Vec<String> =
        journal.active().await.unwrap().into_iter().map(|kept| kept.deployment).collect();
    assert_eq!(active, ["d2", "d3", "d4"]);
}

/// Samples are kept in order, up to their bound; events are untouched by them.
pub async fn the_newest_samples_stay(subject: &mut impl Subject) {
    let journal = subject.journal();
    journal.append(first_append("a", journal.epoch())).await.unwrap();
    let sample = |number: u64| NewSample {
        seq: 1,
        stage: 2,
        at_unix_ms: number.cast_signed(),
        payload: format!("{{\"n\":{number}}}"),
    };
    let unknown = AppendError::Unknown { deployment: "b".to_owned() };
    assert_eq!(journal.put_samples("b", vec![sample(1)]).await, Err(unknown));
    assert!(matches!(journal.put_samples("a", vec![]).await, Err(AppendError::OutOfBounds { .. })));
    let total = SAMPLES_PER_DEPLOYMENT_MAX + 100;
    for from in (1..=total).step_by(50) {
        journal.put_samples("a", (from..from + 50).map(sample).collect()).await.unwrap();
    }
    let kept = journal.samples("a").await.unwrap();
    assert_eq!(kept.len() as u64, SAMPLES_PER_DEPLOYMENT_MAX);
    for (kept, number) in kept.iter().zip(101..) {
        assert_eq!((kept.number, &kept.sample), (number, &sample(number)));
    }
    assert_eq!(journal.samples("b").await, Ok(Vec::new()));
    assert_eq!(journal.read("a", 0, 10).await.unwrap().len(), 1);
}

/// Facts: last put wins.
pub async fn facts_are_replaced(subject: &mut impl Subject) {
    let journal = subject.journal();
    assert_eq!(journal.meta("node").await, Ok(None));
    journal.put_meta("node", "a").await.unwrap();
    journal.put_meta("node", "b").await.unwrap();
    assert_eq!(journal.meta("node").await, Ok(Some("b".to_owned())));
    let long = "x".repeat(META_BYTES_MAX + 1);
    for (key, value) in [("", "v"), (long.as_str(), "v"), ("k", long.as_str())] {
        assert!(matches!(journal.put_meta(key, value).await, Err(AppendError::OutOfBounds { .. })));
    }
}

/// What was acknowledged is there after the journal is closed and opened again.
pub async fn everything_survives_a_new_owner(subject: &mut impl Subject) {
    let journal = subject.journal();
    let mut append = standing(first_append("a", journal.epoch()), Standing::Running);
    append.events.push(event("started", "{\"stage\":0}"));
    journal.append(append.clone()).await.unwrap();
    journal.append(after(&append)).await.unwrap();
    let sample = NewSample { seq: 2, stage: 0, at_unix_ms: 5, payload: "7".to_owned() };
    journal.put_samples("a", vec![sample]).await.unwrap();
    journal.put_meta("k", "v").await.unwrap();
    let events = journal.read("a", 0, 10).await.unwrap();
    let rows = journal.active().await.unwrap();
    let samples = journal.samples("a").await.unwrap();
    drop(journal);
    subject.reopen();
    let journal = subject.journal();
    assert_eq!(journal.read("a", 0, 10).await.unwrap(), events);
    assert_eq!(journal.active().await.unwrap(), rows);
    assert_eq!(journal.samples("a").await.unwrap(), samples);
    assert_eq!(journal.meta("k").await, Ok(Some("v".to_owned())));
    let next = Append { expected_seq: 4, epoch: journal.epoch(), ..append };
    assert_eq!(journal.append(next).await.unwrap().position, 6);
    assert_eq!(journal.verify_all().await, Ok(Vec::new()));
}

/// The race that compare-and-set is there for, from real threads.
pub async fn of_many_writers_with_one_picture_exactly_one_wins(subject: &mut impl Subject) {
    const WRITERS: u64 = 8;
    const ROUNDS: u64 = 20;
    let journal = subject.journal();
    let first = first_append("a", journal.epoch());
    journal.append(first.clone()).await.unwrap();
    let wins: u64 = std::thread::scope(|scope| {
        let race = |writer: u64| {
            let (journal, first) = (Arc::clone(&journal), &first);
            move || {
                let own = |expected_seq| Append {
                    expected_seq,
                    events: vec![event("won", &writer.to_string())],
                    ..first.clone()
                };
                (1..=ROUNDS).filter(|&seq| wait(journal.append(own(seq))).is_ok()).count() as u64
            }
        };
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(race(writer))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    let events = journal.read("a", 1, 100).await.unwrap();
    // Every event has one winner; a writer that came late to a round lost it, so rounds may be left over at the end.
    assert_eq!(events.len() as u64, wins);
    assert!((1..=ROUNDS).contains(&wins), "{wins}");
    assert!(matches!(journal.verify("a").await, Ok(Chain::Intact { events, .. }) if events == wins + 1));
}

/// Runs one future on this thread, parked while it waits.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
