//! The tensors between images and the decoder, whatever the tower.

/// A tensor of a tower, or of what connects it with a decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageTensor {
    /// Its name in the checkpoint.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) role: ImageTensorRole,
}

/// The role of such a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageTensorRole {
    /// The kernel by which patches are embedded, `[E, 3, patch, patch]`.
    Patches,
    Positions,
    Norm,
    /// The bias of a product or a norm.
    Bias,
    Queries,
    Keys,
    Values,
    AttentionOutput,
    Expand,
    Contract,
    /// The first layer of a projector, from the tower's features.
    ProjectorIn,
    /// The last layer of a projector, to the decoder's embeddings.
    ProjectorOut,
    /// A vector that separates rows of features.
    Newline,
}
