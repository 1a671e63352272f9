//! Well-behaved clients, which must get unchanged verdicts while others misbehave.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::wire::{Access, Manner, Request, exchange};

/// The number of clients.
const CLIENTS: usize = 4;
/// The pause of a client between two requests: clients are to be present, but leave the machine to the cases.
const PAUSE: Duration = Duration::from_millis(100);

/// A judgement whose verdict is bitwise the same whenever it is requested.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    request: Request,
    /// The first verdict.
    verdict: Value,
}

impl Sample {
    /// Requests a judgement of an image for the first time; different values of `number` give different
    /// requests.
    ///
    /// # Errors
    /// The answer that came instead of a verdict, or why there was none.
    pub(crate) fn first(access: &Access, image: &str, number: usize) -> Result<Self, String> {
        let colours = ["red", "orange", "green", "blue", "purple", "black"];
        let body = json!({
            "question": format!("What colour is the shape number {number}?"),
            "images": [image],
            "response": format!("It is {}.", colours[number % colours.len()]),
            "mode": "score",
            "memo": false,
        });
        let request = access.request("POST", "/judge", body.to_string().into_bytes());
        let mut sample = Self { request, verdict: Value::Null };
        sample.verdict = sample.ask(&access.host)?;
        Ok(sample)
    }

    /// Repeats the request.
    ///
    /// # Errors
    /// When there is no verdict, or it differs from the first.
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

/// Running clients.
#[derive(Debug)]
pub(crate) struct Honest {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// Locked for reading while a request is in flight, so that the holder of a write lock knows that none is.
    working: RwLock<()>,
    ended: AtomicBool,
    asked: AtomicU64,
    /// Latencies of verdicts since they were last taken.
    times: Mutex<Vec<Duration>>,
    failures: Mutex<Vec<String>>,
}

impl Honest {
    /// Starts a thread for each client.
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

    /// Waits until no client has a request in flight; clients send no more until the guard is dropped.
    pub(crate) fn pause(&self) -> RwLockWriteGuard<'_, ()> {
        self.state.working.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of requests sent so far.
    pub(crate) fn asked(&self) -> u64 {
        self.state.asked.load(Relaxed)
    }

    /// Takes the failures since the last call.
    pub(crate) fn failures(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.state.failures))
    }

    /// Takes the latencies of verdicts since the last call.
    pub(crate) fn times(&self) -> Vec<Duration> {
        std::mem::take(&mut *locked(&self.state.times))
    }

    /// The number of samples that `start` uses.
    pub(crate) fn count() -> usize {
        CLIENTS
    }
}

/// Locks a mutex, even if a thread panicked while holding it: the data are consistent at any time.
fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.state.ended.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic has already been printed
        }
    }
}
