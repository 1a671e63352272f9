//! Reports for people: a table for the terminal, and a page with plots.

mod attack_page;
mod attack_table;
mod evaluation_page;
mod page;
mod plot;
mod table;

/// A number as people read it.
pub(crate) fn short(value: f64) -> String {
    // So that nothing is called -0.000.
    let text = format!("{value:.3}");
    if text == "-0.000" { "0.000".into() } else { text }
}
