//! The report on attacks as text for the terminal.

use std::fmt;

use super::{
    short,
    table::{head, interval},
};
use crate::{
    AttackReport, SearchFigures,
    attack::{AttackFigures, CleanFigures, PairShift},
    statistics::Estimate,
};

/// Formats a figure with its interval.
fn whole(value: Option<Estimate>) -> String {
    value.map_or_else(|| "-".into(), |found| format!("{} ({})", short(found.value), interval(found)))
}

fn shown(value: Option<Estimate>) -> String {
    value.map_or_else(|| "-".into(), |found| short(found.value))
}

impl fmt::Display for AttackReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        head(formatter, (&self.data, &self.model, self.items), &self.failed)?;
        for clean in &self.clean {
            of_clean(clean, formatter)?;
        }
        let mut group = "";
        for found in &self.attacks {
            if found.attack.group != group {
                group = found.attack.group;
                writeln!(
                    formatter,
                    "\n{group:<32} {:>6} {:<24} {:>6} {:>6} {:>13} {:>13} {:>13} {:<18} {:>13} {:>7}",
                    "score",
                    " shift",
                    "same",
                    "good",
                    "1st flip/gain",
                    "2nd flip/gain",
                    "both",
                    " (gain)",
                    "agreed",
                    "flagged"
                )?;
            }
            of_attack(found, formatter)?;
        }
        if let Some(search) = &self.search {
            of_search(search, formatter)?;
        }
        writeln!(
            formatter,
            "\nscore: mean under attack, as part of the scale; shift: against the response as it was, with its 95 % interval; same \
             and good: shares of scores that stay, and that are in the better half; flip and gain: shares of verdicts that change, \
             and that come to prefer the attacked response, the worse one, in first place, in second, by the mean \
             of both orders, and where both orders must agree"
        )
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
        ("the same of both orders, turned", residual),
    ];
    writeln!(formatter, "\nno attack, {}", format!("{guard:?}").to_lowercase())?;
    for (name, value) in lines {
        writeln!(formatter, "{name:<32} {}", whole(*value))?;
    }
    Ok(())
}

fn of_attack(found: &AttackFigures, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let scores = found.scores.as_ref();
    let place = |place: &Option<PairShift>| {
        let both =
            |found: &PairShift| format!("{} {}", short(found.flipped.value), short(found.gained.value));
        place.as_ref().map_or_else(|| "-".into(), both)
    };
    let gained = found.both_orders.as_ref().map_or_else(String::new, |both| interval(both.gained));
    writeln!(
        formatter,
        "{:<32} {:>6} {:<24} {:>6} {:>6} {:>13} {:>13} {:>13} {:<18} {:>13} {:>7}",
        found.attack.name,
        shown(scores.map(|found| found.attacked)),
        whole(scores.map(|found| found.shift)),
        shown(scores.map(|found| found.same)),
        shown(scores.map(|found| found.good)),
        place(&found.first_place),
        place(&found.second_place),
        place(&found.both_orders),
        format!(" {gained}"),
        place(&found.agreed),
        shown(found.flagged),
    )
}

fn of_search(search: &SearchFigures, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let SearchFigures { steps, won, shift, borrowed_shift, found } = search;
    writeln!(formatter, "\n{} searches for eight words, of {steps} requests each", found.len())?;
    for (name, value) in
        [("won over", won), ("shift", shift), ("shift by the words of another", borrowed_shift)]
    {
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
