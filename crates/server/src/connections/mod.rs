//! Listeners: accept connections, limit each of them, and shut them down gracefully.
//!
//! The accept loop is our own, because the web framework's limits neither the time for a head nor the number of
//! connections. HTTP/2 is left out: no client of a judge needs it, and its frame floods are a class of
//! vulnerabilities of their own.

mod address_limit;
#[cfg(test)]
mod address_limit_tests;
pub(crate) mod client_network;
mod figures;
pub(crate) mod guarded_body;
mod idle_timeout;
mod keepalive;
mod timed_body;
mod tls;
mod unread_body;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{self, HeaderValue, header, response::Response},
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

use address_limit::AddressLimit;
pub(crate) use figures::{ConnectionFigures, DisconnectReason};
use guarded_body::GuardedBody;
use idle_timeout::{ConnectionState, StreamTimeouts, TimedStream};
use timed_body::TimedBody;
pub(crate) use timed_body::{BodyLimits, SlowBody};
pub(crate) use tls::{Tls, TlsError, TlsFiles, tls_client_config};
pub(crate) use unread_body::{KnownClient, UnreadLimits};
use unread_body::{Sending, UnreadBody, lend};

/// Pause when the system has no resources for another connection, until some have closed.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The limits of connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// The most open connections.
    pub(crate) most: usize,
    /// The most open connections of one address.
    pub(crate) most_of_address: usize,
    /// Timeout for the head of a request, and for a TLS handshake.
    pub(crate) head: Duration,
    /// Timeout between two requests.
    pub(crate) idle: Duration,
    /// Timeout for a client to read some of its answer, or to respond to keepalive probes.
    pub(crate) peer: Duration,
    /// The most header fields of a request.
    pub(crate) max_headers: usize,
    /// The longest head of a request, in bytes.
    pub(crate) max_head_bytes: usize,
    /// The limits of request bodies.
    pub(crate) body: BodyLimits,
    /// The limits of bodies that are unread when their requests are answered.
    pub(crate) unread: UnreadLimits,
}

/// A listener and everything that it needs to serve connections.
pub(crate) struct Listener<S> {
    pub(crate) socket: TcpListener,
    pub(crate) limits: ConnectionLimits,
    /// TLS, if connections are encrypted.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) figures: Arc<ConnectionFigures>,
    /// The service that answers requests.
    pub(crate) service: S,
}

/// A service that answers the requests of all connections.
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

impl<S: Answer> Listener<S> {
    /// Accepts connections until `stop` changes or its sender is dropped; then closes idle ones, and waits for the
    /// others.
    pub(crate) async fn serve(self, mut stop: watch::Receiver<()>) {
        // A permit for each connection until it ends.
        let places = Arc::new(Semaphore::new(self.limits.most.min(Semaphore::MAX_PERMITS)));
        let addresses = AddressLimit::new(self.limits.most_of_address);
        let leaving = GracefulShutdown::new();
        loop {
            // Acquire a permit first: connections without one wait in the kernel's backlog.
            let place = tokio::select! {
                place = places.clone().acquire_owned() => place,
                // An error means that the sender was dropped, which also means stop.
                _ = stop.changed() => break,
            };
            let (stream, peer) = tokio::select! {
                taken = self.socket.accept() => match taken {
                    Ok(taken) => taken,
                    Err(error) => {
                        no_connection(&error).await;
                        continue;
                    }
                },
                _ = stop.changed() => break,
            };
            let Some(slot) = addresses.enter(peer.ip()) else {
                self.figures.lost(DisconnectReason::Address);
                continue; // drops and closes the connection
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
                let _held = (place, slot, connection.figures.clone().open());
                connection.serve(stream).await;
            });
        }
        drop(self.socket);
        leaving.shutdown().await;
    }
}

/// Serves one connection that is not a socket, with the same limits, until it ends.
pub(crate) async fn serve_one(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    limits: ConnectionLimits,
    service: impl Answer,
) {
    let leaving = GracefulShutdown::new().watcher();
    let (peer, figures) = (SocketAddr::from(([127, 0, 0, 1], 0)), Arc::default());
    Connection { peer, limits, tls: None, figures, service, leaving }.serve_on(stream).await;
}

/// Handles an error of `accept`: ignores a client that left early, and pauses if the system lacks resources.
async fn no_connection(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if ![ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind()) {
        tracing::error!(%error, "no connection can be taken");
        tokio::time::sleep(ACCEPT_BACKOFF).await;
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
        // Events are small and clients wait for each one. A socket that rejects an option is served all the same.
        let _ = stream.set_nodelay(true);
        if let Err(error) = keepalive::enable(&stream, self.limits.peer) {
            tracing::debug!(peer = %self.peer, %error, "nobody will tell when it vanishes");
        }
        match self.tls.clone() {
            None => self.serve_on(stream).await,
            Some(tls) => match timeout(self.limits.head, tls.acceptor().accept(stream)).await {
                Ok(Ok(stream)) => self.serve_on(stream).await,
                Ok(Err(error)) => {
                    tracing::debug!(peer = %self.peer, %error, "no TLS");
                    self.figures.lost(DisconnectReason::Tls);
                }
                Err(_) => self.figures.lost(DisconnectReason::Slow),
            },
        }
    }

    async fn serve_on(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { peer, limits, figures, service, leaving, .. } = self;
        let timeouts = StreamTimeouts { head: limits.head, idle: limits.idle, write: limits.peer };
        let (stream, state) = TimedStream::new(stream, timeouts);
        let answering = Answering { state: state.clone(), limits, figures: figures.clone() };
        let answering =
            service_fn(move |request| answer(service.clone(), (request, Peer(peer)), answering.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // A fallback: the stream itself distinguishes idling from a slow head.
            .header_read_timeout(limits.head + limits.idle)
            .max_headers(limits.max_headers)
            .max_buf_size(limits.max_head_bytes.max(8 << 10))
            .half_close(false)
            .serve_connection(TokioIo::new(stream), answering);
        let ended = leaving.watch(connection).await;
        if let Some(reason) = state.given_up() {
            figures.lost(reason);
        } else if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended badly");
            figures.lost(DisconnectReason::of(&error));
        }
    }
}

/// The address that a request comes from, as an extension of the request. Clients cannot set it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What all answers of a connection need.
#[derive(Clone)]
struct Answering {
    state: ConnectionState,
    limits: ConnectionLimits,
    figures: Arc<ConnectionFigures>,
}

/// Answers one request of a connection, which is busy until the end of the answer and of the request's body.
async fn answer(
    service: impl Answer,
    (mut request, peer): (http::Request<Incoming>, Peer),
    answering: Answering,
) -> Result<Response<Body>, Infallible> {
    let Answering { state, limits, figures } = answering;
    let busy = Arc::new(state.busy());
    request.extensions_mut().insert(peer);
    let (head, body) = request.into_parts();
    let sending = Sending::of(&head.headers);
    let (body, mut returned) = lend(TimedBody::new(body, limits.body), sending);
    let mut response = service.oneshot(http::Request::from_parts(head, Body::new(body))).await?;
    if let Ok(body) = returned.try_recv() {
        let most = limits.unread.of(response.extensions().get::<KnownClient>());
        let mut unread = UnreadBody::new(body, most);
        if unread.discard_arrived().await {
            figures.discarded(unread.discarded());
        } else {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            let busy = busy.clone();
            // A task, because the response is sent meanwhile. A connection has one, since it takes no further request.
            tokio::spawn(async move {
                unread.discard_rest().await;
                figures.discarded(unread.discarded());
                drop(busy);
            });
        }
    }
    Ok(response.map(|body| Body::new(GuardedBody::new(body, busy))))
}
