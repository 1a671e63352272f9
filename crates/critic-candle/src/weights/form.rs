//! How weights are kept in memory.

/// How the weights of matrix products are kept in memory. On the CPU, arithmetic is in f32 whatever the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightForm {
    /// In the stored type: the CPU converts 16-bit floats to f32, without loss, when it multiplies. Of GGUF's
    /// quantised types, Q8_0, Q4_0 and IQ4_NL stay as they are; the others are kept in eight bits.
    #[default]
    Stored,
    /// In f32 on the CPU.
    F32,
    /// Layers of tower and decoder and the head in eight bits, or as stored if that is fewer.
    Q8,
    /// Layers of tower and decoder in four bits, the head in eight, or as stored if that is fewer.
    Q4,
}

impl WeightForm {
    /// The name of the form, as in the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::F32 => "f32",
            Self::Q8 => "q8",
            Self::Q4 => "q4",
        }
    }

    /// The form of the head, which keeps at least eight bits, since its errors go directly into the logits.
    pub(crate) fn of_head(self) -> Self {
        match self {
            Self::Q4 => Self::Q8,
            Self::Stored | Self::F32 | Self::Q8 => self,
        }
    }

    /// The form of products that are never quantised: they are a small part of the model, and all of an image
    /// depends on them.
    pub(crate) fn of_the_rest(self) -> Self {
        match self {
            Self::Q8 | Self::Q4 => Self::Stored,
            Self::Stored | Self::F32 => self,
        }
    }

    /// Whether it quantises weights that are stored as floats.
    pub(crate) fn is_quantised(self) -> bool {
        matches!(self, Self::Q8 | Self::Q4)
    }
}
