//! The metrics in a real Prometheus: its own checks of them, the rules, and every panel of the dashboard.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use gavel_tests::{Background, Server, free_port, image, run_well, send, tool, wait_until};
use serde_json::{Value, json};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy")
}

#[test]
fn the_rules_do_what_their_tests_say() {
    let folder = deploy().join("prometheus");
    for arguments in [
        &["check", "config", "prometheus.yml"][..],
        &["check", "rules", "gavel.rules.yml", "gavel.alerts.yml"],
        &["test", "rules", "gavel.tests.yml"],
    ] {
        let Some(mut promtool) = tool("promtool") else { return };
        run_well(promtool.args(arguments).current_dir(&folder), b"");
    }
}

#[test]
fn every_alert_has_a_test() {
    let read = |name: &str| fs::read_to_string(deploy().join("prometheus").join(name)).unwrap();
    let (alerts, tests) = (read("gavel.alerts.yml"), read("gavel.tests.yml"));
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10);
    for name in names {
        assert!(tests.contains(name), "{name} is not tested");
    }
}

/// A panel's title and one of its queries.
struct Query {
    title: String,
    expression: String,
}

/// All queries of the dashboard, with values for its variables.
fn queries() -> Vec<Query> {
    let text = fs::read_to_string(deploy().join("grafana/dashboards/gavel.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut queries = vec![];
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression.replace("$__rate_interval", "30s");
            let expression = expression.replace("$job", ".+").replace("$instance", ".+");
            assert!(!expression.contains('$'), "{expression}");
            queries.push(Query { title: panel["title"].as_str().unwrap().into(), expression });
        }
    }
    queries
}

/// A Prometheus with the rules of this repository that scrapes `targets` every second.
struct Prometheus {
    address: String,
    _process: Background,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(targets: &[&str]) -> Option<Self> {
        let mut command = tool("prometheus")?;
        let folder = tempfile::tempdir().unwrap();
        let rules = deploy().join("prometheus");
        let config = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": [rules.join("gavel.rules.yml"), rules.join("gavel.alerts.yml")],
            "scrape_configs": [{ "job_name": "gavel", "static_configs": [{ "targets": targets }] }],
        });
        let file = folder.path().join("prometheus.yml"); // JSON is YAML
        fs::write(&file, config.to_string()).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        command.args([
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", folder.path().join("data").display()),
            format!("--web.listen-address={address}"),
            "--log.level=warn".into(),
        ]);
        Some(Self { address, _process: Background::start(&mut command), _folder: folder })
    }

    fn get(&self, path: &str) -> Value {
        send(&self.address, ("GET", path), &[], b"").json()
    }

    /// The present samples of a query.
    fn ask(&self, expression: &str) -> Vec<f64> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}"));
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let samples = answer["data"]["result"].as_array().unwrap().iter();
        samples.map(|sample| sample["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }

    fn listens(&self) -> bool {
        std::net::TcpStream::connect(&self.address).is_ok()
    }
}

/// An address at which no server listens.
const NOBODY: &str = "127.0.0.1:1";

/// The panel that has data only where there are GPUs.
const OF_GPUS: &str = "Memory of GPUs";

/// Sends requests of every kind: scores, pairs in both orders, rewards, streams, texts, errors, and a client that
/// leaves.
fn load(server: &Server, round: usize) {
    let picture = image("geo384-square_336-0.png");
    let question = format!("What is in picture {round}?");
    let case = |more: Value| {
        let mut body = json!({ "question": question, "images": [picture] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    server.ok("/judge", &case(json!({ "response": "A star.", "mode": "score" })));
    server.ok("/judge", &case(json!({ "response": "A cross.", "distribution": true })));
    server.ok("/judge", &case(json!({ "responses": ["A star.", "A cross."], "order": "both" })));
    server.ok("/reward", &case(json!({ "responses": ["A star.", "A cross.", "A ring."] })));
    let scored = json!({ "responses": ["A star.", "A cross."], "method": "pointwise" });
    server.ok("/reward", &case(scored));
    let streamed = server.post("/judge", &case(json!({ "response": "A line.", "stream": true })));
    assert_eq!(streamed.events().last().unwrap().name, "verdict");
    let elsewhere = json!({ "question": "?", "response": "a", "images": [format!("http://{NOBODY}/a.png")] });
    assert_eq!(server.post("/judge", &elsewhere).json()["code"], "failed_to_download_image");
    let text = json!([{ "role": "user", "content": question }]);
    server.ok("/v1/chat/completions", &json!({ "messages": text, "max_tokens": 8 }));
    let endless = json!({ "messages": text, "max_tokens": 1500, "ignore_eos": true, "stream": true });
    drop(server.post("/v1/chat/completions", &endless).events().next());
    assert_eq!(server.post("/judge", &case(json!({ "response": "A star.", "rubric": "none" }))).status, 404);
}

#[test]
fn a_real_prometheus_has_data_for_every_panel() {
    let server = Server::with_options(&["--allow-image-hosts", NOBODY]);
    // Its texts are never verdicts, which a trained critic would always write.
    let babbling = Server::random();
    let Some(prometheus) = Prometheus::start(&[server.address(), babbling.address()]) else { return };
    // A rate needs requests between two scrapes, so that the load continues until every query has data.
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut open = queries();
    open.retain(|query| query.title != OF_GPUS);
    assert!(open.len() > 50);
    let mut round = 0;
    while !open.is_empty() {
        let titles = || open.iter().map(|query| format!("{}: {}", query.title, query.expression));
        assert!(Instant::now() < deadline, "no data for\n{}", titles().collect::<Vec<_>>().join("\n"));
        load(&server, round);
        let case = json!({ "question": round.to_string(), "response": "a", "max_tokens": 4 });
        assert_eq!(babbling.post("/judge", &case).status, 502);
        round += 1;
        if prometheus.listens() {
            open.retain(|query| !prometheus.ask(&query.expression).iter().any(|value| value.is_finite()));
        }
    }
    // The metrics agree with the load, once its last requests are scraped and the rules have run.
    for (expression, least) in [
        (r#"sum(gavel_requests_total{outcome="cancelled",kind="chat"})"#, 1.0),
        (r#"sum(gavel_requests_total{outcome="unparsable"})"#, 1.0),
        (r#"sum(gavel_parse_failures_total)"#, 1.0),
        ("gavel:parse_failures:ratio_1h", 0.0001),
        ("gavel:prompt_tokens_cached:ratio_5m", 0.1),
    ] {
        wait_until(&format!("{expression} is at least {least}"), || {
            let values = prometheus.ask(expression);
            !values.is_empty() && values.iter().all(|value| *value >= least)
        });
    }
    let rules = prometheus.get("/api/v1/rules");
    let groups = rules["data"]["groups"].as_array().unwrap();
    for rule in groups.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        assert_eq!(rule["lastError"], Value::Null, "{rule}");
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let Some(mut promtool) = tool("promtool") else { return };
    let complaints = run_well(promtool.args(["check", "metrics"]), server.get("/metrics").text().as_bytes());
    assert_eq!(complaints, "");
}
