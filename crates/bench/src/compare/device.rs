//! What is compared on, and everything that differs by it.

use serde::Serialize;

use super::{Extent, Form, Part};
use crate::bounds::Widths;

/// MiB for keys and values of a Gavel on a GPU, so that three of them and transformers share one of 80 GB. A position of a 7B
/// takes 28 layers x 2 x 4 heads x 128 numbers x 2 bytes = 57 KB: 2560 MiB are 46,800 positions, enough for 32 sequences of 1100,
/// and for a whole context. Of weights in bf16, q8 and q4 there are 16 + 9 + 6 GB, of caches 3 x 2.7 GB, of what steps work in
/// about 3 x 1.5 GB: 44 GB, beside 16 GB of weights of transformers and what 32 prompts of 1000 tokens take there, under 10 GB.
/// Rewards are made by the first two alone, which leaves 50 GB to transformers, for prompts of some 5000 tokens in batches of 20.
const GPU_CACHE_MIB: usize = 2560;

/// What is compared on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareDevice {
    /// The processor; every program computes in 32-bit floats.
    Cpu,
    /// The first GPU; every program computes in bf16.
    Cuda,
}

impl CompareDevice {
    /// Whether a part says anything of it: what a GPU does not do, or does beside a peer that is not there, is left out.
    pub(crate) fn measures(self, part: Part) -> bool {
        match (self, part) {
            (Self::Cpu, _) | (Self::Cuda, Part::Language | Part::Reward) => true,
            (Self::Cuda, Part::Startup | Part::Image | Part::Growth) => false,
        }
    }

    /// The type of floats that is computed in.
    pub(crate) fn floats(self) -> &'static str {
        match self {
            Self::Cpu => "f32",
            Self::Cuda => "bf16",
        }
    }

    /// What weights of a form are called: those of [`Form::F32`] are kept as they are computed with.
    pub(crate) fn form_name(self, form: Form) -> &'static str {
        match form {
            Form::F32 => self.floats(),
            Form::Q8 | Form::Q4 => form.name(),
        }
    }

    /// What Gavel with weights of a form is called.
    pub(crate) fn gavel(self, form: Form) -> String {
        format!("Gavel {}", self.form_name(form))
    }

    /// What transformers is called.
    pub(crate) fn transformers(self) -> String {
        format!("transformers {}", self.floats())
    }

    /// Its name, for programs that are told what to compute on.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }

    /// What `gavel serve` is told for weights of a form.
    pub(crate) fn options(self, form: Form, extent: Extent) -> Vec<String> {
        let cache_mib = match (extent, self) {
            (Extent::Quick, _) => 64,
            // Room for the longest context and for 32 sequences of a thousand tokens.
            (Extent::Full, Self::Cpu) => 1024,
            (Extent::Full, Self::Cuda) => GPU_CACHE_MIB,
        };
        let weights: &[&str] = match (form, self) {
            (Form::F32, Self::Cpu) => &["--weights", "f32"],
            (Form::F32, Self::Cuda) => &[],
            (Form::Q8, _) => &["--quantize", "q8"],
            (Form::Q4, _) => &["--quantize", "q4"],
        };
        let own = ["--device", self.name(), "--cache-mib", &cache_mib.to_string()].map(str::to_owned);
        own.into_iter().chain(weights.iter().map(|word| (*word).to_owned())).collect()
    }

    /// How wide weights of a form are, and what is kept of positions.
    pub(crate) fn widths(self, form: Form) -> Widths {
        let (float_bits, cached_bytes) = match self {
            Self::Cpu => (32.0, 4.0),
            Self::Cuda => (16.0, 2.0),
        };
        let (layer_bits, head_bits) = match form {
            Form::F32 => (float_bits, float_bits),
            Form::Q8 => (8.5, 8.5),
            Form::Q4 => (4.5, 8.5),
        };
        Widths { layer_bits, head_bits, cached_bytes }
    }

    /// Width and height of the images that are judged about.
    pub(crate) fn image(self) -> (u32, u32) {
        match self {
            Self::Cpu => (600, 400),
            Self::Cuda => (1000, 750),
        }
    }

    /// Tokens of each response, about.
    pub(crate) fn response_tokens(self) -> usize {
        match self {
            Self::Cpu => 120,
            Self::Cuda => 150,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CompareDevice, Extent, Form};

    #[test]
    fn a_gpu_keeps_sixteen_bits_where_a_processor_keeps_thirty_two() {
        let widths = |device: CompareDevice, form| {
            let widths = device.widths(form);
            (widths.layer_bits, widths.head_bits, widths.cached_bytes)
        };
        assert_eq!(widths(CompareDevice::Cpu, Form::F32), (32.0, 32.0, 4.0));
        assert_eq!(widths(CompareDevice::Cuda, Form::F32), (16.0, 16.0, 2.0));
        assert_eq!(widths(CompareDevice::Cuda, Form::Q4), (4.5, 8.5, 2.0));
        let options = |device: CompareDevice, form| device.options(form, Extent::Full).join(" ");
        assert_eq!(options(CompareDevice::Cpu, Form::F32), "--device cpu --cache-mib 1024 --weights f32");
        assert_eq!(options(CompareDevice::Cuda, Form::F32), "--device cuda --cache-mib 2560");
        assert_eq!(options(CompareDevice::Cuda, Form::Q8), "--device cuda --cache-mib 2560 --quantize q8");
    }
}
