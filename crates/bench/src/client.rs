//! The client's end of HTTP: where the server is, and one connection that is kept alive.
//!
//! Plain HTTP/1.1 connections without a pool around them, since client and server share the machine and what the client
//! spends is taken from the server.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Uri,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::error::BenchError;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Host and port.
    host: String,
}

impl Server {
    /// The server at an `http` URL, of which nothing but host and port may be given.
    ///
    /// # Errors
    /// [`BenchError::Address`] when the URL has another form.
    pub fn at_url(url: &str) -> Result<Self, BenchError> {
        let wrong = || BenchError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("http") && uri.path() == "/");
        Ok(Self { host: format!("{}:{}", host.ok_or_else(wrong)?, uri.port_u16().unwrap_or(80)) })
    }

    /// Host and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The server at a socket's address.
    pub fn at(address: SocketAddr) -> Self {
        Self { host: address.to_string() }
    }
}

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// A connection that is kept alive; it takes one request at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    /// Connects. What drives the connection runs as a task of its own and ends with it.
    pub(crate) async fn open(server: &Server) -> Result<Self, BenchError> {
        let failed = |source| BenchError::Connect { host: server.host.clone(), source };
        let stream = TcpStream::connect(&server.host).await.map_err(failed)?;
        // A request must leave at once and not wait for more to send.
        stream.set_nodelay(true).map_err(failed)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // How it ends is told to whoever sends the next request.
        tokio::spawn(async { drop(connection.await) });
        Ok(Self { sender, host: server.host.clone() })
    }

    /// Asks for a verdict.
    pub(crate) async fn judge(&mut self, body: Bytes) -> Result<Answer, BenchError> {
        self.send(Method::POST, "/judge", body).await
    }

    /// Asks for the figures of the engine.
    pub(crate) async fn health(&mut self) -> Result<Answer, BenchError> {
        self.send(Method::GET, "/health", Bytes::new()).await
    }

    /// Sends a request with a JSON body, and reads the response to its end.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, BenchError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("the parts of our own requests are valid");
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        Ok(Answer { status: head.status.as_u16(), body: body.collect().await?.to_bytes() })
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
