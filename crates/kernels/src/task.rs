//! A product split into tasks, each of which computes some rows of some panels.

use rayon::prelude::*;

use crate::{ONE_THREAD, aligned::Aligned, micro::PANEL, rows::Rows};

/// The largest number of rows of one task, which share each part of a panel that is read.
const ROWS_AT_ONCE: usize = 256;

/// The largest number of panels of one task, throughout which its rows stay in the cache.
const PANELS_AT_ONCE: usize = 8;

/// The outputs of a product.
pub(crate) struct Outputs<'a> {
    /// The initial value of each output, padded to whole panels.
    pub(crate) bias: &'a [[f32; PANEL]],
    /// The number of outputs of a row.
    pub(crate) output: usize,
    /// The outputs, `[rows][output]`.
    pub(crate) y: &'a mut [f32],
}

/// The panels and rows of one task.
pub(crate) struct Part<'a, G> {
    pub(crate) first_panel: usize,
    pub(crate) groups: &'a [G],
    /// The total number of rows of `groups`.
    pub(crate) rows: usize,
}

struct Task<'a, G> {
    part: Part<'a, G>,
    bias: &'a [[f32; PANEL]],
    outputs: Vec<&'a mut [f32]>,
}

impl Outputs<'_> {
    /// Computes the outputs: `multiply` adds the products of a part to the sums that it receives,
    /// `[panels][rows][PANEL]`. `input` is the number of products per sum, `most_rows` the largest number of rows in
    /// a group.
    pub(crate) fn compute<G: Rows + Sync>(
        mut self,
        groups: &[G],
        (input, most_rows): (usize, usize),
        multiply: impl Fn(&Part<'_, G>, &mut [[f32; PANEL]]) + Sync,
    ) {
        let work = self.y.len() * input;
        let tasks = self.tasks(groups, most_rows);
        if work < ONE_THREAD {
            tasks.into_iter().for_each(|task| task.run(&multiply));
        } else {
            tasks.into_par_iter().for_each(|task| task.run(&multiply));
        }
    }

    /// Splits the work into tasks, each with its own part of `y`.
    fn tasks<'a, G: Rows>(&'a mut self, groups: &'a [G], most_rows: usize) -> Vec<Task<'a, G>> {
        let panels = self.bias.len();
        let run = PANELS_AT_ONCE.min(panels.div_ceil(4 * rayon::current_num_threads()));
        let (mut tasks, mut y) = (Vec::new(), &mut *self.y);
        for groups in groups.chunks((ROWS_AT_ONCE / most_rows).max(1)) {
            let rows = groups.iter().map(Rows::rows).sum();
            let first = tasks.len();
            tasks.extend((0..panels).step_by(run).map(|first_panel| Task {
                part: Part { first_panel, groups, rows },
                bias: &self.bias[first_panel..],
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

impl<G> Task<'_, G> {
    fn run(self, multiply: impl Fn(&Part<'_, G>, &mut [[f32; PANEL]])) {
        let rows = self.part.rows;
        let panels = self.outputs[0].len().div_ceil(PANEL);
        // Partial sums are contiguous here; rows of `y` may lie a power of two apart, where they would evict each
        // other from the cache.
        let mut sums = Aligned::zeros(panels * rows * PANEL);
        let sums: &mut [[f32; PANEL]] = sums.as_chunks_mut().0;
        sums.chunks_exact_mut(rows).zip(self.bias).for_each(|(sums, bias)| sums.fill(*bias));
        multiply(&self.part, sums);
        for (row, outputs) in self.outputs.into_iter().enumerate() {
            let sums = sums[row..].iter().step_by(rows);
            for (outputs, sums) in outputs.chunks_mut(PANEL).zip(sums) {
                outputs.copy_from_slice(&sums[..outputs.len()]);
            }
        }
    }
}
