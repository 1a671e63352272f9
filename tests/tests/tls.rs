//! TLS connections: versions, reloaded certificates, and client certificates.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use gavel_tests::{Response, Server, binary, read_from, wait_until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for a name, and its key, in PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

/// The certificate files of a server.
struct Files(TempDir);

impl Files {
    fn new(server: (String, String), clients: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(server);
        fs::write(files.path("clients.crt"), clients).unwrap();
        files
    }

    fn write(&self, (certificate, key): (String, String)) {
        fs::write(self.path("tls.crt"), certificate).unwrap();
        fs::write(self.path("tls.key"), key).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn server(&self, options: &[&str]) -> Server {
        let (certificate, key) = (self.text("tls.crt"), self.text("tls.key"));
        Server::with_options(&[&["--tls-cert", &certificate, "--tls-key", &key], options].concat())
    }
}

/// A client: the authority that it trusts, its own certificate if it has one, and the TLS versions that it speaks.
struct Asking<'a> {
    trusts: &'a Authority,
    own: Option<(String, String)>,
    versions: &'a [&'static SupportedProtocolVersion],
}

impl Asking<'_> {
    /// Requests `/livez`.
    fn ask(&self, server: &Server) -> io::Result<Response> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.trusts.pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match &self.own {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        let connection =
            ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
        let stream = TcpStream::connect(server.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut stream = StreamOwned::new(connection, stream);
        let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request)?;
        // A refusal of the client's certificate arrives after the handshake, in the place of the response.
        let mut first = [0; 1];
        stream.read_exact(&mut first)?;
        Ok(read_from(io::Cursor::new(first).chain(stream)))
    }
}

#[test]
fn both_versions_are_spoken_and_nothing_plain() {
    let authority = Authority::new();
    let files = Files::new(authority.sign("localhost"), "");
    let server = files.server(&["--head-timeout-s", "1"]);
    for version in [&TLS12, &TLS13] {
        let asking = Asking { trusts: &authority, own: None, versions: &[version] };
        assert_eq!(asking.ask(&server).unwrap().status, 200, "{version:?}");
    }
    let mut plain = TcpStream::connect(server.address()).unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    // A client that begins no handshake is disconnected.
    let start = Instant::now();
    let mut silent = TcpStream::connect(server.address()).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let _ = silent.read_to_end(&mut Vec::new());
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_probe_in_tls_trusts_only_its_authorities_and_wants_the_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = Files::new(authority.sign("judge.example"), &authority.pem());
    fs::write(files.path("others.crt"), other.pem()).unwrap();
    let (own, others) = (files.text("clients.crt"), files.text("others.crt"));
    let server = files.server(&[]);
    let port = server.address().rsplit_once(':').unwrap().1;
    let probe = |arguments: &[&str]| {
        let output = Command::new(binary()).args(["probe", "--port", port]).args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(probe(&["--tls-ca", &own, "--tls-name", "judge.example"]), (true, String::new()));
    let refused = [
        // The certificate is not for 127.0.0.1.
        (vec!["--tls-ca", &own], "invalid peer certificate"),
        (vec!["--tls-ca", &others, "--tls-name", "judge.example"], "invalid peer certificate"),
        (vec![], "may speak TLS"),
    ];
    for (arguments, words) in refused {
        let (is_well, said) = probe(&arguments);
        assert!(!is_well && said.contains(words), "{arguments:?}: {said}");
    }
    // A certificate that signs itself is its own authority.
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["judge.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    files.write((certificate.pem(), key.serialize_pem()));
    server.signal("HUP");
    let itself = files.text("tls.crt");
    wait_until("the new certificate is shown", || {
        probe(&["--tls-ca", &itself, "--tls-name", "judge.example"]).0
    });
}

#[test]
fn certificates_are_read_again_on_a_signal_and_stay_when_they_are_wrong() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = Files::new(old.sign("localhost"), "");
    let server = files.server(&[]);
    let is_served = |trusts: &Authority| {
        Asking { trusts, own: None, versions: &[&TLS13] }
            .ask(&server)
            .is_ok_and(|answer| answer.status == 200)
    };
    let hangup = || server.signal("HUP");
    assert!(is_served(&old) && !is_served(&new));
    // A key that does not belong to the certificate.
    files.write((new.sign("localhost").0, new.sign("localhost").1));
    hangup();
    files.write(new.sign("localhost"));
    hangup();
    wait_until("the new certificate is shown", || is_served(&new));
    assert!(!is_served(&old));
}

#[test]
fn clients_need_a_certificate_where_that_is_said() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let files = Files::new(authority.sign("localhost"), &authority.pem());
    let server = files.server(&["--tls-client-ca", &files.text("clients.crt")]);
    let asking = |own| Asking { trusts: &authority, own, versions: &[&TLS12, &TLS13] }.ask(&server);
    assert!(asking(None).is_err());
    assert!(asking(Some(stranger.sign("client"))).is_err());
    assert_eq!(asking(Some(authority.sign("client"))).unwrap().status, 200);
}

#[test]
fn files_that_are_wrong_are_told_before_anything_is_loaded() {
    let authority = Authority::new();
    let (certificate, _) = authority.sign("localhost");
    let files = Files::new((certificate, authority.sign("localhost").1), "");
    let (certificate, key) = (files.text("tls.crt"), files.text("tls.key"));
    for (certificate, key, words) in [
        (&*certificate, &*key, "do not fit together"),
        (&certificate, "/no/such/file", "/no/such/file has no private key"),
        (&key, &key, "has no certificate"),
    ] {
        let options = ["serve", "--port", "0", "--tls-cert", certificate, "--tls-key", key];
        let output = Command::new(binary()).args(options).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(78) && text.contains(words), "{words} in {text}");
    }
}
