//! Why a benchmark could not be run.

use std::io;

use engine::EngineError;

/// Why a benchmark could not be run. What a server does to its requests under load is no error but a result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The address of the server has another form.
    #[error("{0:?} is no address of a server, such as http://127.0.0.1:8080")]
    Address(String),
    /// A rate of arrivals is not above 0.
    #[error("{0} requests each second is no rate; it must be above 0")]
    Rate(f64),
    /// A number that must be at least 1 is 0.
    #[error("there must be at least one of the {0}")]
    None(&'static str),
    /// The server takes no connection.
    #[error("{host} takes no connection")]
    Connect {
        /// Host and port.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// A connection failed.
    #[error("the connection to the server failed")]
    Connection(#[from] hyper::Error),
    /// The server tells no figures of its engine.
    #[error("/health answered with status {status} and no figures: {body}")]
    Figures {
        /// The status code.
        status: u16,
        /// The body, as far as it is text.
        body: String,
    },
    /// Not one of the requests that set the measure was judged.
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
    /// A GPU is to be compared on, and a part is asked for that is not measured there.
    #[error("{0} is not measured on a GPU, only language and reward are")]
    NotOnGpu(&'static str),
    /// A program that is compared does not do what it is asked.
    #[error("{program}: {reason}")]
    Program {
        /// What it is called.
        program: String,
        /// What it says.
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
    /// A critic to be measured without a server cannot be loaded, or failed.
    #[error("the critic cannot be measured")]
    Critic(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The corpus cannot be sent.
    #[error("{place}: {reason}")]
    Corpus {
        /// A file, a case or a server.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be written, or a port not be had.
    #[error("the system refuses")]
    File(#[source] io::Error),
    /// The engine ended a request without an answer.
    #[error("{0} requests did not end well in the engine")]
    Unfinished(usize),
}

impl BenchError {
    pub(crate) fn program(program: &str, reason: impl Into<String>) -> Self {
        Self::Program { program: program.to_owned(), reason: reason.into() }
    }
}
