//! Names of tensors in GGUF files.

/// The names of an architecture's tensors in GGUF files.
#[derive(Debug)]
pub(crate) struct GgufNaming {
    /// The values of `general.architecture` that a file may have.
    pub(crate) architectures: &'static [&'static str],
    /// Maps a tensor's name in safetensors to the names that it may have in GGUF; empty for tensors of no known part.
    pub(crate) names: fn(&str) -> Vec<String>,
}

/// Parts of names in safetensors, with the alternatives that llama.cpp uses for each.
type Parts = &'static [(&'static str, &'static [&'static str])];

/// The names of a tower or a decoder, without their common prefix.
#[derive(Debug)]
pub(crate) struct PartNames {
    /// The text before the number of a layer in safetensors.
    pub(crate) layers: &'static str,
    /// The text before the number of a layer in GGUF.
    pub(crate) layers_in_gguf: &'static str,
    /// Tensors outside of the layers.
    pub(crate) whole: Parts,
    /// Tensors of a layer, after its number.
    pub(crate) of_layer: Parts,
}

impl PartNames {
    /// The names that tensor `name` may have in GGUF; empty where it is not part of this tower or decoder.
    pub(crate) fn in_gguf(&self, name: &str) -> Vec<String> {
        let translated = |name: &str, parts: Parts| -> Vec<String> {
            let Some((part, kind)) = name.rsplit_once('.') else { return Vec::new() };
            let found = parts.iter().find(|(ours, _)| *ours == part);
            found.into_iter().flat_map(|(_, theirs)| *theirs).map(|part| format!("{part}.{kind}")).collect()
        };
        match name.strip_prefix(self.layers).and_then(|rest| rest.split_once('.')) {
            Some((index, part)) => {
                let prefix = self.layers_in_gguf;
                let names = translated(part, self.of_layer).into_iter();
                names.map(|name| format!("{prefix}{index}.{name}")).collect()
            }
            None => translated(name, self.whole),
        }
    }
}
