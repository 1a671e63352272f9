//! What tensors are called in GGUF files.

/// What an architecture's tensors are called in GGUF files.
#[derive(Debug)]
pub(crate) struct GgufNaming {
    /// What such a file may call the architecture.
    pub(crate) architectures: &'static [&'static str],
    /// The names there that the tensor of a name of ours may have.
    pub(crate) names: fn(&str) -> Vec<String>,
}

/// Parts of names, ours and those that llama.cpp has for them.
type Parts = &'static [(&'static str, &'static [&'static str])];

/// The names of a tower or a decoder, without what stands before all of them.
#[derive(Debug)]
pub(crate) struct PartNames {
    /// What stands before the number of a layer, ...
    pub(crate) layers: &'static str,
    /// ... and what stands there in GGUF.
    pub(crate) layers_in_gguf: &'static str,
    /// What is in no layer.
    pub(crate) whole: Parts,
    /// What is in a layer, behind its number.
    pub(crate) of_layer: Parts,
}

impl PartNames {
    /// What the tensor that we call `name` may be called in GGUF; none where it is no part of this.
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
