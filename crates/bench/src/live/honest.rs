//! Clients that want nothing bad, and must get the same verdicts as ever while others do their worst.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::wire::{Door, Manner, Request, exchange};

/// How many there are.
const CLIENTS: usize = 4;
/// Between two requests of one of them: they are to be there, and leave the machine to the cases.
const PAUSE: Duration = Duration::from_millis(100);

/// A judgement that is the same to the last bit whenever it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    request: Request,
    /// What came the first time.
    verdict: Value,
}

impl Sample {
    /// Asks for a judgement of an image for the first time; `number` makes it another one.
    ///
    /// # Errors
    /// What came instead of a verdict.
    pub(crate) fn first(door: &Door, image: &str, number: usize) -> Result<Self, String> {
        let colours = ["red", "orange", "green", "blue", "purple", "black"];
        let body = json!({
            "question": format!("What colour is the shape number {number}?"),
            "images": [image],
            "response": format!("It is {}.", colours[number % colours.len()]),
            "mode": "score",
            "memo": false,
        });
        let request = door.request(("POST", "/judge"), body.to_string().into_bytes());
        let mut sample = Self { request, verdict: Value::Null };
        sample.verdict = sample.ask(&door.host)?;
        Ok(sample)
    }

    /// Asks again.
    ///
    /// # Errors
    /// When there is no verdict, or another one.
    pub(crate) fn again(&self, host: &str) -> Result<(), String> {
        let verdict = self.ask(host)?;
        if verdict == self.verdict { Ok(()) } else { Err(format!("{verdict} and not {}", self.verdict)) }
    }

    fn ask(&self, host: &str) -> Result<Value, String> {
        let replies = exchange(host, &self.request, Manner::default()).map_err(|error| error.to_string())?;
        let reply = replies.into_iter().next().ok_or("no answer")?;
        let body = reply.json().unwrap_or_default();
        if reply.status != 200 {
            return Err(format!("status {}: {body}", reply.status));
        }
        Ok(json!([body["score"], body["distribution"]]))
    }
}

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Honest {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// Held for reading while a request is on its way, so that whoever writes knows that none is.
    working: RwLock<()>,
    ended: AtomicBool,
    asked: AtomicU64,
    /// How long each verdict took since this was last asked.
    times: Mutex<Vec<Duration>>,
    failures: Mutex<Vec<String>>,
}

impl Honest {
    /// Begins.
    pub(crate) fn start(host: &str, samples: Vec<Sample>) -> Self {
        let state = Arc::new(State::default());
        let begin = |sample: Sample| {
            let (state, host) = (state.clone(), host.to_owned());
            std::thread::spawn(move || {
                while !state.ended.load(Relaxed) {
                    {
                        let _working = state.working.read().unwrap_or_else(PoisonError::into_inner);
                        state.asked.fetch_add(1, Relaxed);
                        let start = Instant::now();
                        match sample.again(&host) {
                            Ok(()) => locked(&state.times).push(start.elapsed()),
                            Err(failure) => locked(&state.failures).push(failure),
                        }
                    }
                    std::thread::sleep(PAUSE);
                }
            })
        };
        let threads = samples.into_iter().take(CLIENTS).map(begin).collect();
        Self { state, threads }
    }

    /// Waits until none of them is waiting for an answer; none asks until the guard is gone.
    pub(crate) fn pause(&self) -> RwLockWriteGuard<'_, ()> {
        self.state.working.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often they asked.
    pub(crate) fn asked(&self) -> u64 {
        self.state.asked.load(Relaxed)
    }

    /// What went wrong since this was last asked.
    pub(crate) fn failures(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.state.failures))
    }

    /// How long verdicts took since this was last asked.
    pub(crate) fn times(&self) -> Vec<Duration> {
        std::mem::take(&mut *locked(&self.state.times))
    }

    /// How many samples it needs.
    pub(crate) fn count() -> usize {
        CLIENTS
    }
}

/// What a lock guards, which is whole also when somebody panicked with it.
fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.state.ended.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // one that panicked has said so
        }
    }
}
