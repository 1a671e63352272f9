//! Tests of the names of metrics: each is recorded and documented, and what reads metrics uses names that exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{DURATIONS, Definition, Kind, all};
use crate::generated_document;

/// The metric by which the chart scales, which is not the server's: an adapter computes it from two of these.
const MADE_BY_AN_ADAPTER: &str = "gavel_queue_drain_seconds";

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The words that follow a text where it begins a word, with that text.
fn words<'a>(text: &'a str, beginning: &str) -> Vec<&'a str> {
    let of_word = |c: char| c.is_alphanumeric() || c == '_';
    let places = text.match_indices(beginning).map(|(place, _)| text.split_at(place));
    let begun = places.filter(|(before, _)| !before.ends_with(of_word));
    begun
        .map(|(_, rest)| {
            let end = rest[beginning.len()..].find(|c: char| !of_word(c));
            &rest[..end.map_or(rest.len(), |end| beginning.len() + end)]
        })
        .collect()
}

/// Whether a series of this name is exported.
fn is_exported(name: &str) -> bool {
    all().any(|definition| match definition.kind {
        Kind::Histogram(_) => {
            let series = ["", "_bucket", "_sum", "_count"];
            series.into_iter().any(|end| name.strip_suffix(end) == Some(definition.name))
        }
        Kind::Counter | Kind::Gauge => definition.name == name,
    })
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    let mut names = BTreeSet::new();
    for definition in all() {
        let Definition { name, kind, .. } = definition;
        assert!(names.insert(name), "{name} is defined twice");
        assert_eq!(name.ends_with("_total"), matches!(kind, Kind::Counter), "{name}");
        if matches!(kind, Kind::Histogram(_)) {
            let timed = DURATIONS.iter().any(|duration| duration.name == *name);
            assert_eq!(timed, definition.unit().is_some(), "{name}");
        }
    }
}

#[test]
fn every_metric_is_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics");
    let sources: String = files(&folder).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let recorded: BTreeSet<&str> = words(&sources, "&names::").into_iter().collect();
    for Definition { name, .. } in all() {
        let metric = name.strip_prefix("gavel_").unwrap_or(name).to_uppercase();
        assert!(recorded.contains(format!("&names::{metric}").as_str()), "nothing records {name}");
    }
}

/// The beginning of the document of all metrics.
const INTRODUCTION: &str = "\
# Metrics

The metrics that `GET /metrics` returns in the text format of Prometheus. This list is made from the program; a test
compares the two. [Access](access.md#listeners) says where the route is, and [deploy/prometheus](../deploy/prometheus)
has rules and alerts.

No value of a label comes from a client: `endpoint` is the pattern of a route, `key` the id of a key, and `rubric` the
name of a rubric of the operator, or `inline`.
";

/// The title of a section of the document, a note, and the metrics that belong to it.
type Section = (&'static str, &'static str, fn(&Kind) -> bool);

/// The document of all metrics.
fn document() -> String {
    let sections: [Section; 3] = [
        ("Counters", "They begin at 0 with the process.", |kind| matches!(kind, Kind::Counter)),
        ("Gauges", "They have the values of the moment.", |kind| matches!(kind, Kind::Gauge)),
        ("Histograms", "Each has the series `_bucket`, `_sum` and `_count`.", |kind| {
            matches!(kind, Kind::Histogram(_))
        }),
    ];
    let mut text = INTRODUCTION.to_owned();
    for (title, note, is_of_kind) in sections {
        text += &format!("\n## {title}\n\n{note}\n\n| metric | labels | what it is |\n|---|---|---|\n");
        for Definition { name, labels, help, .. } in all().filter(|definition| is_of_kind(&definition.kind)) {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            text += &format!("| `{name}` | {} | {help} |\n", labels.join(", "));
        }
    }
    text
}

#[test]
fn every_metric_is_documented() {
    generated_document::check("metrics.md", &document());
}

#[test]
fn what_reads_metrics_names_those_that_exist() {
    // Documents may have other words that begin with `process_`, and code other words that are not in quotes.
    let readers: [(&str, &[&str]); 3] = [
        ("deploy", &["gavel_", "process_"]),
        ("docs", &["gavel_"]),
        ("crates/bench/src", &["\"gavel_", "\"process_"]),
    ];
    for (folder, beginnings) in readers {
        let mut found = 0;
        for path in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder)) {
            let text = fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&text);
            for name in beginnings.iter().flat_map(|beginning| words(&text, beginning)) {
                let name = name.trim_start_matches('"');
                let exists = is_exported(name) || name == MADE_BY_AN_ADAPTER;
                assert!(exists, "{} names {name}", path.display());
                found += 1;
            }
        }
        assert!(found > 0, "{folder} names no metric");
    }
}
