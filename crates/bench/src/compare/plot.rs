//! Curves of growing costs, as small SVG files with logarithmic axes.

use super::report::{Figure, Section};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 340.0;
/// Margins around the curve: left, top, right, bottom.
const MARGINS: [f64; 4] = [70.0, 40.0, 20.0, 50.0];

/// A logarithmic axis: the logarithms of its ends, and their coordinates.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis from the lowest to the highest of `values`, with some margin, drawn between two coordinates.
    fn of(values: impl Iterator<Item = f64> + Clone, (from, to): (f64, f64)) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(0.0, f64::max);
        Self { low: low.log10() - 0.05, high: high.log10() + 0.05, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (value.log10() - self.low) / (self.high - self.low) * (self.to - self.from)
    }
}

impl Section {
    /// The curve of the section's figures with their limits. Both axes are logarithmic, so that proportional
    /// growth is a straight line of slope 1. `None` if the section has no curve, or fewer than two points.
    pub fn plot(&self) -> Option<String> {
        let label = self.curve?;
        let points: Vec<(f64, &Figure)> =
            self.figures.iter().filter_map(|figure| Some((figure.x?, figure))).collect();
        if points.len() < 2 {
            return None;
        }
        let [left, top, right, below] = MARGINS;
        let x = Axis::of(points.iter().map(|(x, _)| *x), (left, WIDTH - right));
        let values = points.iter().flat_map(|(_, figure)| std::iter::once(figure.median).chain(figure.limit));
        let y = Axis::of(values, (HEIGHT - below, top));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        );
        let title = escape(&self.title);
        svg += &format!("<text x=\"{left}\" y=\"22\" font-size=\"14\">{title}</text>\n");
        let (right, floor) = (WIDTH - right, HEIGHT - below);
        for (value, _) in &points {
            let at = x.place(*value);
            svg += &format!("<path d=\"M{at:.1} {top}V{floor}\" stroke=\"#ddd\"/>\n");
            let beneath = floor + 16.0;
            svg += &format!("<text x=\"{at:.1}\" y=\"{beneath}\" text-anchor=\"middle\">{value:.0}</text>\n");
        }
        for mark in marks(&y) {
            let (at, name) = (y.place(mark), escape(&format!("{mark} {}", self.unit.name())));
            svg += &format!("<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/>\n");
            svg += &format!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\n",
                left - 6.0,
                at + 4.0
            );
        }
        let (middle, beneath) = (f64::midpoint(left, right), HEIGHT - 12.0);
        let label = escape(label);
        svg += &format!("<text x=\"{middle}\" y=\"{beneath}\" text-anchor=\"middle\">{label}</text>\n");
        let limits = points.iter().filter_map(|(at, figure)| Some((*at, figure.limit?)));
        svg += &curve(limits, (&x, &y), "stroke=\"#999\" stroke-dasharray=\"5 4\"");
        let medians = points.iter().map(|(at, figure)| (*at, figure.median));
        svg += &curve(medians.clone(), (&x, &y), "stroke=\"#1f5fa8\" stroke-width=\"2\"");
        for (at, median) in medians {
            svg += &format!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"#1f5fa8\"/>\n",
                x.place(at),
                y.place(median)
            );
        }
        Some(svg + "</svg>\n")
    }
}

/// Escapes text for SVG.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The powers of ten on an axis, and also their doubles and fivefolds if there would be fewer than two marks.
fn marks(axis: &Axis) -> Vec<f64> {
    let within = |mark: &f64| (axis.low..=axis.high).contains(&mark.log10());
    let decades = || (axis.low.floor() as i32..=axis.high.ceil() as i32).map(|power| 10f64.powi(power));
    let coarse: Vec<f64> = decades().filter(within).collect();
    match coarse.len() {
        0 | 1 => decades().flat_map(|decade| [decade, 2.0 * decade, 5.0 * decade]).filter(within).collect(),
        _ => coarse,
    }
}

fn curve(points: impl Iterator<Item = (f64, f64)>, (x, y): (&Axis, &Axis), style: &str) -> String {
    let places: Vec<String> =
        points.map(|(at, value)| format!("{:.1},{:.1}", x.place(at), y.place(value))).collect();
    if places.is_empty() {
        return String::new();
    }
    format!("<polyline points=\"{}\" fill=\"none\" {style}/>\n", places.join(" "))
}

#[cfg(test)]
mod tests {
    use crate::{
        compare::{
            CompareDevice,
            contender::Contender,
            report::{Measured, Section, Unit},
        },
        weight_form::Form,
    };

    /// A section whose figures grow in proportion.
    fn section(title: &str) -> Section {
        let gavel = Contender::gavel(CompareDevice::Cpu, Form::F32);
        let mut section = Section::new(title, Unit::Seconds);
        for x in [1.0, 2.0, 4.0] {
            section.sample(&x.to_string(), gavel, Measured::with_limit(3.0 * x, x)).x = Some(x);
        }
        section
    }

    #[test]
    fn texts_are_escaped() {
        let mut section = section("a < b & \"c\"");
        section.curve = Some("<x>");
        let svg = section.plot().unwrap();
        assert!(svg.contains(">a &lt; b &amp; &quot;c&quot;</text>"), "{svg}");
        assert!(svg.contains(">&lt;x&gt;</text>"), "{svg}");
    }

    #[test]
    fn what_grows_in_proportion_is_a_straight_line() {
        let mut section = section("t");
        assert_eq!(section.plot(), None, "it is no curve yet");
        section.curve = Some("x");
        let svg = section.plot().unwrap();
        let places: Vec<f64> =
            svg.split("cy=\"").skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect();
        assert_eq!(places.len(), 3);
        assert!((places[0] - 2.0 * places[1] + places[2]).abs() < 0.2, "{places:?}");
        assert!(places[0] > places[2], "more is higher up");
    }
}
