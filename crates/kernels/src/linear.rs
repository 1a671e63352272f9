//! A matrix product with a bias.

use rayon::prelude::*;

use crate::{
    ONE_THREAD,
    aligned::Aligned,
    isa::{Isa, Kernel, Simd},
    micro::{PANEL, Panel, multiply_packed},
    narrow::{Bf16, F16, FEW_ROWS, GROUP, Narrow, Q4, Q8, Widen, multiply_few},
    panels::{Form, Matrix, Panels},
    quantise::BLOCK,
    rows::{Group, pack},
};

/// Inputs that are multiplied before the next group of rows has its turn with the same panel: 64 KiB of a panel, which
/// stay in the second-level cache beside the rows.
const INPUTS_AT_ONCE: usize = 512;

/// The same for weights that are widened first, when one group of rows is all: 16 KiB, which stay in the first level.
const WIDENED_AT_ONCE: usize = 128;

/// How many inputs before they have their turn weights are asked for.
const AHEAD: usize = 32;

/// Rows that share what is read of a panel.
const ROWS_AT_ONCE: usize = 256;

/// Panels of one piece of work: while it lasts, its part of the rows stays in the cache.
const PANELS_AT_ONCE: usize = 8;

/// x W^T + b. Each output begins with its bias and adds the products with inputs 0, 1, 2 and so on.
#[derive(Debug)]
pub struct Linear {
    panels: Panels,
    bias: Vec<f32>, // as many as the panels have columns
    input: usize,
    output: usize,
    isa: Isa,
}

/// The outputs of some rows in some panels, and what they are made of.
struct Task<'a> {
    linear: &'a Linear,
    first_panel: usize,
    groups: &'a [Group<'a>],
    outputs: Vec<&'a mut [f32]>,
}

impl Linear {
    /// Packs `weight` `[output, input]` in f32; without `bias` `[output]` it is 0.
    ///
    /// # Panics
    /// When the lengths are others.
    pub fn new(weight: &[f32], shape: (usize, usize), bias: Option<&[f32]>) -> Self {
        Self::with_form(Matrix::F32(weight), Form::Given, shape, bias)
    }

    /// Packs `weight` `[output, input]` in a form that may take less memory; arithmetic is in f32 all the same. What is
    /// to be quantised should be finite.
    ///
    /// # Panics
    /// When the lengths are others, or `weight` is given in blocks and `input` is no multiple of 32.
    pub fn with_form(
        weight: Matrix<'_>,
        form: Form,
        (output, input): (usize, usize),
        bias: Option<&[f32]>,
    ) -> Self {
        assert_eq!(weight.len(), output * input, "the length of the weight");
        assert!(input.is_multiple_of(weight.block_size()), "{input} inputs are no whole blocks");
        let count = output.div_ceil(PANEL);
        let panels = match weight.len() {
            0 => Panels::F32(Aligned::zeros(0)),
            _ => Panels::new(weight, form, (output, input)),
        };
        let mut padded = vec![0.0; count * PANEL];
        if let Some(bias) = bias {
            assert_eq!(bias.len(), output, "the length of the bias");
            padded[..output].copy_from_slice(bias);
        }
        Self { panels, bias: padded, input, output, isa: Isa::best() }
    }

    /// The same with the instructions of `isa`: the results have the same bits.
    #[must_use]
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// Numbers of a row that goes in.
    pub fn input(&self) -> usize {
        self.input
    }

    /// Numbers of a row that comes out.
    pub fn output(&self) -> usize {
        self.output
    }

    /// Row `index` of the weight, the `input` numbers that output `index` is made with, as they are multiplied.
    ///
    /// # Panics
    /// When there is no such output.
    pub fn weight_row(&self, index: usize) -> impl Iterator<Item = f32> {
        assert!(index < self.output, "output {index} of {}", self.output);
        (0..self.input).map(move |input| self.panels.weight(index, (input, self.input)))
    }

    /// Bytes of the packed weight.
    pub fn size_bytes(&self) -> usize {
        self.panels.size_bytes()
    }

    /// Rows `x` `[rows, input]` to `y` `[rows, output]`.
    ///
    /// # Panics
    /// When the lengths do not fit each other.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) {
        if self.output == 0 {
            return assert!(y.is_empty(), "the length of the outputs");
        }
        let rows = y.len() / self.output;
        assert_eq!(y.len(), rows * self.output, "the length of the outputs");
        assert_eq!(x.len(), rows * self.input, "the length of the inputs");
        if self.input == 0 {
            y.chunks_exact_mut(self.output).for_each(|row| row.copy_from_slice(&self.bias[..self.output]));
        } else {
            self.isa.run(Forward { linear: self, x, y });
        }
    }

    /// Cuts the work up: every task has its own part of `y`.
    fn tasks<'a>(&'a self, groups: &'a [Group<'a>], mut y: &'a mut [f32], most_rows: usize) -> Vec<Task<'a>> {
        let panels = self.bias.len() / PANEL;
        let run = PANELS_AT_ONCE.min(panels.div_ceil(4 * rayon::current_num_threads()));
        let mut tasks = Vec::new();
        for groups in groups.chunks((ROWS_AT_ONCE / most_rows).max(1)) {
            let rows: usize = groups.iter().map(|group| group.rows).sum();
            let first = tasks.len();
            tasks.extend((0..panels).step_by(run).map(|first_panel| Task {
                linear: self,
                first_panel,
                groups,
                outputs: Vec::with_capacity(rows),
            }));
            let (own, rest) = y.split_at_mut(rows * self.output);
            y = rest;
            for row in own.chunks_exact_mut(self.output) {
                for (task, outputs) in tasks[first..].iter_mut().zip(row.chunks_mut(run * PANEL)) {
                    task.outputs.push(outputs);
                }
            }
        }
        tasks
    }
}

struct Forward<'a> {
    linear: &'a Linear,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let Self { linear, x, y } = self;
        let groups = pack(x, linear.input, S::ROWS);
        let work = y.len() * linear.input;
        let tasks = linear.tasks(&groups, y, S::ROWS);
        if work < ONE_THREAD {
            tasks.into_iter().for_each(|task| task.run(simd));
        } else {
            tasks.into_par_iter().for_each(|task| task.run(simd));
        }
    }
}

impl Task<'_> {
    fn run<S: Simd>(self, simd: S) {
        let input = self.linear.input;
        let rows = self.outputs.len();
        let panels = self.outputs[0].len().div_ceil(PANEL);
        // Sums that wait lie close together here; rows of the outputs may be a power of two apart, where they would
        // drive each other out of the cache.
        let mut sums = Aligned::zeros(panels * rows * PANEL);
        let sums: &mut [[f32; PANEL]] = sums.as_chunks_mut().0;
        let bias = self.linear.bias.as_chunks().0[self.first_panel..].iter();
        sums.chunks_exact_mut(rows).zip(bias).for_each(|(sums, bias)| sums.fill(*bias));
        let groups = input.next_multiple_of(GROUP);
        let blocks = input.div_ceil(BLOCK);
        let first = |panel| self.first_panel + panel;
        match &self.linear.panels {
            Panels::F32(weights) => self.multiply(simd, weights.as_chunks().0, sums),
            Panels::Bf16(bits) => {
                self.widen(simd, |panel| Bf16(&bits.as_chunks().0[first(panel) * groups..]), sums);
            }
            Panels::F16(bits) => {
                self.widen(simd, |panel| F16(&bits.as_chunks().0[first(panel) * groups..]), sums);
            }
            Panels::Q8 { codes, scales } => {
                let panel = |panel| Q8 {
                    codes: &codes.as_chunks().0[first(panel) * blocks * BLOCK..],
                    scales: &scales.as_chunks().0[first(panel) * blocks..],
                };
                self.widen(simd, panel, sums);
            }
            Panels::Q4 { codes, scales, levels } => {
                let panel = |panel| Q4 {
                    codes: &codes.as_chunks().0[first(panel) * blocks * BLOCK / GROUP..],
                    scales: &scales.as_chunks().0[first(panel) * blocks..],
                    levels,
                };
                self.widen(simd, panel, sums);
            }
        }
        for (row, outputs) in self.outputs.into_iter().enumerate() {
            let sums = sums[row..].iter().step_by(rows);
            for (outputs, sums) in outputs.chunks_mut(PANEL).zip(sums) {
                outputs.copy_from_slice(&sums[..outputs.len()]);
            }
        }
    }
    /// Adds the products with `weights`, all panels of the linear.
    fn multiply<S: Simd>(&self, simd: S, weights: &[[f32; PANEL]], sums: &mut [[f32; PANEL]]) {
        let (input, rows) = (self.linear.input, self.outputs.len());
        let step = if rows == 1 { input } else { INPUTS_AT_ONCE };
        for start in (0..input).step_by(step) {
            let inputs = start..input.min(start + step);
            for (panel, sums) in sums.chunks_exact_mut(rows).enumerate() {
                let first = (self.first_panel + panel) * input + start;
                let steps = &weights[first..first + inputs.len()];
                let panel = Panel { steps, later: weights.get(first + AHEAD..).unwrap_or_default() };
                self.multiply_groups(simd, panel, inputs.start, sums);
            }
        }
    }

    /// The same with weights that become f32 first.
    fn widen<S: Simd, N: Narrow>(&self, simd: S, panel: impl Fn(usize) -> N, sums: &mut [[f32; PANEL]]) {
        let (input, rows) = (self.linear.input, self.outputs.len());
        // Two panels with two vectors of sums for each row.
        if rows <= FEW_ROWS && 4 * rows <= S::SUMS {
            return multiply_few(simd, panel, (rows, &self.groups[0].packed), sums);
        }
        let step = if self.groups.len() == 1 { WIDENED_AT_ONCE } else { INPUTS_AT_ONCE };
        let mut tile = Aligned::zeros(step.min(input).next_multiple_of(GROUP) * PANEL);
        let tile: &mut [[f32; PANEL]] = tile.as_chunks_mut().0;
        for start in (0..input).step_by(step) {
            let count = step.min(input - start);
            for (index, sums) in sums.chunks_exact_mut(rows).enumerate() {
                let tile = &mut tile[..count.next_multiple_of(GROUP)];
                simd.vectorize(Widen { panel: panel(index), first_group: start / GROUP, tile });
                let panel = Panel { steps: &tile[..count], later: &[] };
                self.multiply_groups(simd, panel, start, sums);
            }
        }
    }

    /// Adds to `sums` `[rows][PANEL]` the products of all rows with a part of a panel, that from input `start` on.
    fn multiply_groups<S: Simd>(
        &self,
        simd: S,
        panel: Panel<'_, PANEL>,
        start: usize,
        sums: &mut [[f32; PANEL]],
    ) {
        let end = start + panel.steps.len();
        let mut row = 0;
        for group in self.groups {
            let x = &group.packed[start * group.rows..end * group.rows];
            multiply_packed(simd, panel, x, &mut sums[row..row + group.rows]);
            row += group.rows;
        }
    }
}
