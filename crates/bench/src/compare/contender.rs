//! The programs that are compared, with the forms of their weights.

use std::fmt::{self, Display};

use serde::{Serialize, Serializer};

use super::CompareDevice;
use crate::weight_form::Form;

/// A program that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramName {
    /// Gavel.
    Gavel,
    /// transformers, a Python library.
    Transformers,
    /// llama.cpp.
    LlamaCpp,
    /// mistral.rs.
    MistralRs,
}

impl ProgramName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Gavel => "Gavel",
            Self::Transformers => "transformers",
            Self::LlamaCpp => "llama.cpp",
            Self::MistralRs => "mistral.rs",
        }
    }
}

impl Display for ProgramName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A program with weights in one form: what a figure belongs to. In reports it is a text, the name of the program and
/// that of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    program: ProgramName,
    form: Form,
    /// The name of the form, by device and file format; `None` where it does not matter.
    form_name: Option<&'static str>,
}

impl Contender {
    /// Gavel with weights in a form on a device.
    pub(crate) fn gavel(device: CompareDevice, form: Form) -> Self {
        Self { program: ProgramName::Gavel, form, form_name: Some(device.form_name(form)) }
    }

    /// Gavel with the weights of the small critic.
    pub(crate) fn small_gavel() -> Self {
        Self { program: ProgramName::Gavel, form: Form::F32, form_name: None }
    }

    /// transformers on a device.
    pub(crate) fn transformers(device: CompareDevice) -> Self {
        Self { program: ProgramName::Transformers, form: Form::F32, form_name: Some(device.floats()) }
    }

    /// A program with weights in a form from a GGUF file.
    pub(crate) fn with_gguf(program: ProgramName, form: Form) -> Self {
        Self { program, form, form_name: Some(gguf_name(form)) }
    }

    /// The form of its weights.
    pub(crate) fn form(self) -> Form {
        self.form
    }

    /// Whether it is Gavel, whose failures end the comparison.
    pub(crate) fn is_gavel(self) -> bool {
        self.program == ProgramName::Gavel
    }
}

/// The name of a form in GGUF files.
pub(crate) fn gguf_name(form: Form) -> &'static str {
    match form {
        Form::F32 => "f32",
        Form::Q8 => "q8_0",
        Form::Q4 => "q4_0",
    }
}

impl Display for Contender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.form_name {
            Some(form) => write!(formatter, "{} {form}", self.program),
            None => write!(formatter, "{}", self.program),
        }
    }
}

impl Serialize for Contender {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{CompareDevice, Contender, Form, ProgramName};

    #[test]
    fn a_form_is_named_as_the_device_and_the_file_name_it() {
        let names = [
            Contender::gavel(CompareDevice::Cpu, Form::F32),
            Contender::gavel(CompareDevice::Cuda, Form::F32),
            Contender::gavel(CompareDevice::Cuda, Form::Q4),
            Contender::small_gavel(),
            Contender::transformers(CompareDevice::Cuda),
            Contender::with_gguf(ProgramName::LlamaCpp, Form::Q8),
        ];
        let expected =
            ["Gavel f32", "Gavel bf16", "Gavel q4", "Gavel", "transformers bf16", "llama.cpp q8_0"];
        assert_eq!(names.map(|name| name.to_string()), expected);
    }
}
