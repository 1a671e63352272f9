//! Every architecture that can be loaded, one folder each.

pub(crate) mod llava_onevision;
