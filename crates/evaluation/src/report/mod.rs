//! Reports for readers: text for the terminal, and an HTML page with plots.

mod attack_page;
mod attack_table;
mod evaluation_page;
mod page;
mod plot;
mod table;

/// Formats a number with three decimal places.
pub(crate) fn short(value: f64) -> String {
    // Avoids "-0.000".
    let text = format!("{value:.3}");
    if text == "-0.000" { "0.000".into() } else { text }
}
