//! Checks the counts that threads of the server share in every interleaving: the source files themselves, compiled
//! with the locks of a model checker, loom.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

// Stand-ins for what the files import from their crate.
mod error {
    use axum::{
        http::StatusCode,
        response::{IntoResponse, Response},
    };

    pub(crate) struct ApiError(StatusCode);

    pub(crate) enum ErrorCode {
        Draining,
        Starting,
    }

    impl ApiError {
        pub(crate) fn out_of_service(_: ErrorCode, _: &str) -> Self {
            Self(StatusCode::SERVICE_UNAVAILABLE)
        }

        pub(crate) fn with_retry_after(self, _: u64) -> Self {
            self
        }
    }

    impl IntoResponse for ApiError {
        fn into_response(self) -> Response {
            self.0.into_response()
        }
    }
}
mod sync {
    pub(crate) use loom::sync::Mutex;
    // loom's own `Arc` cannot be a receiver of methods, and counting references is left to the standard library.
    pub(crate) use std::sync::Arc;

    /// The part of tokio's watch channel that is used: a lock around the value, as in tokio.
    pub(crate) mod watch {
        use std::{fmt, sync::Arc};

        use loom::sync::{RwLock, RwLockReadGuard};

        pub(crate) struct Sender<T>(Arc<RwLock<T>>);

        impl<T> Sender<T> {
            pub(crate) fn new(value: T) -> Self {
                Self(Arc::new(RwLock::new(value)))
            }

            pub(crate) fn borrow(&self) -> RwLockReadGuard<'_, T> {
                self.0.read().unwrap()
            }

            pub(crate) fn send_modify(&self, change: impl FnOnce(&mut T)) {
                change(&mut self.0.write().unwrap());
            }

            pub(crate) fn send_replace(&self, value: T) {
                self.send_modify(|held| *held = value);
            }

            pub(crate) fn subscribe(&self) -> Self {
                self.clone()
            }

            /// Checks once: waiting is not part of the models.
            pub(crate) async fn wait_for(&mut self, is_met: impl FnOnce(&T) -> bool) -> Result<(), ()> {
                if is_met(&self.borrow()) { Ok(()) } else { Err(()) }
            }
        }

        impl<T> Clone for Sender<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<T> fmt::Debug for Sender<T> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("Sender")
            }
        }
    }
}
mod connections {
    pub(crate) use crate::{client_network, guarded_body};
}
#[path = "../src/connections/address_limit.rs"]
mod address_limit;
#[path = "../src/connections/client_network.rs"]
mod client_network;
#[path = "../src/connections/guarded_body.rs"]
mod guarded_body;
#[path = "../src/service/lifecycle.rs"]
#[expect(dead_code, reason = "only what threads share is tried here")]
mod lifecycle;

use std::net::{IpAddr, Ipv4Addr};

use address_limit::AddressLimit;
use lifecycle::{Lifecycle, Phase};
use loom::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use sync::Arc;

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn nobody_is_let_in_whom_the_end_does_not_wait_for() {
    loom::model(|| {
        let lifecycle = Lifecycle::new();
        lifecycle.enter(Phase::Ready);
        let answered = Arc::new(AtomicBool::new(false));
        let request = {
            let (lifecycle, answered) = (lifecycle.clone(), answered.clone());
            thread::spawn(move || match lifecycle.begin() {
                Ok(running) => {
                    answered.store(true, Ordering::Relaxed);
                    drop(running);
                    true
                }
                Err(_) => false,
            })
        };
        lifecycle.enter(Phase::Draining);
        let all_ended = lifecycle.running() == 0;
        let is_answered = answered.load(Ordering::Relaxed);
        let let_in = request.join().unwrap();
        assert!(!all_ended || !let_in || is_answered, "it was let in and not waited for");
        assert_eq!(lifecycle.running(), 0);
    });
}

#[test]
fn the_last_connection_of_an_address_is_one_of_those_that_ask_at_once() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let limit = AddressLimit::new(2);
        let first = limit.enter(ADDRESS).unwrap();
        let leaving = thread::spawn(move || drop(first));
        let other = {
            let limit = limit.clone();
            thread::spawn(move || limit.enter(ADDRESS))
        };
        let own = limit.enter(ADDRESS);
        leaving.join().unwrap();
        let other = other.join().unwrap();
        assert!(own.is_some() || other.is_some(), "there was one place, and then another");
        let left = 2 - [&own, &other].into_iter().flatten().count();
        let more: Vec<_> = std::iter::from_fn(|| limit.enter(ADDRESS)).collect();
        assert_eq!(more.len(), left);
        drop((own, other, more));
        assert!(limit.is_idle(), "an address without connections is forgotten");
    });
}
