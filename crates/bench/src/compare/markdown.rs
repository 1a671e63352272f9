//! The report for readers: tables for a terminal, and the same tables in Markdown.

use std::fmt;

use super::{
    CompareDevice,
    report::{CompareReport, Figure, Section, Unit},
};
use crate::table::Table;

/// The column headers.
const HEAD: [&str; 6] = ["setting", "program", "median", "lowest to highest", "limit", "part of limit"];
const RATIO_HEAD: [&str; 4] = ["setting", "Gavel", "beside", "times as fast"];

impl fmt::Display for CompareReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.preface() {
            writeln!(formatter, "{line}")?;
        }
        for section in &self.sections {
            writeln!(formatter, "\n{}, in {}", section.title, section.unit.name())?;
            let mut table = Table::new(HEAD);
            for figure in &section.figures {
                table.row(section.cells(figure));
            }
            write!(formatter, "{table}")?;
            if !section.ratios.is_empty() {
                let mut table = Table::new(RATIO_HEAD);
                for cells in section.ratio_cells() {
                    table.row(cells);
                }
                write!(formatter, "{table}")?;
            }
            if let Some(agreement) = section.agreement {
                writeln!(formatter, "{}", agreement.line())?;
            }
        }
        Ok(())
    }
}

impl CompareReport {
    /// The model, machine, disturbances and programs, and what was not measured.
    fn preface(&self) -> Vec<String> {
        let before = self.limits_before;
        let after = self.limits_after.map_or("unknown".to_owned(), |after| {
            format!("{:.1} and {:.0}", after.reading_gb_per_s, after.arithmetic_gflops)
        });
        let percent =
            |part: Option<f64>| part.map_or("unknown".to_owned(), |part| format!("{:.1} %", 100.0 * part));
        let load = |load: Option<f64>| load.map_or("unknown".to_owned(), |load| format!("{load:.2}"));
        let noise = self.noise;
        let rates = match self.device {
            CompareDevice::Cpu => "reads".to_owned(),
            CompareDevice::Cuda => format!("{} moves", self.device_name),
        };
        let mut lines = vec![
            format!(
                "Model {}: decoder of {:.1} million weights and a head of {:.1}, tower of {:.1} million.",
                self.model,
                self.weights.decoder as f64 / 1e6,
                self.weights.head as f64 / 1e6,
                self.weights.tower as f64 / 1e6,
            ),
            format!(
                "Machine: {} cores, {}; {rates} {:.1} GB/s and computes {:.0} GFLOP/s in {} (after the run {after}).",
                self.machine.cores,
                self.machine.processor.as_deref().unwrap_or(self.machine.architecture),
                before.reading_gb_per_s,
                before.arithmetic_gflops,
                self.device.floats(),
            ),
            format!(
                "Quiet? Other programs had {} of the processors, the host took {}; load {} before and {} after; {:.0} s in all.",
                percent(noise.others),
                percent(noise.stolen),
                load(noise.load_before),
                load(noise.load_after),
                self.elapsed_s,
            ),
        ];
        let programs = self.programs.iter().map(|program| format!("{} {}", program.name, program.version));
        lines.push(format!("Programs: {}.", programs.collect::<Vec<_>>().join("; ")));
        lines.extend(
            self.skipped.iter().map(|skipped| format!("Not measured: {} ({}).", skipped.what, skipped.why)),
        );
        lines.extend(self.failure.iter().map(|failure| format!("FAILED: {failure}")));
        lines
    }

    /// The report as Markdown. `plots` is the path of the folder of plots relative to the document; without it
    /// none are linked.
    pub fn markdown(&self, plots: Option<&str>) -> String {
        let mut text = "# Figures of `gavel bench compare`\n\n".to_owned();
        text.extend(self.preface().iter().map(|line| format!("- {line}\n")));
        for section in &self.sections {
            text += &format!("\n## {}\n\n", section.title);
            let unit = format!("median, {}", section.unit.name());
            let head = HEAD.map(|name| if name == "median" { unit.clone() } else { name.to_owned() });
            let rows = section.figures.iter().map(|figure| section.cells(figure));
            text += &table(&head, rows);
            if !section.ratios.is_empty() {
                text += "\n";
                text += &table(&RATIO_HEAD.map(str::to_owned), section.ratio_cells());
            }
            let notes = section.figures.iter().filter(|figure| !figure.note.is_empty());
            let notes: Vec<String> = notes
                .map(|figure| format!("- {}, {}: {}.\n", figure.setting, figure.program, figure.note))
                .collect();
            if !notes.is_empty() {
                text += "\n";
                text += &notes.concat();
            }
            if let Some(agreement) = section.agreement {
                text += &format!("\n{}\n", agreement.line());
            }
            if let (Some(folder), Some(_)) = (plots, section.curve) {
                text += &format!("\n![{}]({folder}{})\n", section.title, section.plot_name());
            }
        }
        text
    }
}

impl Section {
    /// The file name of the section's plot.
    pub fn plot_name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let words = self.title.chars().map(plain).collect::<String>();
        let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
        format!("{}.svg", words.join("-"))
    }

    fn cells(&self, figure: &Figure) -> [String; 6] {
        let [lowest, highest] = figure.spread;
        let part = figure.limit.map(|limit| match self.unit {
            Unit::Seconds | Unit::Megabytes => limit / figure.median,
            Unit::TokensPerSecond => figure.median / limit,
        });
        let target = figure.target.map(|target| format!("target {}", short(target)));
        [
            figure.setting.clone(),
            figure.program.to_string(),
            short(figure.median),
            format!("{} to {} ({})", short(lowest), short(highest), figure.samples.len()),
            figure.limit.map(short).or(target).unwrap_or_default(),
            part.map_or_else(String::new, |part| format!("{:.0} %", 100.0 * part)),
        ]
    }

    fn ratio_cells(&self) -> Vec<[String; 4]> {
        let cells = self.ratios.iter().map(|ratio| {
            let target = ratio.target.map_or_else(String::new, |target| format!(" (target {target})"));
            let times = format!("{:.2}{target}", ratio.times);
            [ratio.setting.clone(), ratio.gavel.to_string(), ratio.peer.to_string(), times]
        });
        cells.collect()
    }
}

/// Formats a number with three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 1.0 => format!("{value:.2}"),
        tiny if tiny >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    }
}

fn table<const COLUMNS: usize>(
    head: &[String; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(head) + &"|---".repeat(COLUMNS) + "|\n";
    for row in rows {
        text += &line(&row);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Section, Unit, short};

    #[test]
    fn numbers_keep_three_digits_and_files_have_plain_names() {
        assert_eq!(
            [1234.5, 12.34, 1.234, 0.1234, 0.001234].map(short),
            ["1234", "12.3", "1.23", "0.123", "0.00123"]
        );
        let section = Section::new("Writing a token, by the context before it", Unit::Seconds);
        assert_eq!(section.plot_name(), "writing-a-token-by-the-context-before-it.svg");
    }
}
