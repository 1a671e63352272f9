//! How weights are kept in memory.

/// How the weights of products are kept in memory on the CPU, where arithmetic is in f32 whatever the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightForm {
    /// In the type of the file: 16-bit floats become f32 where they are multiplied, which loses nothing. Of GGUF's types
    /// Q8_0, Q4_0 and IQ4_NL stay as they are; what has others is kept in eight bits.
    #[default]
    Stored,
    /// In f32.
    F32,
    /// Layers of tower and decoder and the head in eight bits, or as stored where that is fewer.
    Q8,
    /// Layers of tower and decoder in four bits, the head in eight, or as stored where that is fewer.
    Q4,
}

impl WeightForm {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::F32 => "f32",
            Self::Q8 => "q8",
            Self::Q4 => "q4",
        }
    }

    /// The form of the head, whose errors go into the logits as they are.
    pub(crate) fn of_head(self) -> Self {
        match self {
            Self::Q4 => Self::Q8,
            Self::Stored | Self::F32 | Self::Q8 => self,
        }
    }

    /// The form of products that are never quantised: a small part of a model, through which all of an image goes.
    pub(crate) fn of_the_rest(self) -> Self {
        match self {
            Self::Q8 | Self::Q4 => Self::Stored,
            Self::Stored | Self::F32 => self,
        }
    }

    /// Whether weights are quantised.
    pub(crate) fn is_quantised(self) -> bool {
        matches!(self, Self::Q8 | Self::Q4)
    }
}
