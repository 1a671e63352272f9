//! A question with its responses, and their labels.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rubric::{Direction, Preference};
use serde_json::{Value, json};

use crate::error::EvaluationError;

/// The scale of a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReferenceScale {
    /// The lowest score.
    pub min: f64,
    /// The highest score.
    pub max: f64,
    /// Which end is the better one; that of the rubric's scale if `None`.
    pub direction: Option<Direction>,
}

impl ReferenceScale {
    /// How good `score` is, from 0 (the worst) to 1 (the best): its position on the scale, counted from the worse end.
    pub fn goodness(self, score: f64) -> f64 {
        let part = (score - self.min) / (self.max - self.min);
        self.direction.unwrap_or_default().part_from_worst(part)
    }

    /// The scale of a label, beside a verdict on the scale `verdict`: its `own`, with the verdict's direction if it
    /// states none, or else the verdict's. A scale `out of 10` is read as from 0; beside verdicts from 1 to 10, it is
    /// theirs, since critics are asked for those in the same words.
    pub(crate) fn of_label(own: Option<Self>, verdict: Self) -> Self {
        own.map_or(verdict, |own| {
            let is_out_of = own.min == 0.0 && verdict.min == 1.0 && own.max == verdict.max;
            let min = if is_out_of { verdict.min } else { own.min };
            Self { min, direction: own.direction.or(verdict.direction), ..own }
        })
    }
}

/// The label of an item's responses.
#[derive(Debug, Clone, PartialEq)]
pub enum Label {
    /// A score of one response.
    Score {
        /// The response.
        response: String,
        /// Its score.
        score: f64,
        /// Its scale; the rubric's if `None`.
        scale: Option<ReferenceScale>,
    },
    /// Which of two responses people prefer.
    Preference {
        /// The responses.
        responses: [String; 2],
        /// The better one.
        better: Preference,
    },
    /// The worth of each of several responses.
    Group {
        /// The responses.
        responses: Vec<String>,
        /// The worth of each response; higher is better.
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
    /// Reads an image in a row: a data URL, or a path relative to `folder`.
    pub(crate) fn new(text: &str, folder: &Path) -> Self {
        if text.starts_with("data:") { Self::Inline(text.to_owned()) } else { Self::File(folder.join(text)) }
    }

    /// The image in the form that requests use.
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

/// Criteria of a row, in the place of a rubric.
#[derive(Debug, Clone, PartialEq)]
pub struct Criteria {
    /// What is judged, in words.
    pub text: String,
    /// The scale of the scores, as in requests; the usual one if `None`.
    pub scale: Option<Value>,
}

/// A question with its responses, and their label.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// A unique id.
    pub id: String,
    /// The question.
    pub question: String,
    /// The images that it is about.
    pub images: Vec<Image>,
    /// The frames of a video that it is about, in order.
    pub frames: Vec<Image>,
    /// A correct answer.
    pub reference: Option<String>,
    /// A description of the images.
    pub description: Option<String>,
    /// The name of the rubric that the label refers to.
    pub rubric: Option<String>,
    /// Criteria in the place of a rubric.
    pub criteria: Option<Criteria>,
    /// The responses and their label.
    pub label: Label,
}

impl Item {
    /// The body of a request about it, without responses.
    ///
    /// # Errors
    /// [`EvaluationError::File`] when an image cannot be read.
    pub(crate) fn body(&self, rubric: Option<&str>) -> Result<Value, EvaluationError> {
        let images = self.images()?;
        let mut body = json!({ "question": self.question, "images": images });
        let criteria = self.criteria.as_ref();
        let members = [
            ("reference", self.reference.as_deref()),
            ("description", self.description.as_deref()),
            ("rubric", self.rubric.as_deref().or(rubric.filter(|_| criteria.is_none()))),
            ("criteria", criteria.map(|criteria| criteria.text.as_str())),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                body[name] = value.into();
            }
        }
        if let Some(scale) = criteria.and_then(|criteria| criteria.scale.as_ref()) {
            body["scale"] = scale.clone();
        }
        if !self.frames.is_empty() {
            let frames: Result<Vec<String>, _> = self.frames.iter().map(Image::text).collect();
            body["frames"] = frames?.into();
        }
        Ok(body)
    }

    /// Its images in the form that requests use.
    pub(crate) fn images(&self) -> Result<Vec<String>, EvaluationError> {
        self.images.iter().map(Image::text).collect()
    }

    /// A key that is equal for items with the same images and frames.
    pub fn image_key(&self) -> String {
        let texts = self.images.iter().chain(&self.frames).map(|image| match image {
            Image::File(path) => path.to_string_lossy().into_owned(),
            Image::Inline(text) => text.clone(),
        });
        texts.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_out_of_ten_is_on_the_scale_of_verdicts_that_are_asked_for_in_these_words() {
        let scale = |min, max| ReferenceScale { min, max, direction: None };
        let beside = |own, verdict| ReferenceScale::of_label(Some(own), verdict).min;
        assert_eq!(beside(scale(0.0, 10.0), scale(1.0, 10.0)), 1.0);
        for (own, verdict) in [
            (scale(0.0, 10.0), scale(0.0, 10.0)),
            (scale(0.0, 100.0), scale(1.0, 10.0)),
            (scale(0.0, 10.0), scale(-5.0, 10.0)),
        ] {
            assert_eq!(beside(own, verdict), 0.0);
        }
        assert_eq!(ReferenceScale::of_label(None, scale(1.0, 5.0)), scale(1.0, 5.0));
    }
}
