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
                let request = self.composed((method.clone(), path.clone()), builder.bytes(body)?, builder)?;
                all.push(plain(format!("{method} {path}"), request));
            }
        }
        for endpoint in &self.to {
            for Content { what, body, has_image, beyond } in self.contents(*endpoint, builder)? {
                let method = self.method.clone().unwrap_or_else(|| "POST".into());
                let request = if *endpoint == Endpoint::Batch {
                    Request::Line { path: endpoint.path(), body }
                } else {
                    self.composed((method, endpoint.path().to_owned()), body, builder)?
                };
                let route = endpoint.name();
                all.push(Sent { label: format!("{route}, {what}"), route, request, has_image, beyond });
            }
        }
        Ok(all)
    }

    /// The bodies for an endpoint.
    fn contents(&self, endpoint: Endpoint, builder: Builder<'_>) -> Result<Vec<Content>, BuildError> {
        let mut all = Vec::new();
        if self.path.is_empty() {
            for (index, body) in self.body.iter().enumerate() {
                all.push(Content::new(format!("body {index}"), builder.bytes(body)?));
            }
        }
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
        let mut shown = Vec::new();
        for (index, image) in self.image.iter().enumerate() {
            shown.push((format!("image {index}"), vec![builder.json(image)?], false));
        }
        for (index, images) in self.images.iter().enumerate() {
            let images = builder.json(images)?;
            shown.push((format!("images {index}"), images.as_array().cloned().unwrap_or_default(), false));
        }
        for (width, height) in
            self.sizes.iter().flat_map(|width| self.sizes.iter().map(move |height| (width, height)))
        {
            let image = json!({ "$data_url": { "$picture": ["png", width, height] } });
            let beyond = width.max(height) > &(THINNEST * width.min(height));
            shown.push((format!("{width}x{height}"), vec![builder.json(&image)?], beyond));
        }
        for (what, images, beyond) in shown {
            let Some(body) = endpoint.with_images(&images) else { break };
            all.push(Content { has_image: true, beyond, ..Content::of(what, &body) });
        }
        Ok(all)
    }

    fn composed(
        &self,
        (method, path): (String, String),
        body: Vec<u8>,
        builder: Builder<'_>,
    ) -> Result<Request, BuildError> {
        let mut headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
        for (name, value) in &self.headers {
            headers.retain(|(known, _)| known != name);
            if value != "$none" {
                headers.push((name.clone(), builder.bytes(value)?));
            }
        }
        Ok(Request::Composed { method, path, headers, body })
    }
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
