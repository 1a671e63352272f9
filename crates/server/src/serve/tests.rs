//! Tests of requests and the server when the model's code panics.

use clap::Parser;
use critic::{Backend, BackendError, Batch, Critic, Limits, StepOutput};
use judge::{Judge, RubricLibrary};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::options::{Command, CommandLine};

/// A device that panics after a number of steps.
struct Panicking {
    steps: usize,
    device: Box<dyn Backend>,
}

impl Backend for Panicking {
    fn limits(&self) -> Limits {
        self.device.limits()
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError> {
        self.steps = self.steps.checked_sub(1).expect("the device is gone");
        self.device.forward(batch)
    }
}

/// Sends a request that closes its connection, and returns the answer.
async fn ask(address: std::net::SocketAddr, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: \
         {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn start(
    on_panic: OnPanic,
    steps: usize,
) -> (std::net::SocketAddr, impl Future<Output = Result<(), ServeError>>) {
    let device = bench::null_critic().backend;
    let critic = Critic { backend: Box::new(Panicking { steps, device }), ..bench::null_critic() };
    let library = RubricLibrary::compiled_in().unwrap();
    let judge = Judge::new("null".into(), critic, library, EngineConfig { on_panic, ..Default::default() });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let command = CommandLine::parse_from(["gavel", "serve"]).command;
    let Command::Serve(options) = command else { panic!("another command") };
    let bounds = Bounds::new(&options.http, &options.connections, &options.limits);
    let listeners = Listeners { access: Access::open_to_all(), tls: None, admin: None };
    let mut server = Server::start(listener, listeners, bounds);
    let service = Service::in_process((judge.clone(), Metrics::new("null", "none")));
    server.open(Service { lifecycle: server.lifecycle.clone(), ..service });
    let signals = Signals::listen().unwrap();
    (
        address,
        async move { server.finish(&judge, &CrashRecord::default(), &Systemd::default(), signals).await },
    )
}

const CASE: &str = r#"{"question": "?", "response": "a"}"#;

#[tokio::test]
async fn a_panic_of_the_model_is_answered_and_ends_the_server_with_an_error() {
    let (address, serving) = start(OnPanic::Stop, 0).await;
    let serving = tokio::spawn(serving);
    let answer = ask(address, "POST /judge", CASE).await;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("engine_failure"), "{answer}");
    let ended = serving.await.unwrap().unwrap_err();
    assert!(matches!(ended, ServeError::Engine(EngineGone::Panicked)), "{ended}");
}

#[tokio::test]
async fn a_panic_amid_a_stream_is_told_in_it_and_nothing_after_it() {
    let (address, serving) = start(OnPanic::Stop, 5).await;
    let serving = tokio::spawn(serving);
    let body = r#"{"prompt": "?", "max_tokens": 100, "ignore_eos": true, "stream": true}"#;
    let answer = ask(address, "POST /v1/completions", body).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (before, last) = answer.trim_end().rsplit_once("data: ").unwrap();
    assert!(before.matches("data: ").count() > 1, "it began: {answer}");
    assert!(last.contains("engine_failure"), "{last}");
    assert!(!answer.contains("[DONE]") && !answer.contains(r#""finish_reason":"stop""#), "{answer}");
    assert!(serving.await.unwrap().is_err());
}

#[tokio::test]
async fn a_server_that_restarts_its_engine_goes_on() {
    let (address, serving) = start(OnPanic::Restart, 0).await;
    let serving = tokio::spawn(serving);
    for _ in 0..2 {
        assert!(ask(address, "POST /judge", CASE).await.starts_with("HTTP/1.1 500"));
    }
    assert!(ask(address, "GET /ready", "").await.starts_with("HTTP/1.1 200"));
    serving.abort();
}
