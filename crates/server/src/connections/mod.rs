//! The way in: takes connections, bounds what each may take, and closes them in order.
//!
//! Its own loop and not the web framework's, which bounds neither how long a head may take nor how many connections there are. HTTP/2
//! is left out: no client of a judge needs it, and its floods of frames are a class of faults of their own.

mod address_limit;
#[cfg(test)]
mod address_limit_tests;
mod figures;
mod patience;
mod presence;
mod timed_body;
mod tls;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{self, response::Response},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::timeout,
};
use tower::ServiceExt;

use crate::lifecycle::Held;
use address_limit::AddressLimit;
pub(crate) use figures::{ConnectionFigures, Lost};
use patience::{Patience, Patient, Waits};
use timed_body::TimedBody;
pub(crate) use timed_body::{BodyLimits, SlowBody};
pub(crate) use tls::{Tls, TlsFiles};

/// How long to wait when the system has no more room for connections: some will have closed by then.
const NO_ROOM: Duration = Duration::from_millis(100);

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// The most at a time.
    pub(crate) most: usize,
    /// The most of one address.
    pub(crate) most_of_address: usize,
    /// For the head of a request, and for a TLS handshake.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
    /// For a client to take some of its answer, or to be heard of.
    pub(crate) peer: Duration,
    /// The most header fields.
    pub(crate) max_headers: usize,
    /// The longest head, in bytes.
    pub(crate) max_head_bytes: usize,
    /// What a body may take.
    pub(crate) body: BodyLimits,
}

/// A listener with all that it needs to serve.
pub(crate) struct Door<S> {
    pub(crate) listener: TcpListener,
    pub(crate) limits: ConnectionLimits,
    /// How connections are encrypted, if they are.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) figures: Arc<ConnectionFigures>,
    /// What answers.
    pub(crate) service: S,
}

/// What answers the requests of all connections.
pub(crate) trait Answer:
    tower::Service<Request, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Answer for S where
    S: tower::Service<Request, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

impl<S: Answer> Door<S> {
    /// Takes connections until `stop` says so; then closes the idle ones, and waits for the others.
    pub(crate) async fn serve(self, mut stop: watch::Receiver<()>) {
        let places = Arc::new(Semaphore::new(self.limits.most.min(Semaphore::MAX_PERMITS)));
        let addresses = AddressLimit::new(self.limits.most_of_address);
        let leaving = GracefulShutdown::new();
        loop {
            // The place first: a connection that has none waits in the system's own line.
            let place = tokio::select! {
                place = places.clone().acquire_owned() => place,
                // An error means that the sender is gone, which also says to stop.
                _ = stop.changed() => break,
            };
            let (stream, peer) = tokio::select! {
                taken = self.listener.accept() => match taken {
                    Ok(taken) => taken,
                    Err(error) => {
                        no_connection(&error).await;
                        continue;
                    }
                },
                _ = stop.changed() => break,
            };
            let Some(of_address) = addresses.enter(peer.ip()) else {
                self.figures.lost(Lost::Address);
                continue; // which closes it
            };
            let connection = Connection {
                peer,
                limits: self.limits,
                tls: self.tls.clone(),
                figures: self.figures.clone(),
                service: self.service.clone(),
                leaving: leaving.watcher(),
            };
            tokio::spawn(async move {
                let _held = (place, of_address, connection.figures.clone().open());
                connection.serve(stream).await;
            });
        }
        drop(self.listener);
        leaving.shutdown().await;
    }
}

/// Serves one connection that is no socket, by the same limits; ends when it is over.
pub(crate) async fn serve_one(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    limits: ConnectionLimits,
    service: impl Answer,
) {
    let leaving = GracefulShutdown::new().watcher();
    let (peer, figures) = (SocketAddr::from(([127, 0, 0, 1], 0)), Arc::default());
    Connection { peer, limits, tls: None, figures, service, leaving }.serve_on(stream).await;
}

/// A client that left before it was taken is nothing; a system without room is given time.
async fn no_connection(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if ![ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind()) {
        tracing::error!(%error, "no connection can be taken");
        tokio::time::sleep(NO_ROOM).await;
    }
}

struct Connection<S> {
    peer: SocketAddr,
    limits: ConnectionLimits,
    tls: Option<Arc<Tls>>,
    figures: Arc<ConnectionFigures>,
    service: S,
    leaving: Watcher,
}

impl<S: Answer> Connection<S> {
    async fn serve(self, stream: TcpStream) {
        // Events are small and each is waited for. A socket that does not take an option serves all the same.
        let _ = stream.set_nodelay(true);
        if let Err(error) = presence::ask_for(&stream, self.limits.peer) {
            tracing::debug!(peer = %self.peer, %error, "nobody will tell when it vanishes");
        }
        match self.tls.clone() {
            None => self.serve_on(stream).await,
            Some(tls) => match timeout(self.limits.head, tls.acceptor().accept(stream)).await {
                Ok(Ok(stream)) => self.serve_on(stream).await,
                Ok(Err(error)) => {
                    tracing::debug!(peer = %self.peer, %error, "no TLS");
                    self.figures.lost(Lost::Tls);
                }
                Err(_) => self.figures.lost(Lost::Slow),
            },
        }
    }

    async fn serve_on(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { peer, limits, figures, service, leaving, .. } = self;
        let (patient, patience) =
            Patient::new(stream, Waits { head: limits.head, idle: limits.idle, write: limits.peer });
        let head = patience.clone();
        let answering = service_fn(move |request| {
            answer(service.clone(), (request, Peer(peer)), (patience.clone(), limits.body))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // The stream itself knows idling from a slow head; this holds if it should not.
            .header_read_timeout(limits.head + limits.idle)
            .max_headers(limits.max_headers)
            .max_buf_size(limits.max_head_bytes.max(8 << 10))
            .half_close(false)
            .serve_connection(TokioIo::new(patient), answering);
        let ended = leaving.watch(connection).await;
        if let Some(reason) = head.given_up() {
            figures.lost(reason);
        } else if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended badly");
            figures.lost(Lost::of(&error));
        }
    }
}

/// Where a request comes from; part of it. No client can put it there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Answers one request of a connection, which is busy until the answer's end.
async fn answer(
    service: impl Answer,
    (mut request, peer): (http::Request<Incoming>, Peer),
    (patience, limits): (Patience, BodyLimits),
) -> Result<Response<Body>, Infallible> {
    let busy = patience.busy();
    request.extensions_mut().insert(peer);
    let request = request.map(|body| Body::new(TimedBody::new(body, limits)));
    let response = service.oneshot(request).await?;
    Ok(response.map(|body| Body::new(Held::new(body, busy))))
}
