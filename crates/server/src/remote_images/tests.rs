//! Fetches from names whose addresses the test chooses, and over TLS with the test's certificates.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use super::{
    FetchLimits, NotFetched, Policy, RemoteImages,
    resolver::{Names, SystemNames},
};

/// A public address by its range, but neither assigned nor routed.
const NOWHERE: &str = "3ffe:ffff::1";
const IMAGE: &[u8] = b"an image";

/// A test that waits this long has failed.
const STUCK: Duration = Duration::from_secs(60);

/// A scripted answer to the lookup of a name.
#[derive(Debug, Clone)]
enum Said {
    Addresses(Vec<IpAddr>),
    Fails(io::ErrorKind),
    Never,
}

/// A resolver that gives the scripted answers one after the other.
#[derive(Debug, Default)]
struct Scripted {
    answers: Mutex<VecDeque<Said>>,
    asked: AtomicUsize,
}

impl Names for Scripted {
    fn look_up(&self, _: String) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> {
        self.asked.fetch_add(1, SeqCst);
        let said = self.answers.lock().unwrap().pop_front().unwrap();
        Box::pin(async move {
            match said {
                Said::Addresses(all) => Ok(all.into_iter().map(|one| SocketAddr::new(one, 0)).collect()),
                Said::Fails(kind) => Err(kind.into()),
                Said::Never => std::future::pending().await,
            }
        })
    }
}

const LIMITS: FetchLimits =
    FetchLimits { bytes: 20 << 20, connect: Duration::from_secs(3), whole: Duration::from_secs(10) };

/// A fetcher whose names resolve to `answers`.
fn scripted(answers: Vec<Said>, hosts: &[&str]) -> (RemoteImages, Arc<Scripted>) {
    scripted_within(LIMITS, answers, hosts)
}

fn scripted_within(limits: FetchLimits, answers: Vec<Said>, hosts: &[&str]) -> (RemoteImages, Arc<Scripted>) {
    let names = Arc::new(Scripted { answers: Mutex::new(answers.into()), ..Scripted::default() });
    let policy = Policy::Hosts(hosts.iter().map(|host| host.parse().unwrap()).collect());
    (RemoteImages::with((policy, limits), (names.clone(), Client::builder())).unwrap(), names)
}

async fn fetch(images: &RemoteImages, url: &str) -> Result<Vec<u8>, NotFetched> {
    images.fetch(images.check(url).unwrap()).await
}

fn addresses(texts: &[&str]) -> Said {
    Said::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect())
}

/// A listener on this machine, and the number of connections to it.
async fn inside() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let came = Arc::<AtomicUsize>::default();
    let counted = came.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, SeqCst);
        }
    });
    (port, came)
}

#[tokio::test]
async fn a_name_that_leads_inside_in_any_of_its_addresses_is_not_asked() {
    let (port, came) = inside().await;
    for said in [
        &["127.0.0.1"][..],
        &["10.0.0.1"],
        &[NOWHERE, "127.0.0.1"],
        &["1.1.1.1", "fd00::1"],
        &["::ffff:127.0.0.1"],
    ] {
        let (images, names) = scripted(vec![addresses(said)], &[&format!("a.example:{port}")]);
        assert_eq!(fetch(&images, &format!("http://a.example:{port}/")).await, Err(NotFetched), "{said:?}");
        assert_eq!(names.asked.load(SeqCst), 1);
    }
    assert_eq!(came.load(SeqCst), 0);
}

#[tokio::test]
async fn a_name_that_changes_is_asked_at_the_address_that_was_checked_alone() {
    let (port, came) = inside().await;
    let answers = vec![addresses(&[NOWHERE]), addresses(&["127.0.0.1"])];
    let (images, names) = scripted(answers, &[&format!("a.example:{port}")]);
    let url = format!("http://a.example:{port}/");
    assert_eq!(fetch(&images, &url).await, Err(NotFetched));
    assert_eq!(names.asked.load(SeqCst), 1, "one question for one connection");
    // The next request resolves and checks the name again.
    assert_eq!(fetch(&images, &url).await, Err(NotFetched));
    assert_eq!((names.asked.load(SeqCst), came.load(SeqCst)), (2, 0));
}

#[tokio::test]
async fn names_that_lead_nowhere_or_to_very_much_or_never_come_are_given_up() {
    let many = (0..1000).map(|number| format!("3ffe:ffff::{number:x}").parse().unwrap()).collect();
    let answers = vec![
        Said::Fails(io::ErrorKind::NotFound),
        Said::Fails(io::ErrorKind::Other),
        Said::Addresses(Vec::new()),
        Said::Addresses(many),
        Said::Never,
    ];
    let count = answers.len();
    // The connect timeout ends each attempt: the timeout of the whole fetch does not expire within this test.
    let limits =
        FetchLimits { connect: Duration::from_millis(50), whole: Duration::from_secs(3600), ..LIMITS };
    let (images, _) = scripted_within(limits, answers, &["a.example"]);
    let fetching = async {
        for _ in 0..count {
            assert_eq!(fetch(&images, "http://a.example/").await, Err(NotFetched));
        }
    };
    tokio::time::timeout(STUCK, fetching).await.expect("each is given up");
}

/// Answers every request with an image.
async fn answer(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let length = IMAGE.len();
    stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes()).await?;
    stream.write_all(IMAGE).await?;
    stream.shutdown().await
}

/// A certificate authority.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A TLS server with a certificate; returns its port, and the ALPN protocol negotiated with each client.
async fn encrypted(
    params: CertificateParams,
    signed_by: Option<&CertifiedIssuer<'static, KeyPair>>,
) -> (u16, Arc<Mutex<Vec<Option<Vec<u8>>>>>) {
    let key = KeyPair::generate().unwrap();
    let certificate = match signed_by {
        Some(authority) => params.signed_by(&key, authority).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let certificate = CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let agreed = Arc::<Mutex<Vec<Option<Vec<u8>>>>>::default();
    let noted = agreed.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            noted.lock().unwrap().push(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec));
            let _ = answer(&mut stream).await; // a client that does not trust it has left
        }
    });
    (port, agreed)
}

#[tokio::test]
async fn only_a_certificate_that_is_valid_for_the_host_is_trusted_and_only_http_1_1_is_spoken() {
    let authority = authority();
    let here = || CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let mut expired = here();
    (expired.not_before, expired.not_after) =
        (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
    let elsewhere = CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
    let trusted = || Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    for (what, params, signed_by, good) in [
        ("valid", here(), Some(&authority), true),
        ("expired", expired, Some(&authority), false),
        ("of another host", elsewhere, Some(&authority), false),
        ("signed by itself", here(), None, false),
    ] {
        let (port, agreed) = encrypted(params, signed_by).await;
        let policy = Policy::Hosts(vec![format!("127.0.0.1:{port}").parse().unwrap()]);
        let builder = Client::builder().add_root_certificate(trusted());
        let images = RemoteImages::with((policy.clone(), LIMITS), (Arc::new(SystemNames), builder)).unwrap();
        let url = format!("https://127.0.0.1:{port}/");
        let expected = if good { Ok(IMAGE.to_vec()) } else { Err(NotFetched) };
        assert_eq!(fetch(&images, &url).await, expected, "{what}");
        if good {
            assert_eq!(*agreed.lock().unwrap(), [Some(b"http/1.1".to_vec())]);
            // An unknown authority is not trusted by default.
            let images = RemoteImages::new(policy, LIMITS).unwrap();
            assert_eq!(fetch(&images, &url).await, Err(NotFetched));
        }
    }
}

#[tokio::test]
async fn an_old_version_of_tls_is_not_spoken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let old = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // A TLS 1.0 handshake with a cipher that every TLS 1.0 client knows.
        let hello = [&[2, 0, 0, 38, 3, 1][..], &[7; 32], &[0, 0, 0x2f, 0]].concat();
        let record = [&[22, 3, 1, 0, hello.len() as u8][..], &hello].concat();
        let mut first = [0; 5];
        stream.read_exact(&mut first).await.unwrap();
        stream.write_all(&record).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.map(|_| rest)
    });
    let policy = Policy::Hosts(vec![format!("127.0.0.1:{port}").parse().unwrap()]);
    let images = RemoteImages::new(policy, LIMITS).unwrap();
    assert_eq!(fetch(&images, &format!("https://127.0.0.1:{port}/")).await, Err(NotFetched));
    // The handshake ends with an alert, and no request was sent.
    let rest = old.await.unwrap().unwrap_or_default();
    assert!(!rest.windows(3).any(|bytes| bytes == b"GET"));
}

#[tokio::test]
async fn so_many_are_fetched_at_a_time_and_so_many_from_one_host() {
    const HOSTS: u8 = 10;
    const EACH: usize = 5;
    // No request is answered before the gate opens.
    let (gate, open, most) =
        (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let mut ports = Vec::new();
    for host in 1..=HOSTS {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 1, host), 0)).await.unwrap();
        ports.push((host, listener.local_addr().unwrap().port()));
        let (gate, open, most) = (gate.clone(), open.clone(), most.clone());
        tokio::spawn(async move {
            let of_host = Arc::<AtomicUsize>::default();
            while let Ok((mut stream, _)) = listener.accept().await {
                let (gate, open, most, of_host) = (gate.clone(), open.clone(), most.clone(), of_host.clone());
                tokio::spawn(async move {
                    assert!(of_host.fetch_add(1, SeqCst) < 4, "more than four from one host");
                    most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
                    let _open = gate.acquire().await.unwrap();
                    // Decrement before the client can know, so that the next request is never counted next to this
                    // one.
                    open.fetch_sub(1, SeqCst);
                    of_host.fetch_sub(1, SeqCst);
                    answer(&mut stream).await
                });
            }
        });
    }
    let policy = Policy::Hosts(
        ports.iter().map(|(host, port)| format!("127.0.1.{host}:{port}").parse().unwrap()).collect(),
    );
    let images = RemoteImages::new(policy, LIMITS).unwrap();
    let mut fetches = Vec::new();
    for (host, port) in ports {
        for number in 0..EACH {
            let images = images.clone();
            let url = format!("http://127.0.1.{host}:{port}/{number}");
            fetches.push(tokio::spawn(async move { fetch(&images, &url).await }));
        }
    }
    let all_open = async {
        while open.load(SeqCst) < 32 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(STUCK, all_open).await.expect("so many are fetched at a time");
    gate.add_permits(100);
    for fetch in fetches {
        assert_eq!(fetch.await.unwrap(), Ok(IMAGE.to_vec()));
    }
    assert_eq!(most.load(SeqCst), 32);
}

#[tokio::test]
async fn a_host_of_ipv6_alone_is_asked() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        eprintln!("skipped: this machine has no IPv6");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = answer(&mut stream).await; // a failure shows below as a missing image
        }
    });
    let policy = Policy::Hosts(vec![format!("[::1]:{port}").parse().unwrap()]);
    let images = RemoteImages::new(policy, LIMITS).unwrap();
    assert_eq!(fetch(&images, &format!("http://[::1]:{port}/")).await, Ok(IMAGE.to_vec()));
}
