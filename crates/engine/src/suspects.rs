//! Requests that an engine was running when it died, and their treatment afterwards.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Number of deaths after which a request is rejected, if it was the only one running in one of them.
const DEATHS: u32 = 2;

/// How long a request is rejected after the last of these deaths.
pub const QUARANTINE: Duration = Duration::from_secs(600);

/// A SHA-256 digest of a request's computation: its tokens, images, script and sampling. It is independent of the
/// tenant without images; with them it is not, since tenants do not share the names of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

/// A request in the step during which an engine died, in this process or an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// The fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// Number of deaths in whose last step it was.
    pub deaths: u32,
    /// Whether it was the only request in one of them.
    pub was_alone: bool,
    /// Time since the last one.
    pub since: Duration,
}

/// The treatment of a request according to its past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has no part in any death.
    Clear,
    /// It may have caused a death: it runs alone, so that another death would identify it.
    Suspect,
    /// It most likely caused a death: it is rejected for this time.
    Refused(Duration),
}

/// The suspects known to an engine. The lock is held only for an access to the map, which is empty in nearly every
/// process: handles read it for each request, and the engine's thread writes when a suspect ends or the engine
/// dies.
#[derive(Debug, Default)]
pub(crate) struct Suspects(Mutex<HashMap<Fingerprint, Past>>);

#[derive(Debug, Clone, Copy)]
struct Past {
    deaths: u32,
    was_alone: bool,
    /// The end of the quarantine after the last death.
    until: Instant,
}

impl Suspects {
    /// Adds the suspects of an earlier process.
    pub(crate) fn remember(&self, suspects: &[Suspect], now: Instant) {
        let mut map = self.map();
        for suspect in suspects {
            let Suspect { fingerprint, deaths, was_alone, since } = *suspect;
            let until = now + QUARANTINE.saturating_sub(since);
            map.insert(fingerprint, Past { deaths, was_alone, until });
        }
    }

    /// Records that the engine died while it ran these requests.
    pub(crate) fn died(&self, running: &BTreeSet<Fingerprint>, now: Instant) {
        let mut map = self.map();
        for fingerprint in running {
            let past = map.entry(*fingerprint).or_insert(Past { deaths: 0, was_alone: false, until: now });
            past.deaths += 1;
            past.was_alone |= running.len() == 1;
            past.until = now + QUARANTINE;
        }
    }

    /// The treatment of a request.
    pub(crate) fn standing(&self, fingerprint: &Fingerprint, now: Instant) -> Standing {
        let Some(past) = self.map().get(fingerprint).copied() else { return Standing::Clear };
        let left = past.until.saturating_duration_since(now);
        if past.deaths >= DEATHS && past.was_alone && !left.is_zero() {
            Standing::Refused(left)
        } else {
            Standing::Suspect
        }
    }

    /// Records that a request was run to its end and the engine survived.
    pub(crate) fn acquit(&self, fingerprint: &Fingerprint) {
        self.map().remove(fingerprint);
    }

    fn map(&self) -> MutexGuard<'_, HashMap<Fingerprint, Past>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Fingerprint = Fingerprint([1; 32]);
    const OTHER: Fingerprint = Fingerprint([2; 32]);

    #[test]
    fn who_was_never_there_is_clear() {
        let (suspects, now) = (Suspects::default(), Instant::now());
        suspects.died(&[ONE].into(), now);
        assert_eq!(suspects.standing(&OTHER, now), Standing::Clear);
    }

    #[test]
    fn two_deaths_of_which_one_is_alone_refuse_it_for_ten_minutes() {
        let (suspects, now) = (Suspects::default(), Instant::now());
        suspects.died(&[ONE, OTHER].into(), now);
        assert_eq!(suspects.standing(&ONE, now), Standing::Suspect);
        suspects.died(&[ONE].into(), now);
        assert_eq!(suspects.standing(&ONE, now), Standing::Refused(QUARANTINE));
        assert_eq!(suspects.standing(&OTHER, now), Standing::Suspect);
        assert_eq!(suspects.standing(&ONE, now + QUARANTINE), Standing::Suspect);
    }

    #[test]
    fn company_alone_convicts_nobody() {
        let (suspects, now) = (Suspects::default(), Instant::now());
        (0..10).for_each(|_| suspects.died(&[ONE, OTHER].into(), now));
        assert_eq!(suspects.standing(&ONE, now), Standing::Suspect);
    }

    #[test]
    fn who_ends_well_is_clear() {
        let (suspects, now) = (Suspects::default(), Instant::now());
        suspects.died(&[ONE].into(), now);
        suspects.acquit(&ONE);
        assert_eq!(suspects.standing(&ONE, now), Standing::Clear);
        suspects.died(&[ONE].into(), now);
        assert_eq!(suspects.standing(&ONE, now), Standing::Suspect);
    }

    #[test]
    fn what_an_earlier_process_knew_goes_on() {
        let (suspects, now) = (Suspects::default(), Instant::now());
        let past = |since| Suspect { fingerprint: ONE, deaths: 2, was_alone: true, since };
        suspects.remember(&[past(Duration::from_secs(500))], now);
        assert_eq!(suspects.standing(&ONE, now), Standing::Refused(Duration::from_secs(100)));
        suspects.remember(&[past(Duration::from_secs(601))], now);
        assert_eq!(suspects.standing(&ONE, now), Standing::Suspect);
    }
}
