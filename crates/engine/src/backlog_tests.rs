//! Places in the waiting line, one request after another. `tests/interleavings` has several at once.

use critic::{Encoded, TokenId};

use crate::{
    backlog::{Backlog, Newcomer, Place},
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

fn newcomer(lane: Lane, tokens: usize, keys: &[BlockKey]) -> Newcomer<'_> {
    static TENANT: std::sync::LazyLock<Tenant> = std::sync::LazyLock::new(Tenant::default);
    Newcomer { lane, urgency: Urgency::Now, tokens, keys, block_size: 4, tenant: &TENANT, share: 1.0 }
}

#[test]
fn a_tenant_takes_no_more_than_its_share_and_gets_it_back() {
    let backlog = Arc::new(Backlog::default());
    let config = config(8, 1000);
    let [a, b] = ["a", "b"].map(|name| Tenant(name.into()));
    let of = |tenant, tokens| {
        let newcomer = Newcomer { tenant, share: 0.25, ..newcomer(Lane::Score, tokens, &[]) };
        backlog.join(newcomer, &config)
    };
    let first = of(&a, 10).unwrap();
    let _second = of(&a, 10).unwrap();
    let refused = of(&a, 10).unwrap_err();
    assert!(matches!(refused, EngineError::ShareTaken { requests: 2, tokens: 20, .. }), "{refused}");
    assert_eq!(backlog.requests(), 2, "whoever is refused leaves no trace");
    // Tokens count too, but one request always may wait.
    let large = of(&b, 900).unwrap();
    assert!(of(&b, 1).is_err());
    drop(first);
    let _third = of(&a, 10).unwrap();
    drop(large);
    assert_eq!(backlog.shares().len(), 1);
}

#[test]
fn places_are_given_and_come_back_after_a_panic_amid_them() {
    let backlog = Arc::new(Backlog::default());
    let config = config(2, 1000);
    let join = || backlog.join(newcomer(Lane::Score, 5, &[]), &config);
    let before = join().unwrap();
    let amid = std::thread::spawn({
        let backlog = backlog.clone();
        move || {
            let _held = backlog.shares();
            panic!("a panic of this test's own");
        }
    });
    assert!(amid.join().is_err());
    let after = join().unwrap();
    assert!(join().is_err(), "the bound still holds");
    drop((before, after));
    assert_eq!((backlog.requests(), backlog.shares().len()), (0, 0));
}

#[test]
fn what_is_made_ready_counts_before_it_joins() {
    let backlog = Arc::new(Backlog::default());
    let config = config(8, 1000);
    let [a, b] = ["a", "b"].map(|name| Tenant(name.into()));
    let prepare = |tenant, free| backlog.prepare((tenant, 0.25, Urgency::Now), &config, free);
    let place = backlog.join(Newcomer { tenant: &a, share: 0.25, ..newcomer(Lane::Score, 5, &[]) }, &config);
    let _second = prepare(&a, 0).unwrap();
    let refused = prepare(&a, 0).unwrap_err();
    assert!(matches!(refused, EngineError::ShareTaken { requests: 2, tokens: 5, .. }), "{refused}");
    drop((prepare(&a, 1).unwrap(), prepare(&b, 0).unwrap()));
    drop(place);
    let more: Vec<_> =
        (0..7).map(|_| backlog.prepare((&b, 1.0, Urgency::Now), &config, 0).unwrap()).collect();
    let full = backlog.prepare((&b, 1.0, Urgency::Now), &config, 0).unwrap_err();
    assert!(matches!(full, EngineError::Overloaded { requests: 8, .. }), "{full}");
    assert_eq!(backlog.shares().len(), 1, "whoever left is forgotten");
    drop(more);
    assert!(backlog.prepare((&b, 1.0, Urgency::Whenever), &config, 0).is_ok());
}

#[test]
fn a_known_beginning_counts_once_and_places_are_given_back() {
    let backlog = Arc::new(Backlog::default());
    let config = config(10, 30);
    let prompt: Vec<u32> = (0..21).collect();
    let first = backlog.join(newcomer(Lane::Score, 21, &keys(&prompt)), &config).unwrap();
    let second = backlog.join(newcomer(Lane::Explain, 21, &keys(&prompt)), &config).unwrap();
    assert_eq!((backlog.tokens(), backlog.requests()), (22, 2));
    let other: Vec<u32> = (100..121).collect();
    assert!(backlog.join(newcomer(Lane::Score, 21, &keys(&other)), &config).is_err());
    assert_eq!((backlog.tokens(), backlog.requests()), (22, 2));
    drop((first, second));
    assert_eq!((backlog.tokens(), backlog.requests()), (0, 0));
    backlog.forget(&keys(&prompt)[1]);
    let _third = backlog.join(newcomer(Lane::Score, 21, &keys(&prompt)), &config).unwrap();
    assert_eq!(backlog.tokens(), 17);
}

#[test]
fn an_empty_line_takes_any_request_and_a_full_one_tells_when_to_come_back() {
    let backlog = Arc::new(Backlog::default());
    let config = config(2, 10);
    let _first = backlog.join(newcomer(Lane::Score, 500, &[]), &config).unwrap();
    let told = |refused: Result<Place, EngineError>| match refused.unwrap_err() {
        EngineError::Overloaded { requests, tokens, retry_after_s } => (requests, tokens, retry_after_s),
        other => panic!("{other}"),
    };
    assert_eq!(told(backlog.join(newcomer(Lane::Score, 1, &[]), &config)), (1, 500, 1));
    backlog.note_step(1000, 10.0);
    assert_eq!(told(backlog.join(newcomer(Lane::Score, 1, &[]), &config)), (1, 500, 5));
    let _second = backlog.join(newcomer(Lane::Score, 0, &[]), &Config { max_waiting_tokens: 999, ..config });
    assert_eq!(told(backlog.join(newcomer(Lane::Score, 0, &[]), &config)), (2, 500, 5));
    assert_eq!(backlog.refused(), (1, 2));
}

#[test]
fn whoever_may_wait_finds_half_of_the_line() {
    let backlog = Arc::new(Backlog::default());
    let config = config(4, 1000);
    let join = |urgency| backlog.join(Newcomer { urgency, ..newcomer(Lane::Score, 1, &[]) }, &config);
    let _places = [join(Urgency::Whenever).unwrap(), join(Urgency::Whenever).unwrap()];
    assert!(join(Urgency::Whenever).is_err());
    let _more = [join(Urgency::Now).unwrap(), join(Urgency::Now).unwrap()];
    assert!(join(Urgency::Now).is_err());
}

/// One that waits in the plain list: whose it is, and its tokens.
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
        let mut line: Vec<(Place, Waiting)> = Vec::new();
        for (what, whose, tokens) in actions {
            if what == 0 && !line.is_empty() {
                line.swap_remove(tokens % line.len());
            } else {
                let newcomer = Newcomer { tenant: &tenants[whose], share, ..newcomer(Lane::Score, tokens, &[]) };
                let own: Vec<usize> =
                    line.iter().map(|(_, waiting)| *waiting).filter(|one| one.0 == whose).map(|one| one.1).collect();
                let all: usize = line.iter().map(|(_, (_, tokens))| tokens).sum();
                let there_is_room = line.len() < max_waiting && (all == 0 || all + tokens <= 200);
                let most = ((max_waiting as f64 * f64::from(share)) as usize).max(1);
                let has_room = own.is_empty()
                    || (own.len() < most && own.iter().sum::<usize>() + tokens <= (200.0 * f64::from(share)) as usize);
                match backlog.join(newcomer, &config) {
                    Ok(place) => {
                        proptest::prop_assert!(there_is_room && has_room);
                        line.push((place, (whose, tokens)));
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
        proptest::prop_assert!(backlog.shares().is_empty() && backlog.tokens() == 0);
    }
}
