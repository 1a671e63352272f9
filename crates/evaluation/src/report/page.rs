//! The template of a self-contained page.

use super::{short, table::interval};
use crate::statistics::Estimate;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5d6877; --line: #d9dee6; --paper: #fff; --panel: #f6f8fb; --accent: #2f6fde; --wrong: #d9622b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa6b6; --line: #343d4b; --paper: #14181f; --panel: #1c222c; --accent: #6ea0ff; --wrong: #f08a55; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 40px 0 12px; }
p.lead, td.note, figcaption { color: var(--soft); } p.lead { margin: 0 0 20px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 12px; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
.tile b { display: block; font-size: 27px; font-variant-numeric: tabular-nums; } .tile small { color: var(--soft); display: block; }
.plots { display: flex; flex-wrap: wrap; gap: 20px; margin: 12px 0; }
figure { margin: 0; background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 14px; }
figcaption { font-size: 13px; max-width: 36em; margin-top: 6px; } figure h3 { margin: 0 0 6px; font-size: 15px; }
svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); } td, th { padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; } td:first-child, td.number { white-space: nowrap; } td.note { overflow-wrap: anywhere; min-width: 12em; }
.scroll { overflow-x: auto; }
.grid { stroke: var(--line); fill: none; } .ideal { stroke: var(--soft); stroke-dasharray: 5 4; fill: none; }
.tick, .count { fill: var(--soft); } .count { font-size: 10px; } .axis, .value, .cell { fill: var(--ink); } .cell { font-size: 18px; }
.dot { fill: var(--accent); fill-opacity: .55; stroke: var(--accent); } .bar { fill: var(--accent); fill-opacity: .55; }
.mark { fill: var(--ink); } .right { fill: var(--accent); } .wrong { fill: var(--wrong); }
.whisker { stroke: var(--ink); stroke-width: 1.5; } .neutral { stroke: var(--soft); stroke-width: 2; }
";

/// A page with a title, a lead paragraph and a body.
pub(crate) fn page(title: &str, lead: &str, body: &str) -> String {
    let (title, lead) = (escape(title), escape(lead));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<main>\n<h1>{title}</h1>\n<p class=\"lead\">{lead}</p>\n{body}\n</main>\n\
         </html>\n"
    )
}

/// Escapes text for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A tile with a headline figure; empty if there is no estimate.
pub(crate) fn tile(name: &str, estimate: Option<Estimate>) -> String {
    let Some(estimate) = estimate else { return String::new() };
    format!(
        "<div class=\"tile\">{}<b>{}</b><small>{}</small></div>",
        escape(name),
        short(estimate.value),
        interval(estimate)
    )
}

/// A plot with its title and caption.
pub(crate) fn figure(title: &str, plot: &str, caption: &str) -> String {
    format!("<figure><h3>{}</h3>{plot}<figcaption>{}</figcaption></figure>", escape(title), escape(caption))
}

/// A table with a header, whose first and last columns are text, and the others numbers.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let class = |index: usize, count: usize| match index {
        0 => "",
        _ if index + 1 == count => " class=\"note\"",
        _ => " class=\"number\"",
    };
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = (usize, String)>, count: usize| {
        let cells: String = cells
            .map(|(index, cell)| format!("<{tag}{}>{}</{tag}>", class(index, count), escape(&cell)))
            .collect();
        format!("<tr>{cells}</tr>")
    };
    let top = cells("th", &mut head.iter().map(|cell| (*cell).to_owned()).enumerate(), head.len());
    let rows: String =
        rows.iter().map(|row| cells("td", &mut row.iter().cloned().enumerate(), row.len())).collect();
    format!("<div class=\"scroll\"><table>{top}{rows}</table></div>")
}
