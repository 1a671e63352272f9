//! The devices of a comparison, and everything that depends on the device.

use serde::Serialize;

use super::Part;
use crate::{
    extent::Extent,
    weight_form::{Form, Widths},
};

/// MiB of KV cache for Gavel on a GPU, so that three servers and transformers fit into 80 GB. A position of a
/// 7B model takes 28 layers x 2 x 4 heads x 128 numbers x 2 bytes = 57 KB: 2560 MiB are 46,800 positions,
/// enough for 32 sequences of 1100, and for a whole context. The weights in bf16, q8 and q4 take 16 + 9 + 6 GB,
/// the caches 3 x 2.7 GB, and the working memory of steps about 3 x 1.5 GB: 44 GB. In addition, transformers
/// has 16 GB of weights, and needs less than 10 GB for 32 prompts of 1000 tokens. Rewards are measured with the
/// first two servers alone, which leaves 50 GB to transformers, for prompts of about 5000 tokens in batches of
/// 20.
const GPU_CACHE_MIB: usize = 2560;

/// The device that all programs compute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareDevice {
    /// The processor; every program computes in 32-bit floats.
    Cpu,
    /// The first GPU; every program computes in bf16.
    Cuda,
}

impl CompareDevice {
    /// Whether a part is measured: on a GPU, parts are left out that do not run there, or whose peers do not.
    pub(crate) fn measures(self, part: Part) -> bool {
        match (self, part) {
            (Self::Cpu, _) | (Self::Cuda, Part::Language | Part::Reward) => true,
            (Self::Cuda, Part::Startup | Part::Image | Part::Growth) => false,
        }
    }

    /// The floating-point type of computations.
    pub(crate) fn floats(self) -> &'static str {
        match self {
            Self::Cpu => "f32",
            Self::Cuda => "bf16",
        }
    }

    /// The name of weights in a form: those of [`Form::F32`] have the type of computations.
    pub(crate) fn form_name(self, form: Form) -> &'static str {
        match form {
            Form::F32 => self.floats(),
            Form::Q8 | Form::Q4 => form.name(),
        }
    }

    /// The device's name in the options of programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }

    /// The options of `gavel serve` for weights in a form.
    pub(crate) fn options(self, form: Form, extent: Extent) -> Vec<String> {
        let cache_mib = match (extent, self) {
            (Extent::Quick, _) => 64,
            // Room for the longest context, and for 32 sequences of 1000 tokens.
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

    /// The storage sizes of weights in a form, and of the KV cache.
    pub(crate) fn widths(self, form: Form) -> Widths {
        match self {
            Self::Cpu => Widths::of(form, 32.0, 4.0),
            Self::Cuda => Widths::of(form, 16.0, 2.0),
        }
    }

    /// Width and height of the images that are judged.
    pub(crate) fn image(self) -> (u32, u32) {
        match self {
            Self::Cpu => (600, 400),
            Self::Cuda => (1000, 750),
        }
    }

    /// The approximate number of tokens of a response.
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
