//! Tests of places in the queue with one request at a time. `tests/interleavings` tests concurrent ones.

use critic::{Encoded, TokenId};

use super::{
    backlog::{Backlog, NoRoom, QueueClient, QueueEntry, QueueSlot},
    ticket::Ticket,
};
use crate::{
    config::Config,
    error::EngineError,
    prefix_cache::BlockKey,
    request::{Lane, Tenant, Urgency},
    sync::Arc,
};
use crate::{
    prefix_cache::{block_keys, root},
    request::Terms,
};

fn keys(tokens: &[u32]) -> Vec<BlockKey> {
    let tokens = tokens.iter().map(|id| TokenId(*id)).collect();
    block_keys(
        &Encoded { tokens, visuals: Vec::new() },
        4,
        root(&[0; 32], &Tenant::default(), &Terms::default()),
    )
}

fn config(max_waiting: usize, max_waiting_tokens: usize) -> Config {
    Config { max_waiting, max_waiting_tokens, ..Config::default() }
}

/// A request without a limited share.
fn client(ticket: &Ticket) -> QueueClient<'_> {
    static TENANT: std::sync::LazyLock<Tenant> = std::sync::LazyLock::new(Tenant::default);
    QueueClient { ticket, tenant: &TENANT, share: 1.0, urgency: Urgency::Now, place: None }
}

fn entry<'a>(client: QueueClient<'a>, tokens: usize, keys: &'a [BlockKey]) -> QueueEntry<'a> {
    QueueEntry { client, lane: Lane::Score, tokens, keys, block_size: 4 }
}

/// Why there is no room.
fn error(no_room: NoRoom) -> EngineError {
    no_room.error
}

/// A new request joins with a single part.
fn join(
    backlog: &Arc<Backlog>,
    tokens: usize,
    keys: &[BlockKey],
    config: &Config,
) -> Result<QueueSlot, EngineError> {
    backlog.join(entry(client(&Ticket::default()), tokens, keys), config).map_err(error)
}

#[test]
fn a_tenant_takes_no_more_than_its_share_and_gets_it_back() {
    let backlog = Arc::new(Backlog::default());
    let config = config(8, 1000);
    let [a, b] = ["a", "b"].map(|name| Tenant(name.into()));
    let of = |tenant, tokens| {
        let ticket = Ticket::default();
        let client = QueueClient { tenant, share: 0.25, ..client(&ticket) };
        backlog.join(entry(client, tokens, &[]), &config).map_err(error)
    };
    let first = of(&a, 10).unwrap();
    let _second = of(&a, 10).unwrap();
    let refused = of(&a, 10).unwrap_err();
    assert!(matches!(refused, EngineError::ShareTaken { requests: 2, tokens: 20, .. }), "{refused}");
    assert_eq!((backlog.requests(), backlog.parts()), (2, 2), "whoever is refused leaves no trace");
    // Tokens count too, but one request may always wait.
    let large = of(&b, 900).unwrap();
    assert!(of(&b, 1).is_err());
    drop(first);
    let _third = of(&a, 10).unwrap();
    drop(large);
    assert_eq!(backlog.queue().shares.len(), 1);
}

#[test]
fn places_are_given_and_come_back_after_a_panic_amid_them() {
    let backlog = Arc::new(Backlog::default());
    let config = config(2, 1000);
    let join = || join(&backlog, 5, &[], &config);
    let before = join().unwrap();
    let amid = std::thread::spawn({
        let backlog = backlog.clone();
        move || {
            let _held = backlog.queue();
            panic!("a panic of this test's own");
        }
    });
    assert!(amid.join().is_err());
    let after = join().unwrap();
    assert!(join().is_err(), "the bound still holds");
    drop((before, after));
    assert_eq!((backlog.requests(), backlog.parts()), (0, 0));
}

#[test]
fn what_is_made_ready_counts_before_it_joins() {
    let backlog = Arc::new(Backlog::default());
    let config = config(8, 1000);
    let [a, b] = ["a", "b"].map(|name| Tenant(name.into()));
    let tickets: Vec<Ticket> = (0..16).map(|_| Ticket::default()).collect();
    let mut tickets = tickets.iter();
    let mut client = |tenant, share| QueueClient { tenant, share, ..client(tickets.next().unwrap()) };
    let queue_slot = backlog.join(entry(client(&a, 0.25), 5, &[]), &config);
    let mut prepare = |tenant, free| backlog.prepare(client(tenant, 0.25), &config, free).map_err(error);
    let _second = prepare(&a, 0).unwrap();
    let refused = prepare(&a, 0).unwrap_err();
    assert!(matches!(refused, EngineError::ShareTaken { requests: 2, tokens: 5, .. }), "{refused}");
    drop((prepare(&a, 1).unwrap(), prepare(&b, 0).unwrap()));
    drop(queue_slot);
    let more: Vec<_> = (0..7).map(|_| backlog.prepare(client(&b, 1.0), &config, 0).unwrap()).collect();
    let full = backlog.prepare(client(&b, 1.0), &config, 0).unwrap_err().error;
    assert!(matches!(full, EngineError::Overloaded { requests: 8, .. }), "{full}");
    assert_eq!(backlog.queue().shares.len(), 1, "whoever left is forgotten");
    drop(more);
    let later = QueueClient { urgency: Urgency::Background, ..client(&b, 1.0) };
    assert!(backlog.prepare(later, &config, 0).is_ok());
}

#[test]
fn a_known_beginning_counts_once_and_places_are_given_back() {
    let backlog = Arc::new(Backlog::default());
    let config = config(10, 30);
    let prompt: Vec<u32> = (0..21).collect();
    let first = join(&backlog, 21, &keys(&prompt), &config).unwrap();
    let (ticket, known) = (Ticket::default(), keys(&prompt));
    let second = QueueEntry { lane: Lane::Explain, ..entry(client(&ticket), 21, &known) };
    let second = backlog.join(second, &config).unwrap();
    assert_eq!((backlog.tokens(), backlog.requests()), (22, 2));
    assert_eq!([Lane::Score, Lane::Explain].map(|lane| backlog.lane_parts(lane)), [1, 1]);
    let other: Vec<u32> = (100..121).collect();
    assert!(join(&backlog, 21, &keys(&other), &config).is_err());
    assert_eq!((backlog.tokens(), backlog.requests()), (22, 2));
    drop((first, second));
    assert_eq!((backlog.tokens(), backlog.requests()), (0, 0));
    backlog.forget(&keys(&prompt)[1]);
    let _third = join(&backlog, 21, &keys(&prompt), &config).unwrap();
    assert_eq!(backlog.tokens(), 17);
}

#[test]
fn an_empty_line_takes_any_request_and_a_full_one_tells_when_to_come_back() {
    let backlog = Arc::new(Backlog::default());
    let config = config(2, 10);
    let _first = join(&backlog, 500, &[], &config).unwrap();
    let told = |refused: Result<QueueSlot, EngineError>| match refused.unwrap_err() {
        EngineError::Overloaded { requests, tokens, retry_after_s } => (requests, tokens, retry_after_s),
        other => panic!("{other}"),
    };
    assert_eq!(told(join(&backlog, 1, &[], &config)), (1, 500, 1));
    backlog.note_step(1000, 10.0);
    assert_eq!(told(join(&backlog, 1, &[], &config)), (1, 500, 5));
    let _second = join(&backlog, 0, &[], &Config { max_waiting_tokens: 999, ..config });
    assert_eq!(told(join(&backlog, 0, &[], &config)), (2, 500, 5));
    assert_eq!(backlog.refused(), (1, 2));
}

#[test]
fn running_sequences_delay_whoever_comes_back() {
    let backlog = Arc::new(Backlog::default());
    let config = config(1, 100);
    backlog.note_step(1000, 10.0);
    // All of its prompt is cached, so that it has no tokens.
    let _waiting = join(&backlog, 0, &[], &config).unwrap();
    let again = || match join(&backlog, 0, &[], &config).unwrap_err() {
        EngineError::Overloaded { requests: 1, tokens: 0, retry_after_s } => retry_after_s,
        other => panic!("{other}"),
    };
    assert_eq!(again(), 1);
    backlog.set_running_tokens(550);
    assert_eq!((again(), backlog.retry_after_s(500)), (6, 11));
    backlog.set_running_tokens(5 * 1500);
    assert_eq!(again(), 20, "no client is sent away for longer");
    backlog.set_running_tokens(0);
    assert_eq!(again(), 1);
}

#[test]
fn whoever_may_wait_finds_half_of_the_queue() {
    let backlog = Arc::new(Backlog::default());
    let config = config(4, 1000);
    let join = |urgency| {
        let ticket = Ticket::default();
        backlog.join(entry(QueueClient { urgency, ..client(&ticket) }, 1, &[]), &config)
    };
    let _places = [join(Urgency::Background).unwrap(), join(Urgency::Background).unwrap()];
    assert!(join(Urgency::Background).is_err());
    let _more = [join(Urgency::Now).unwrap(), join(Urgency::Now).unwrap()];
    assert!(join(Urgency::Now).is_err());
}

#[test]
fn a_tenant_whose_share_is_taken_is_told_when_its_own_tokens_are_gone() {
    let backlog = Arc::new(Backlog::default());
    let config = config(8, 1000);
    let tenant = Tenant("a".into());
    backlog.note_step(100, 1.0);
    let _others = join(&backlog, 700, &[], &config).unwrap();
    let tickets = [Ticket::default(), Ticket::default(), Ticket::default()];
    let [first, by_tokens, by_requests] = [&tickets[0], &tickets[1], &tickets[2]].map(|ticket| QueueClient {
        tenant: &tenant,
        share: 0.25,
        ..client(ticket)
    });
    let _own = backlog.join(entry(first, 200, &[]), &config).unwrap();
    let again = |no_room: NoRoom| match no_room.error {
        EngineError::ShareTaken { retry_after_s, .. } => retry_after_s,
        other => panic!("{other}"),
    };
    assert_eq!(again(backlog.join(entry(by_tokens, 100, &[]), &config).unwrap_err()), 2);
    let narrow = Config { max_waiting: 4, ..config };
    assert_eq!(again(backlog.prepare(by_requests, &narrow, 0).unwrap_err()), 2);
    assert_eq!(backlog.refused(), (0, 0), "neither is a refusal of the queue");
}

#[test]
fn a_request_is_let_in_or_refused_as_a_whole_and_counts_once() {
    let backlog = Arc::new(Backlog::default());
    let config = config(4, 200);
    let tickets: [Ticket; 5] = Default::default();
    let join = |ticket: &Ticket, tokens| backlog.join(entry(client(ticket), tokens, &[]), &config);
    let [large, small, more, most, refused] = &tickets;
    // It is one request, however many parts are being prepared or wait.
    let ready: Vec<_> = (0..3).map(|_| backlog.prepare(client(large), &config, 0).unwrap()).collect();
    let first = join(large, 60).unwrap();
    assert_eq!((backlog.requests(), backlog.parts()), (1, 1));
    assert!(
        join(large, 60).is_err() && !large.is_refused(),
        "its tokens find no room, and it waits for some"
    );
    let second = join(large, 40).unwrap();
    assert!(join(large, 0).is_err(), "no more parts than half of the requests are let in");
    // Other requests get their places all the same; one too many is rejected, once.
    let others = [small, more, most].map(|ticket| join(ticket, 0).unwrap());
    assert!(join(refused, 0).is_err() && join(refused, 0).is_err() && refused.is_refused());
    assert!(
        backlog.prepare(client(refused), &config, 9).is_err(),
        "nor is there room for another part of it later"
    );
    assert_eq!((backlog.requests(), backlog.parts(), backlog.refused()), (4, 5, (1, 0)));
    drop((first, second, ready));
    assert_eq!(backlog.requests(), 3);
    // It was accepted, and makes progress although others have taken all the room meanwhile.
    let (other, flood) = (Ticket::default(), Config { max_waiting_tokens: 1000, ..config });
    let _other = backlog.join(entry(client(&other), 900, &[]), &flood).unwrap();
    let next = join(large, 60).unwrap();
    assert_eq!(backlog.requests(), 5);
    assert!(join(large, 1).is_err(), "beside which there is no room");
    drop((next, others));
    assert_eq!((backlog.requests(), backlog.refused()), (1, (1, 0)));
}

#[test]
fn a_request_of_many_parts_leaves_room_for_others() {
    let backlog = Arc::new(Backlog::default());
    let config = config(8, 100);
    let join = |ticket: &Ticket, tokens| backlog.join(entry(client(ticket), tokens, &[]), &config);
    let many = Ticket::default();
    let mut parts = vec![join(&many, 30).unwrap(), join(&many, 20).unwrap()];
    assert!(join(&many, 1).is_err() && !many.is_refused(), "half of the tokens are taken");
    // Whoever comes first is not shut out by parts that take each room that becomes free.
    let other = join(&Ticket::default(), 50).unwrap();
    drop(parts.remove(0));
    assert!(join(&many, 1).is_err());
    drop(other);
    parts.extend((0..3).map(|_| join(&many, 0).unwrap()));
    assert!(join(&many, 0).is_err(), "half of the requests are taken by parts");
    drop(parts);
    assert!(join(&many, 500).is_ok(), "one part of any length may always join");
    // The same holds for a tenant's share.
    let (tenant, many) = (Tenant("a".into()), Ticket::default());
    let own = QueueClient { tenant: &tenant, share: 0.5, ..client(&many) };
    let _first = backlog.join(entry(own, 20, &[]), &config).unwrap();
    assert!(backlog.join(entry(own, 10, &[]), &config).is_err());
    let _second = backlog.join(entry(own, 5, &[]), &config).unwrap();
}

#[test]
fn no_more_parts_are_prepared_than_requests_may_wait_beside_one_of_each() {
    let backlog = Arc::new(Backlog::default());
    let config = config(3, 100);
    let prepare = |ticket: &Ticket, free| backlog.prepare(client(ticket), &config, free);
    let [many, other, third] = [Ticket::default(), Ticket::default(), Ticket::default()];
    let mut parts: Vec<_> = (0..3).map(|_| prepare(&many, 0).unwrap()).collect();
    assert!(prepare(&many, 0).is_err() && !many.is_refused(), "a further part waits");
    parts.push(prepare(&many, 1).unwrap());
    // Each request may have one part prepared.
    let first = prepare(&other, 0).unwrap();
    assert!(prepare(&other, 0).is_err() && !other.is_refused());
    let _third = prepare(&third, 0).unwrap();
    assert_eq!(backlog.refused(), (0, 0));
    // Parts in the queue count as well.
    let queue_slot = backlog.join(entry(client(&many), 1, &[]), &config).unwrap();
    parts.truncate(1);
    drop(first);
    assert!(prepare(&many, 0).is_err(), "two are prepared and one waits");
    drop(queue_slot);
    parts.push(prepare(&many, 0).unwrap());
    drop(parts);
    assert_eq!(backlog.requests(), 1);
    // A tenant's share bounds its parts, too, and is given back.
    let (tenant, own) = (Tenant("a".into()), Ticket::default());
    let own = QueueClient { tenant: &tenant, share: 0.4, ..client(&own) };
    let only = backlog.prepare(own, &config, 0).unwrap();
    assert!(backlog.prepare(own, &config, 0).is_err());
    drop(only);
    assert!(backlog.queue().shares.is_empty());
}

#[test]
fn a_patient_request_is_not_refused_until_it_waits_no_more() {
    let backlog = Arc::new(Backlog::default());
    let config = config(1, 100);
    let before = join(&backlog, 1, &[], &config).unwrap();
    let patient = Ticket::patient();
    let prepare = || backlog.prepare(client(&patient), &config, 0);
    assert!(prepare().is_err() && !patient.is_refused() && backlog.refused() == (0, 0));
    drop(before);
    drop(prepare().unwrap());
    let _again = join(&backlog, 1, &[], &config).unwrap();
    patient.stop_waiting();
    assert!(prepare().is_err() && prepare().is_err() && backlog.refused() == (1, 0));
}

/// A waiting part in the reference model: the index of its tenant, and its tokens.
type Waiting = (usize, usize);

proptest::proptest! {
    #[test]
    fn whoever_comes_and_goes_no_tenant_has_more_than_its_share(
        actions in proptest::collection::vec((0..4usize, 0..3usize, 1..60usize), 1..80),
        max_waiting in 1..12usize,
        quarters in 1..4u8,
    ) {
        let (backlog, config) = (Arc::new(Backlog::default()), config(max_waiting, 200));
        let share = f32::from(quarters) / 4.0;
        let tenants = ["a", "b", "c"].map(|name| Tenant(name.into()));
        let mut line: Vec<(QueueSlot, Waiting)> = Vec::new();
        for (what, whose, tokens) in actions {
            if what == 0 && !line.is_empty() {
                line.swap_remove(tokens % line.len());
            } else {
                let ticket = Ticket::default();
                let client = QueueClient { tenant: &tenants[whose], share, ..client(&ticket) };
                let own: Vec<usize> =
                    line.iter().map(|(_, waiting)| *waiting).filter(|one| one.0 == whose).map(|one| one.1).collect();
                let all: usize = line.iter().map(|(_, (_, tokens))| tokens).sum();
                let there_is_room = line.len() < max_waiting && (all == 0 || all + tokens <= 200);
                let most = ((max_waiting as f64 * f64::from(share)) as usize).max(1);
                let has_room = own.is_empty()
                    || (own.len() < most && own.iter().sum::<usize>() + tokens <= (200.0 * f64::from(share)) as usize);
                match backlog.join(entry(client, tokens, &[]), &config).map_err(error) {
                    Ok(queue_slot) => {
                        proptest::prop_assert!(there_is_room && has_room);
                        line.push((queue_slot, (whose, tokens)));
                    }
                    Err(EngineError::Overloaded { .. }) => proptest::prop_assert!(!there_is_room),
                    Err(EngineError::ShareTaken { .. }) => proptest::prop_assert!(there_is_room && !has_room),
                    Err(other) => proptest::prop_assert!(false, "{}", other),
                }
            }
            proptest::prop_assert_eq!(backlog.requests(), line.len());
            proptest::prop_assert_eq!(backlog.tokens(), line.iter().map(|(_, (_, tokens))| tokens).sum::<usize>());
        }
        drop(line);
        proptest::prop_assert!(backlog.queue().shares.is_empty() && backlog.tokens() == 0);
    }
}
