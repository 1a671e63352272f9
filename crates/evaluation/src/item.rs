//! A question with its responses, and what is known about them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rubric::Preference;
use serde_json::{Value, json};

use crate::EvaluationError;

/// The scale of a reference score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReferenceScale {
    /// The worst score, or the least.
    pub min: f64,
    /// The greatest score.
    pub max: f64,
}

impl ReferenceScale {
    /// Where `score` lies, from 0 to 1.
    pub fn part(self, score: f64) -> f64 {
        (score - self.min) / (self.max - self.min)
    }
}

/// What is known about the responses.
#[derive(Debug, Clone, PartialEq)]
pub enum Label {
    /// A score of one response.
    Score {
        /// The response.
        response: String,
        /// Its score.
        score: f64,
        /// Its scale; that of the rubric when absent.
        scale: Option<ReferenceScale>,
    },
    /// Which of two responses people prefer.
    Preference {
        /// The responses.
        responses: [String; 2],
        /// The better one.
        better: Preference,
    },
    /// How good each of several responses is.
    Group {
        /// The responses.
        responses: Vec<String>,
        /// The worth of each, higher being better.
        worths: Vec<f64>,
    },
}

/// An image of an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Image {
    /// A file.
    File(PathBuf),
    /// A data URL or bare base64.
    Inline(String),
}

impl Image {
    /// From what a row says: a data URL, or a path from `folder`.
    pub(crate) fn new(text: &str, folder: &Path) -> Self {
        if text.starts_with("data:") { Self::Inline(text.to_owned()) } else { Self::File(folder.join(text)) }
    }

    /// As requests carry it.
    fn text(&self) -> Result<String, EvaluationError> {
        match self {
            Self::Inline(text) => Ok(text.clone()),
            Self::File(path) => {
                let bytes =
                    fs::read(path).map_err(|source| EvaluationError::File { path: path.clone(), source })?;
                Ok(BASE64_STANDARD.encode(bytes))
            }
        }
    }
}

/// A question with its responses, and what is known about them.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its name, which no other item has.
    pub id: String,
    /// What was asked.
    pub question: String,
    /// What it was asked about.
    pub images: Vec<Image>,
    /// An answer that is known to be right.
    pub reference: Option<String>,
    /// What the images show.
    pub description: Option<String>,
    /// Name of the rubric that the label is by.
    pub rubric: Option<String>,
    /// What is known.
    pub label: Label,
}

impl Item {
    /// A body of a request about it, without responses.
    ///
    /// # Errors
    /// [`EvaluationError::File`] when an image cannot be read.
    pub(crate) fn body(&self, rubric: Option<&str>) -> Result<Value, EvaluationError> {
        let images = self.images()?;
        let mut body = json!({ "question": self.question, "images": images });
        let members = [
            ("reference", self.reference.as_deref()),
            ("description", self.description.as_deref()),
            ("rubric", self.rubric.as_deref().or(rubric)),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                body[name] = value.into();
            }
        }
        Ok(body)
    }

    /// Its images, as requests carry them.
    pub(crate) fn images(&self) -> Result<Vec<String>, EvaluationError> {
        self.images.iter().map(Image::text).collect()
    }

    /// A text that items of the same images share.
    pub fn image_key(&self) -> String {
        let texts = self.images.iter().map(|image| match image {
            Image::File(path) => path.to_string_lossy().into_owned(),
            Image::Inline(text) => text.clone(),
        });
        texts.collect::<Vec<_>>().join("\n")
    }
}
