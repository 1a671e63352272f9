//! Requests to the servers that are compared: one, or several at once, timed from the first to the last byte.

use std::time::Instant;

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    client::{Answer, Connection, Server},
    error::BenchError,
};

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    runtime: &'a Runtime,
    server: Server,
}

impl<'a> Client<'a> {
    pub(crate) fn new(runtime: &'a Runtime, server: Server) -> Self {
        Self { runtime, server }
    }

    /// Sends a GET request and returns the body.
    ///
    /// # Errors
    /// [`BenchError`] when the server cannot be reached, or refuses the request.
    pub(crate) fn get(&self, path: &str) -> Result<Value, BenchError> {
        let answer = self.runtime.block_on(async {
            Connection::open(&self.server).await?.send(Method::GET, path, Bytes::new()).await
        })?;
        read(path, &answer)
    }

    /// Sends a POST request; returns the answer, and the seconds until it arrived.
    ///
    /// # Errors
    /// [`BenchError`] when the server cannot be reached, or refuses the request.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<(Value, f64), BenchError> {
        let (mut answers, seconds) = self.post_all(path, std::slice::from_ref(body))?;
        Ok((answers.swap_remove(0), seconds))
    }

    /// Sends several POST requests at once; returns the answers, and the seconds until the last one arrived.
    /// Connections are opened before the clock starts.
    ///
    /// # Errors
    /// [`BenchError`] when the server cannot be reached, or refuses one of them.
    pub(crate) fn post_all(&self, path: &str, bodies: &[Value]) -> Result<(Vec<Value>, f64), BenchError> {
        let bodies: Vec<Bytes> = bodies.iter().map(|body| body.to_string().into()).collect();
        self.runtime.block_on(async {
            let mut requests = JoinSet::new();
            let mut connections = Vec::with_capacity(bodies.len());
            for _ in &bodies {
                connections.push(Connection::open(&self.server).await?);
            }
            let start = Instant::now();
            for (index, (mut connection, body)) in connections.into_iter().zip(bodies).enumerate() {
                let path = path.to_owned();
                requests.spawn(async move { (index, connection.send(Method::POST, &path, body).await) });
            }
            let mut answers = requests.join_all().await;
            let seconds = start.elapsed().as_secs_f64();
            answers.sort_by_key(|(index, _)| *index);
            let bodies = answers.into_iter().map(|(_, answer)| read(path, &answer?));
            Ok((bodies.collect::<Result<_, _>>()?, seconds))
        })
    }
}

fn read(path: &str, answer: &Answer) -> Result<Value, BenchError> {
    let refused = || BenchError::Refused {
        path: path.to_owned(),
        status: answer.status,
        body: String::from_utf8_lossy(&answer.body).into_owned(),
    };
    if answer.status != 200 {
        return Err(refused());
    }
    serde_json::from_slice(&answer.body).map_err(|_| refused())
}

/// A number in a JSON body; 0 if it is missing.
pub(crate) fn count(body: &Value, pointer: &str) -> usize {
    body.pointer(pointer).and_then(Value::as_u64).unwrap_or_default() as usize
}
