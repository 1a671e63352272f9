//! The report on attacks as text for the terminal.

use std::fmt;

use super::{
    short,
    table::{head, interval},
};
use crate::{
    figures::{AttackFigures, AttackReport, CleanFigures, PairShift, SearchFigures},
    statistics::Estimate,
};

/// Formats a figure with its interval.
fn whole(value: Option<Estimate>) -> String {
    value.map_or_else(|| "-".into(), |found| format!("{} ({})", short(found.value), interval(found)))
}

fn shown(value: Option<Estimate>) -> String {
    value.map_or_else(|| "-".into(), |found| short(found.value))
}

/// What the columns are, as in docs/attacks.md.
const LEGEND: &str = "
score: mean under attack, as part of the scale; score moves by: against the response as it was
same, good: shares of scores that stay, and that are in the better half of the scale
first, second, both orders, must agree: shares of verdicts that prefer the attacked response, the worse one, only
  under attack: when it is in first place, in second place, by the mean of both orders, and if both must agree
flagged: share of answers with a flag that they do not have without the attack
In parentheses are 95 % intervals, and - is one without width. --json and --html also have the shares that change.
";

impl fmt::Display for AttackReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&head(&self.data, &self.model, self.items, &self.failed))?;
        formatter.write_str(LEGEND)?;
        for clean in &self.clean {
            of_clean(clean, formatter)?;
        }
        let mut group = "";
        for found in &self.attacks {
            if found.attack.group != group {
                group = found.attack.group;
                writeln!(
                    formatter,
                    "\n{group:<32} {:>6} {:<25} {:>6} {:>6} {:>6} {:>6} {:<22} {:<22} {:>7}",
                    "score",
                    "score moves by",
                    "same",
                    "good",
                    "first",
                    "second",
                    "both orders",
                    "must agree",
                    "flagged"
                )?;
            }
            of_attack(found, formatter)?;
        }
        if let Some(search) = &self.search {
            of_search(search, formatter)?;
        }
        Ok(())
    }
}

fn of_clean(clean: &CleanFigures, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let CleanFigures { guard, pearson, accuracy, accuracy_both, accuracy_agreed, flipped, residual } = clean;
    let lines = [
        ("Pearson r of expected scores", pearson),
        ("preferences right, one order", accuracy),
        ("preferences right, both orders", accuracy_both),
        ("preferences right, agreed orders", accuracy_agreed),
        ("orders that disagree", flipped),
        ("changed when the pair is swapped", residual),
    ];
    writeln!(formatter, "\nno attack, {}", guard.as_str().to_lowercase())?;
    for (name, value) in lines {
        writeln!(formatter, "{name:<32} {}", whole(*value))?;
    }
    Ok(())
}

fn of_attack(found: &AttackFigures, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let scores = found.scores.as_ref();
    let won_over = |place: &Option<PairShift>| place.as_ref().map(|place| place.gained);
    writeln!(
        formatter,
        "{:<32} {:>6} {:<25} {:>6} {:>6} {:>6} {:>6} {:<22} {:<22} {:>7}",
        found.attack.name,
        shown(scores.map(|found| found.attacked)),
        whole(scores.map(|found| found.shift)),
        shown(scores.map(|found| found.same)),
        shown(scores.map(|found| found.good)),
        shown(won_over(&found.first_place)),
        shown(won_over(&found.second_place)),
        whole(won_over(&found.both_orders)),
        whole(won_over(&found.agreed)),
        shown(found.flagged),
    )
}

fn of_search(search: &SearchFigures, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let SearchFigures { steps, win_rate, shift, borrowed_shift, found } = search;
    writeln!(formatter, "\n{} searches for eight words, of {steps} requests each", found.len())?;
    for (name, value) in [
        ("won over", win_rate),
        ("score moves by", shift),
        ("by the words found for another", borrowed_shift),
    ] {
        writeln!(formatter, "{name:<32} {}", whole(*value))?;
    }
    for one in found.iter().take(3) {
        writeln!(
            formatter,
            "  {}: {} to {} by {:?}",
            one.id,
            short(one.before),
            short(one.after),
            one.suffix
        )?;
    }
    Ok(())
}
