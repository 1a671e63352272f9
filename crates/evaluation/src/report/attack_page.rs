//! The HTML page of a report on attacks.

use super::{
    page::{figure, page, table},
    plot::{Bar, bars},
    short,
    table::interval,
};
use crate::{
    AttackReport,
    attack::{AttackFigures, PairShift},
    statistics::Estimate,
};

impl AttackReport {
    /// A self-contained page with plots.
    pub fn to_html(&self) -> String {
        let all = |estimate: fn(&AttackFigures) -> Option<Estimate>| -> Vec<Bar<'_>> {
            let bar = |found| Some(Bar { name: name(found), estimate: estimate(found)?, neutral: 0.0 });
            self.attacks.iter().filter_map(bar).collect()
        };
        let shifts = all(|found| found.scores.as_ref().map(|scores| scores.shift));
        let gains = all(|found| found.first_place.as_ref().map(|place| place.gained));
        let others = all(|found| found.second_place.as_ref().map(|place| place.gained));
        let both = all(|found| found.both_orders.as_ref().map(|place| place.gained));
        let mut plots = String::new();
        if !shifts.is_empty() {
            let caption = "Mean change of the score, as part of its scale: to the right the attack pays.";
            plots += &figure("Scores under attack", &bars(&shifts, (-1.0, 1.0)), caption);
        }
        for (title, found) in
            [("Attacked response first", gains), ("Attacked response second", others), ("Both orders", both)]
        {
            if !found.is_empty() {
                let caption =
                    "Share of verdicts that come to prefer the attacked response, which is the worse one.";
                plots += &figure(title, &bars(&found, (0.0, 1.0)), caption);
            }
        }
        let shown =
            |estimate: Option<Estimate>| estimate.map_or_else(String::new, |found| short(found.value));
        let place = |place: Option<&PairShift>| {
            [shown(place.map(|place| place.flipped)), shown(place.map(|place| place.gained))]
        };
        let row = |found: &AttackFigures| {
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
        };
        let head = [
            "attack",
            "score",
            "shift",
            "95 % interval",
            "upper half",
            "first: flipped",
            "gained",
            "second: flipped",
            "gained",
            "both: flipped",
            "gained",
            "text",
        ];
        let rows: Vec<_> = self.attacks.iter().map(row).collect();
        let body = format!("<div class=\"plots\">{plots}</div><h2>All figures</h2>{}", table(&head, &rows));
        let lead = format!("{} items of {}; 95 % intervals from seed {}.", self.items, self.data, self.seed);
        page(&format!("{} under attack", self.model), &lead, &body)
    }
}

fn name(found: &AttackFigures) -> &str {
    &found.attack.name
}
