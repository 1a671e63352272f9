//! The HTML page of a report on attacks.

use super::{
    page::{figure, page, table},
    plot::{Bar, bars},
    short,
    table::interval,
};
use crate::{
    figures::{AttackFigures, AttackReport, PairShift},
    statistics::Estimate,
};

impl AttackReport {
    /// A self-contained page with plots.
    pub fn to_html(&self) -> String {
        let plots = [self.plot_of_scores(), self.plots_of_preferences()].concat();
        let table = self.table();
        let body = format!("<div class=\"plots\">{plots}</div><h2>All figures</h2>{table}");
        let lead = format!("{} items of {}; 95 % intervals from seed {}.", self.items, self.data, self.seed);
        page(&format!("{} under attack", self.model), &lead, &body)
    }

    /// Bars of one figure of every attack that has it.
    fn bars(&self, estimate: fn(&AttackFigures) -> Option<Estimate>) -> Vec<Bar<'_>> {
        let bar = |found| Some(Bar { name: name(found), estimate: estimate(found)?, neutral: 0.0 });
        self.attacks.iter().filter_map(bar).collect()
    }

    /// The changes of scores; empty without scores.
    fn plot_of_scores(&self) -> String {
        let shifts = self.bars(|found| found.scores.as_ref().map(|scores| scores.shift));
        if shifts.is_empty() {
            return String::new();
        }
        let caption = "Mean change of the score, as part of its scale: to the right the attack pays.";
        figure("Scores under attack", &bars(&shifts, (-1.0, 1.0)), caption)
    }

    /// The verdicts on pairs that are won over; empty without pairs.
    fn plots_of_preferences(&self) -> String {
        let first = self.bars(|found| found.first_place.as_ref().map(|place| place.gained));
        let second = self.bars(|found| found.second_place.as_ref().map(|place| place.gained));
        let both = self.bars(|found| found.both_orders.as_ref().map(|place| place.gained));
        let caption = "Share of verdicts that come to prefer the attacked response, which is the worse one.";
        [("Attacked response first", first), ("Attacked response second", second), ("Both orders", both)]
            .into_iter()
            .filter(|(_, gained)| !gained.is_empty())
            .map(|(title, gained)| figure(title, &bars(&gained, (0.0, 1.0)), caption))
            .collect()
    }

    fn table(&self) -> String {
        let head = [
            "attack",
            "score",
            "score moves by",
            "95 % interval",
            "good",
            "first: changed",
            "won over",
            "second: changed",
            "won over",
            "both orders: changed",
            "won over",
            "text",
        ];
        let rows: Vec<_> = self.attacks.iter().map(cells).collect();
        table(&head, &rows)
    }
}

/// The figures of an attack as a row of the table.
fn cells(found: &AttackFigures) -> Vec<String> {
    let shown = |estimate: Option<Estimate>| estimate.map_or_else(String::new, |found| short(found.value));
    let place = |place: Option<&PairShift>| {
        [shown(place.map(|place| place.flipped)), shown(place.map(|place| place.gained))]
    };
    let scores = found.scores.as_ref();
    let mut cells = vec![name(found).to_owned()];
    cells.extend([
        shown(scores.map(|scores| scores.attacked)),
        shown(scores.map(|scores| scores.shift)),
        scores.map_or_else(String::new, |scores| interval(scores.shift)),
        shown(scores.map(|scores| scores.good)),
    ]);
    cells.extend(place(found.first_place.as_ref()));
    cells.extend(place(found.second_place.as_ref()));
    cells.extend(place(found.both_orders.as_ref()));
    let beginning: String = found.attack.text.chars().take(160).collect();
    cells.push(format!("{beginning:?}"));
    cells
}

fn name(found: &AttackFigures) -> &str {
    &found.attack.name
}
