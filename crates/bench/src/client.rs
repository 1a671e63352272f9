//! The client's end of HTTP: the server's address, and a single keep-alive connection.
//!
//! Plain HTTP/1.1 connections without a pool around them: client and server share the machine, so the CPU time
//! that the client spends is taken from the server.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Uri,
    client::conn::http1::{SendRequest, handshake},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use crate::error::BenchError;

/// A server's address, and how requests to it are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `host:port`.
    host: String,
    /// The API key that is sent as a bearer token.
    key: Option<String>,
    /// The local address that connections are made from; the system chooses one if `None`.
    source: Option<IpAddr>,
}

impl Server {
    /// The server at an `http` URL that has only a host and, optionally, a port.
    ///
    /// # Errors
    /// [`BenchError::Address`] when the URL has any other form.
    pub fn at_url(url: &str) -> Result<Self, BenchError> {
        let wrong = || BenchError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let is_plain = uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let host = uri.host().filter(|_| is_plain && !has_user);
        let host = format!("{}:{}", host.ok_or_else(wrong)?, uri.port_u16().unwrap_or(80));
        Ok(Self { host, key: None, source: None })
    }

    /// `host:port`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The server at a socket address.
    pub fn at(address: SocketAddr) -> Self {
        Self { host: address.to_string(), key: None, source: None }
    }

    /// The same server, with requests sent under this key and from this local address.
    pub(crate) fn asked_by(self, key: Option<String>, source: Option<IpAddr>) -> Self {
        Self { key, source, ..self }
    }
}

/// A response that was read completely.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The seconds in its `Retry-After` header, if it has one.
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) body: Bytes,
}

/// A keep-alive connection; it takes one request at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    key: Option<String>,
}

impl Connection {
    /// Connects. The task that drives the connection is spawned and ends with it.
    pub(crate) async fn open(server: &Server) -> Result<Self, BenchError> {
        let failed = |source| BenchError::Connect { host: server.host.clone(), source };
        let stream = match server.source {
            None => TcpStream::connect(&server.host).await,
            Some(source) => connect_from(source, &server.host).await,
        };
        let stream = stream.map_err(failed)?;
        // A request must be sent at once, without waiting for more data.
        stream.set_nodelay(true).map_err(failed)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // An error of the connection is returned to the sender of the next request.
        tokio::spawn(async { drop(connection.await) });
        Ok(Self { sender, host: server.host.clone(), key: server.key.clone() })
    }

    /// Whether the connection is not closed.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request for a verdict to `POST /judge`.
    pub(crate) async fn judge(&mut self, body: Bytes) -> Result<Answer, BenchError> {
        self.send(Method::POST, "/judge", body).await
    }

    /// Requests the engine's figures from `GET /health`.
    pub(crate) async fn health(&mut self) -> Result<Answer, BenchError> {
        self.send(Method::GET, "/health", Bytes::new()).await
    }

    /// Sends a request with a JSON body and reads the complete response.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, BenchError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request.body(Full::new(body)).expect("the parts of our own requests are valid");
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let retry_after_s = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Answer { status: head.status.as_u16(), retry_after_s, body: body.collect().await?.to_bytes() })
    }
}

/// Connects from `source`, an address of this machine.
async fn connect_from(source: IpAddr, host: &str) -> io::Result<TcpStream> {
    let to = lookup_host(host).await?.next().ok_or(io::ErrorKind::NotFound)?;
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind((source, 0).into())?;
    socket.connect(to).await
}

/// Idle keep-alive connections. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct IdleConnections {
    server: Server,
    /// Unbounded: it holds at most as many connections as requests were in flight at once, which all belong to
    /// one phase.
    connections: Arc<Mutex<Vec<Connection>>>,
}

impl IdleConnections {
    pub(crate) fn new(server: &Server) -> Self {
        Self { server: server.clone(), connections: Arc::default() }
    }

    /// Takes an idle connection that the server has not closed meanwhile, as it does after a timeout.
    fn waiting(&self) -> Option<Connection> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| connections.pop()).find(Connection::is_open)
    }

    /// Sends a request for a verdict on an idle connection, or on a new one.
    pub(crate) async fn judge(&self, body: Bytes) -> Result<Answer, BenchError> {
        let mut connection = match self.waiting() {
            Some(connection) => connection,
            None => Connection::open(&self.server).await?,
        };
        let answer = connection.judge(body).await?;
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::Server;

    #[test]
    fn urls_are_read_or_refused() {
        let host = |url| Server::at_url(url).map(|server| server.host).ok();
        assert_eq!(host("http://127.0.0.1:8080").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(host("http://localhost/").as_deref(), Some("localhost:80"));
        assert_eq!(host("http://[::1]:90").as_deref(), Some("[::1]:90"));
        for url in ["127.0.0.1:8080", "https://a:1", "http://a/b", "http://", ""] {
            assert_eq!(host(url), None, "{url}");
        }
    }
}
