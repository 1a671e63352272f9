//! The requests of a case.

use serde_json::{Value, json};

use super::{
    build::{BuildError, Builder},
    case::Case,
    endpoint::Endpoint,
};
use crate::live::Request;

/// The highest permitted ratio of an image's longer side to its shorter one.
const THINNEST: u32 = 200;

/// A request of a case.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The variant and the endpoint.
    pub(crate) label: String,
    /// The endpoint's name: answers of one endpoint are compared with each other.
    pub(crate) route: &'static str,
    pub(crate) request: Request,
    pub(crate) has_image: bool,
    /// Whether `refused` lists its permitted statuses instead of `status`.
    pub(crate) beyond: bool,
}

impl Case {
    /// Builds all its requests.
    ///
    /// # Errors
    /// When a description is invalid.
    pub(crate) fn requests(&self, builder: Builder<'_>) -> Result<Vec<Sent>, BuildError> {
        let mut all = Vec::new();
        for round in 0..self.times {
            let mut requests = self.once(Builder { round, ..builder })?;
            if self.times > 1 {
                requests.iter_mut().for_each(|sent| sent.label.push_str(&format!(", time {round}")));
            }
            all.extend(requests);
        }
        Ok(all)
    }

    fn once(&self, builder: Builder<'_>) -> Result<Vec<Sent>, BuildError> {
        let mut all = Vec::new();
        let plain = |label, request| Sent { label, route: "", request, has_image: false, beyond: false };
        for (index, raw) in self.raw.iter().enumerate() {
            all.push(plain(format!("raw {index}"), Request::Raw(builder.bytes(raw)?)));
        }
        for path in &self.path {
            let method = self.method.clone().unwrap_or_else(|| "GET".into());
            let bodies = if self.body.is_empty() { &[Value::String(String::new())][..] } else { &self.body };
            for body in bodies {
                let (body, headers) = (builder.bytes(body)?, self.all_headers(builder)?);
                let label = format!("{method} {path}");
                let (method, path) = (method.clone(), path.clone());
                all.push(plain(label, Request::Composed { method, path, headers, body }));
            }
        }
        for endpoint in &self.to {
            for Content { what, body, has_image, beyond } in self.contents(*endpoint, builder)? {
                let request = if *endpoint == Endpoint::Batch {
                    Request::Line { path: endpoint.path(), body }
                } else {
                    let method = self.method.clone().unwrap_or_else(|| "POST".into());
                    let (path, headers) = (endpoint.path().to_owned(), self.all_headers(builder)?);
                    Request::Composed { method, path, headers, body }
                };
                let route = endpoint.name();
                all.push(Sent { label: format!("{route}, {what}"), route, request, has_image, beyond });
            }
        }
        Ok(all)
    }

    /// The usual header fields, and those of the case.
    fn all_headers(&self, builder: Builder<'_>) -> Result<Vec<(String, Vec<u8>)>, BuildError> {
        let mut headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
        for (name, value) in &self.headers {
            headers.retain(|(known, _)| known != name);
            if value != "$none" {
                headers.push((name.clone(), builder.bytes(value)?));
            }
        }
        Ok(headers)
    }

    /// The bodies for an endpoint.
    fn contents(&self, endpoint: Endpoint, builder: Builder<'_>) -> Result<Vec<Content>, BuildError> {
        let mut all = Vec::new();
        if self.path.is_empty() {
            for (index, body) in self.body.iter().enumerate() {
                all.push(Content::new(format!("body {index}"), builder.bytes(body)?));
            }
        }
        all.extend(self.with_changes(endpoint, builder)?);
        all.extend(self.with_texts(endpoint, builder)?);
        for Shown { what, images, beyond } in self.shown(builder)? {
            let Some(body) = endpoint.with_images(&images) else { break };
            all.push(Content { has_image: true, beyond, ..Content::of(what, &body) });
        }
        Ok(all)
    }

    /// Bodies with other members, or with other values of numbers.
    fn with_changes(&self, endpoint: Endpoint, builder: Builder<'_>) -> Result<Vec<Content>, BuildError> {
        let mut all = Vec::new();
        for (index, changes) in self.extra.iter().enumerate() {
            let body = endpoint.with_changes(builder.json(changes)?);
            all.push(Content::of(format!("extra {index}"), &body));
        }
        for varied in self.numbers.iter().flat_map(|number| number.varied()) {
            let body = endpoint.with_changes(varied.members);
            let beyond = varied.beyond;
            all.push(Content { beyond, ..Content::of(varied.what, &body) });
        }
        for (what, members) in self.pairs.each() {
            all.push(Content::of(what, &endpoint.with_changes(members)));
        }
        Ok(all)
    }

    /// Bodies with other texts.
    fn with_texts(&self, endpoint: Endpoint, builder: Builder<'_>) -> Result<Vec<Content>, BuildError> {
        let mut all = Vec::new();
        for (index, text) in self.text.iter().enumerate() {
            let body = endpoint.with_text(builder.json(text)?);
            all.push(Content::of(format!("text {index}"), &body));
        }
        for (index, text) in self.response.iter().enumerate() {
            let body = endpoint.with_response(builder.json(text)?);
            all.push(Content::of(format!("response {index}"), &body));
        }
        for (index, text) in self.everywhere.iter().enumerate() {
            for (place, body) in endpoint.everywhere(&builder.json(text)?) {
                all.push(Content::of(format!("text {index} as {place}"), &body));
            }
        }
        Ok(all)
    }

    /// The lists of images.
    fn shown(&self, builder: Builder<'_>) -> Result<Vec<Shown>, BuildError> {
        let mut all = Vec::new();
        for (index, image) in self.image.iter().enumerate() {
            let images = vec![builder.json(image)?];
            all.push(Shown { what: format!("image {index}"), images, beyond: false });
        }
        for (index, images) in self.images.iter().enumerate() {
            let images = builder.json(images)?.as_array().cloned().unwrap_or_default();
            all.push(Shown { what: format!("images {index}"), images, beyond: false });
        }
        for (width, height) in
            self.sizes.iter().flat_map(|width| self.sizes.iter().map(move |height| (width, height)))
        {
            let image = json!({ "$data_url": { "$picture": ["png", width, height] } });
            let beyond = width.max(height) > &(THINNEST * width.min(height));
            all.push(Shown {
                what: format!("{width}x{height}"),
                images: vec![builder.json(&image)?],
                beyond,
            });
        }
        Ok(all)
    }
}

/// Images that are shown together.
struct Shown {
    what: String,
    images: Vec<Value>,
    beyond: bool,
}

/// A body, and the name of its variant.
struct Content {
    what: String,
    body: Vec<u8>,
    has_image: bool,
    beyond: bool,
}

impl Content {
    fn new(what: String, body: Vec<u8>) -> Self {
        Self { what, body, has_image: false, beyond: false }
    }

    fn of(what: String, body: &Value) -> Self {
        Self::new(what, body.to_string().into_bytes())
    }
}
