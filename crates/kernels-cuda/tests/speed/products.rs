//! Products with the weights of a decoder's layers.

use kernels_cuda::{
    Activation, Bf16Weights, CodeBits, Destination, Draw, FEW_ROWS, Linear, Output, QuantisedWeights, Result,
    RoundedRows, Rows,
};

use super::{Bench, Cost, Model};

/// Weights are random, in bf16 or of so many bits.
const FORMS: [Form; 3] = [Form::Bf16, Form::Codes(CodeBits::Eight), Form::Codes(CodeBits::Four)];

/// How much random weights spread, so that sums neither grow nor vanish.
const SPREAD: f32 = 0.02;

#[derive(Debug, Clone, Copy)]
enum Form {
    Bf16,
    Codes(CodeBits),
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Codes(CodeBits::Eight) => "q8",
            Self::Codes(CodeBits::Four) => "q4",
        }
    }

    /// Returns the bytes of `count` weights, with a scale of two bytes for each 32 codes.
    fn bytes(self, count: usize) -> usize {
        match self {
            Self::Bf16 => 2 * count,
            Self::Codes(CodeBits::Eight) => count + count / 16,
            Self::Codes(CodeBits::Four) => count / 2 + count / 16,
        }
    }
}

/// A product of a decoder.
struct Layer {
    name: &'static str,
    output: usize,
    input: usize,
    /// Whether one half of the outputs gates the other.
    is_gated: bool,
}

impl Model {
    fn layers(&self) -> [Layer; 5] {
        let plain = |name, output, input| Layer { name, output, input, is_gated: false };
        let (queries, all) = (self.heads.heads * self.heads.size, self.heads.heads + 2 * self.heads.kv_heads);
        [
            plain("projections", all * self.heads.size, self.hidden),
            plain("output", self.hidden, queries),
            Layer { is_gated: true, ..plain("gates", 2 * self.intermediate, self.hidden) },
            plain("down", self.hidden, self.intermediate),
            plain("head", self.vocabulary, self.hidden),
        ]
    }
}

impl Layer {
    fn cost(&self, form: Form, rows: usize) -> Cost {
        let written = if self.is_gated { self.output / 2 } else { self.output };
        Cost {
            bytes: (form.bytes(self.output * self.input) + 2 * rows * (self.input + written)) as f64,
            operations: 2.0 * (rows * self.output * self.input) as f64,
        }
    }

    fn random(&self, bench: &Bench, key: usize) -> Rows {
        let mut rows = bench.empty();
        rows.room((self.output, self.input)).unwrap();
        draw(key).fill(&mut rows, 0..self.output, 0).unwrap();
        rows
    }

    fn codes(&self, bench: &Bench, bits: CodeBits, key: usize) -> QuantisedWeights {
        QuantisedWeights::drawn(&bench.gpu, draw(key), bits, (self.output, self.input)).unwrap()
    }
}

fn draw(key: usize) -> Draw {
    Draw { key: key as u64, centre: 0.0, spread: SPREAD }
}

/// Times the kernels for few rows.
pub(super) fn few(bench: &mut Bench, model: &Model) {
    for layer in model.layers() {
        for form in FORMS {
            let copies = bench.copies(form.bytes(layer.output * layer.input));
            match form {
                Form::Bf16 => {
                    let weights: Vec<_> =
                        (0..copies).map(|key| Bf16Weights::new(layer.random(bench, key))).collect();
                    time_few(bench, (model, &layer, form), |index, x, _, destination| {
                        weights[index % copies].multiply(x, None, destination)
                    });
                }
                Form::Codes(bits) => {
                    let weights: Vec<_> = (0..copies).map(|key| layer.codes(bench, bits, key)).collect();
                    time_few(bench, (model, &layer, form), |index, x, rounded, destination| {
                        weights[index % copies].multiply(x.gpu(), rounded, None, destination)
                    });
                }
            }
        }
    }
}

/// Times `multiply`, which is passed the number of the launch, the rows and the same rounded.
fn time_few(
    bench: &mut Bench,
    (model, layer, form): (&Model, &Layer, Form),
    multiply: impl Fn(usize, &Rows, &RoundedRows, Destination<'_>) -> Result<()>,
) {
    for rows in bench.extent.few_rows {
        let x = bench.random(*rows, layer.input);
        let mut rounded = RoundedRows::reserved(&bench.gpu, layer.input).unwrap();
        rounded.round(&x).unwrap();
        let mut y = bench.empty();
        let name = format!("{} {} {}, {rows} rows", model.name, form.name(), layer.name);
        bench.time(name, &layer.cost(form, *rows), |index| {
            let destination = match layer.is_gated {
                true => Destination::Gated(&mut y, Activation::Silu),
                false => Destination::Replace(&mut y),
            };
            multiply(index, &x, &rounded, destination)
        });
    }
}

/// Times products of more rows, as the layers of a model compute them, and the expansion of weights by itself.
pub(super) fn many(bench: &mut Bench, model: &Model) {
    for layer in model.layers().iter().filter(|layer| layer.name != "head") {
        for form in FORMS {
            let linear = match form {
                Form::Bf16 => Linear::of_rows(&bench.gpu, layer.random(bench, 1), None),
                Form::Codes(bits) => Linear::of_blocks(&bench.gpu, layer.codes(bench, bits, 1), None),
            };
            let linear = linear.unwrap();
            for rows in bench.extent.many_rows {
                assert!(*rows > FEW_ROWS);
                let (x, mut y) = (bench.random(*rows, layer.input), bench.empty());
                let name = format!("{} {} {} many, {rows} rows", model.name, form.name(), layer.name);
                let cost = Layer { is_gated: false, ..*layer }.cost(form, *rows);
                bench.time(name, &cost, |_| linear.forward(&x, &mut y, Output::Replace));
            }
        }
    }
    let layers = model.layers();
    let down = layers.iter().find(|layer| layer.name == "down").unwrap();
    for bits in [CodeBits::Eight, CodeBits::Four] {
        let (form, outputs) = (Form::Codes(bits), down.output.min(1024));
        let (weights, mut y) = (down.codes(bench, bits, 1), bench.empty());
        let count = outputs * down.input;
        let cost = Cost { bytes: (form.bytes(count) + 2 * count) as f64, operations: 0.0 };
        let name = format!("{} expand {}, {outputs} x {}", model.name, form.name(), down.input);
        bench.time(name, &cost, |_| weights.expand(0..outputs, &mut y));
    }
}
