//! Random weights that are drawn on the GPU that uses them.

use std::sync::Arc;

use candle_core::Tensor;
use kernels::QUANTISED_BLOCK;
use kernels_cuda::{CodeBits, Draw, Gpu, Linear, QuantisedWeights, Rows};

use crate::{
    device::widened,
    drawn::DrawnTensor,
    error::LoadError,
    weights::{Products, WeightForm, Weights},
};

/// A linear layer of the weights with these names and shapes, stacked by rows; `None` where they are in a file, or
/// only a part of them is read.
///
/// For quantised weights, codes and scales themselves are drawn: such a model only serves to measure speed.
pub(super) fn linear(
    products: Products<'_>,
    gpu: &Arc<Gpu>,
    names: &[(String, Vec<usize>)],
    bias: Option<&Tensor>, // [out]
) -> Result<Option<Linear>, LoadError> {
    let Some(parts) = names
        .iter()
        .map(|(name, shape)| Some((products.drawn(name, shape)?, shape[0])))
        .collect::<Option<Vec<(DrawnTensor, usize)>>>()
    else {
        return Ok(None);
    };
    let output: usize = parts.iter().map(|(_, output)| output).sum();
    let input: usize = names[0].1[1..].iter().product();
    let bias = bias.map(widened).transpose()?;
    let bits = match products.form() {
        WeightForm::Q8 => Some(CodeBits::Eight),
        WeightForm::Q4 => Some(CodeBits::Four),
        WeightForm::Stored | WeightForm::F32 => None,
    };
    if let Some(bits) = bits.filter(|_| input.is_multiple_of(QUANTISED_BLOCK)) {
        let blocks = QuantisedWeights::drawn(gpu, draw(&parts[0].0), bits, (output, input))?;
        return Ok(Some(Linear::of_blocks(gpu, blocks, bias.as_deref())?));
    }
    let mut rows = Rows::empty(gpu)?;
    rows.room((output, input))?;
    let mut first = 0;
    for (tensor, output) in parts {
        draw(&tensor).fill(&mut rows, first..first + output, 0)?;
        first += output;
    }
    Ok(Some(Linear::of_rows(gpu, rows, bias.as_deref())?))
}

/// An embedding table; `None` where it is in a file.
pub(super) fn table(
    weights: &Weights,
    gpu: &Arc<Gpu>,
    name: &str,
    shape: &[usize; 2],
) -> Result<Option<Rows>, LoadError> {
    let Some(tensor) = weights.drawn_tensor(name, shape) else { return Ok(None) };
    let mut rows = Rows::empty(gpu)?;
    rows.room((shape[0], shape[1]))?;
    draw(&tensor).fill(&mut rows, 0..shape[0], 0)?;
    Ok(Some(rows))
}

fn draw(tensor: &DrawnTensor) -> Draw {
    Draw { key: tensor.key(), centre: tensor.centre, spread: tensor.spread }
}
