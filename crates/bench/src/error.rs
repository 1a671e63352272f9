//! Why a benchmark could not be run.

use std::{error::Error, io, iter};

use engine::EngineError;

/// Why a benchmark could not be run. What happens to a server's requests under load is a result, not an error.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The address of the server has the wrong form.
    #[error("{0:?} is no address of a server, such as http://127.0.0.1:8080")]
    Address(String),
    /// A rate of arrivals is not a finite number above 0.
    #[error("{0} requests each second is no rate; it must be above 0")]
    Rate(f64),
    /// A number that must be at least 1 is 0.
    #[error("there must be at least one of the {0}")]
    None(&'static str),
    /// The server does not accept a connection.
    #[error("{host} takes no connection")]
    Connect {
        /// Host and port.
        host: String,
        /// The error that the system returned.
        source: io::Error,
    },
    /// A connection failed.
    #[error("the connection to the server failed")]
    Connection(#[from] hyper::Error),
    /// `/health` returned no figures of the engine.
    #[error("/health answered with status {status} and no figures: {body}")]
    Figures {
        /// The status code.
        status: u16,
        /// The body, as far as it is text.
        body: String,
    },
    /// Not one of the first requests, from which the benchmark takes its rates, was judged.
    #[error("no request was judged: {0}")]
    NothingJudged(String),
    /// The client's own runtime cannot be started.
    #[error("the load generator cannot be started")]
    Runtime(#[source] io::Error),
    /// An image could not be written.
    #[error("an image cannot be written")]
    Image(#[from] image::ImageError),
    /// The engine did not take a request.
    #[error("the engine did not take a request")]
    Engine(#[from] EngineError),
    /// The comparison runs on a GPU, and includes a part that is not measured there.
    #[error("{0} is not measured on a GPU, only language and reward are")]
    NotOnGpu(&'static str),
    /// A program that is compared failed or gave an unexpected answer.
    #[error("{program}: {reason}")]
    Program {
        /// The program's name.
        program: String,
        /// The program's error message, or what was unexpected.
        reason: String,
    },
    /// A server that is compared refused a request.
    #[error("{path} answered with status {status}: {body}")]
    Refused {
        /// The route.
        path: String,
        /// The status code.
        status: u16,
        /// The body, as far as it is text.
        body: String,
    },
    /// A critic that is measured without a server cannot be loaded, or failed.
    #[error("the critic cannot be measured")]
    Critic(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The corpus cannot be read, or one of its cases cannot be built.
    #[error("{place}: {reason}")]
    Corpus {
        /// The file or case that is affected.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server under test does not judge before it is tested.
    #[error("{host}: {reason}")]
    Subject {
        /// Host and port.
        host: String,
        /// What went wrong.
        reason: String,
    },
    /// A file cannot be written.
    #[error("the system refuses")]
    File(#[source] io::Error),
    /// No port is available.
    #[error("no port is available")]
    Port(#[source] io::Error),
    /// The engine ended this many requests without an answer.
    #[error("{0} requests did not end well in the engine")]
    Unfinished(usize),
}

impl BenchError {
    pub(crate) fn program(program: &str, reason: impl Into<String>) -> Self {
        Self::Program { program: program.to_owned(), reason: reason.into() }
    }
}

/// The message of an error, followed by the messages of its causes.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let errors = iter::successors(Some(error), |&error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
