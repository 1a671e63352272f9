//! Three replicas behind a real HAProxy: the routing of requests about one image, and the effect of a replica's death.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use gavel_tests::{
    Background, Response, Server, free_port, image, python, reference, run_well, send, tool, wait_until,
};
use serde_json::{Value, json};

const PICTURES: [&str; 6] = [
    "geo384-square_336-0.png",
    "geo384-square_1300-0.png",
    "geo384-wide_800x300-0.png",
    "geo384-multi_image-0.png",
    "geo384-multi_image-1.png",
    "geo384-photo_1500x900-0.png",
];

/// Replicas and the proxy in front of them.
struct Fleet {
    replicas: Vec<Server>,
    address: String,
    _proxy: Background,
}

impl Fleet {
    fn start() -> Option<Self> {
        let mut proxy = tool("haproxy")?;
        let replicas: Vec<Server> = (0..3).map(|_| Server::with_options(&[])).collect();
        let address = format!("127.0.0.1:{}", free_port());
        let config =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/haproxy/haproxy.cfg");
        proxy.arg("-db").arg("-f").arg(config).env("GAVEL_PROXY_BIND", &address);
        for (index, replica) in replicas.iter().enumerate() {
            proxy.env(format!("GAVEL_REPLICA_{}", index + 1), replica.address());
        }
        let proxy = Background::start(&mut proxy);
        wait_until("the proxy listens", || std::net::TcpStream::connect(&address).is_ok());
        Some(Self { replicas, address, _proxy: proxy })
    }

    fn judge(&self, body: &Value, affinity: Option<&str>) -> Response {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(affinity.map(|affinity| ("x-gavel-affinity", affinity)));
        send(&self.address, ("POST", "/judge"), &headers, body.to_string().as_bytes())
    }

    /// Number of images that went through a vision tower, of all replicas together.
    fn seen(&self) -> usize {
        let sample = r#"gavel_cache_requests_total{tier="features",result="miss"} "#;
        let of_one = |replica: &Server| {
            let text = replica.get("/metrics").text();
            text.lines().find_map(|line| line.strip_prefix(sample)?.parse::<usize>().ok()).unwrap_or(0)
        };
        self.replicas.iter().map(of_one).sum()
    }
}

fn case(picture: &str, response: usize) -> Value {
    json!({
        "question": "What is it?", "images": [image(picture)],
        "response": format!("A star with {response} corners."), "mode": "score",
    })
}

/// The affinity key of an image, computed by the code of `docs/scaling.md`.
fn documented_name(picture: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("docs/scaling.md")).unwrap();
    let code = text.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let file = reference().join("images").join(picture);
    let program = format!("import hashlib\nimages = [open({file:?}, 'rb').read()]\n{code}print(affinity)");
    run_well(Command::new(python()).args(["-c", &program]), b"").trim().to_owned()
}

#[test]
fn requests_on_one_picture_meet_one_replica_when_they_say_so() {
    let Some(fleet) = Fleet::start() else { return };
    let names: Vec<String> = PICTURES
        .map(|picture| fleet.judge(&case(picture, 0), None).header("x-gavel-affinity").unwrap().to_owned())
        .into();
    for (index, name) in names.iter().enumerate() {
        assert!(name.len() == 32 && !names[..index].contains(name), "each picture has a name: {names:?}");
    }
    assert_eq!(documented_name(PICTURES[0]), names[0], "a client can work it out");
    let first = fleet.seen();
    assert_eq!(first, PICTURES.len());
    for response in 1..5 {
        for (picture, name) in PICTURES.iter().zip(&names) {
            let answer = fleet.judge(&case(picture, response), Some(name));
            assert_eq!(
                answer.header("x-gavel-affinity"),
                Some(name.as_str()),
                "the name is the picture's alone"
            );
            assert_eq!(answer.status, 200);
        }
    }
    let with_names = fleet.seen() - first;
    assert!(with_names <= PICTURES.len(), "{with_names}: each picture is seen once, where its name leads");
    // Five images, since with six, round robin over three replicas would send each image to the same one every time.
    let some = &PICTURES[..5];
    for response in 5..9 {
        for picture in some {
            assert_eq!(fleet.judge(&case(picture, response), None).status, 200);
        }
    }
    let without = fleet.seen() - first - with_names;
    assert!(without >= some.len(), "{without}: without names every replica comes to see every picture");
    assert_eq!(
        send(&fleet.address, ("GET", "/metrics"), &[], b"").status,
        404,
        "figures are the replicas' own"
    );
}

#[test]
fn a_replica_that_dies_loses_no_request_that_is_asked_again() {
    let Some(mut fleet) = Fleet::start() else { return };
    let victim = fleet.replicas.remove(0);
    let (answered, repeated) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let total = 90;
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    if index >= total {
                        return;
                    }
                    let body =
                        json!({ "question": format!("What is {index}?"), "response": "a", "max_tokens": 8 });
                    // As HTTP clients do: retry after a failure, with a longer pause each time.
                    let ask = |attempt: u64| {
                        std::thread::sleep(Duration::from_millis(50 * attempt));
                        fleet.judge(&body, Some(&format!("{index:032x}"))).status
                    };
                    let tries = (0..8).map(ask).position(|status| status == 200);
                    repeated.fetch_add(tries.expect("one of the tries is answered"), Ordering::SeqCst);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        wait_until("some are answered", || answered.load(Ordering::SeqCst) >= 15);
        let judged = victim.get("/metrics").text();
        drop(victim); // killed while it has work
        assert!(judged.contains(r#"gavel_requests_total{endpoint="/judge""#), "it had its share");
    });
    assert_eq!(answered.into_inner(), total);
    let served: f64 = fleet
        .replicas
        .iter()
        .map(|replica| {
            let sample = r#"gavel_requests_total{endpoint="/judge",kind="pointwise",outcome="ok"} "#;
            let text = replica.get("/metrics").text();
            text.lines().find_map(|line| line.strip_prefix(sample)?.parse::<f64>().ok()).unwrap()
        })
        .sum();
    assert!(served < total as f64 && served > total as f64 / 2.0, "{served} by those that live");
}
