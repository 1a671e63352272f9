//! Reads the lines of a batch's input one at a time, each bounded by the size limit of a request.

use std::io::{self, BufRead, BufReader, Read};

use serde::Deserialize;
use serde_json::value::RawValue;
use store::LineError;

use crate::{
    error::ErrorCode,
    json::{errors, line, object::only_from_objects},
};

/// The largest size of a line beyond its body, in bytes: its id, its route and punctuation.
const ENVELOPE_BYTES: usize = 64 << 10;

/// The longest id of a line, in bytes.
const MAX_ID_BYTES: usize = 512;

/// A valid line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Line number in the input file, from 1.
    pub(crate) number: i64,
    pub(crate) custom_id: String,
    /// The JSON object of the request, as written.
    pub(crate) body: Box<RawValue>,
}

/// A line as parsed. Every member is optional, so that an error can name the missing one.
#[derive(Deserialize)]
#[serde(remote = "Self")]
struct ParsedLine {
    custom_id: Option<String>,
    method: Option<String>,
    url: Option<String>,
    body: Option<Box<RawValue>>,
}

only_from_objects!(ParsedLine);

/// The route to which lines with this `url` are sent. Azure's clients leave out the `/v1` of OpenAI's routes.
pub(crate) fn route_of(url: &str) -> &str {
    match url {
        "/chat/completions" => "/v1/chat/completions",
        "/responses" => "/v1/responses",
        "/completions" => "/v1/completions",
        "/embeddings" => "/v1/embeddings",
        other => other,
    }
}

/// Reads an input line by line. Blank lines, a byte order mark and carriage returns are ignored.
pub(crate) struct Lines<S> {
    source: BufReader<S>,
    number: i64,
    max_line_bytes: usize,
}

impl<S: Read> Lines<S> {
    /// Reads lines from `source` whose bodies have at most `max_body_bytes`.
    pub(crate) fn new(source: S, max_body_bytes: usize) -> Self {
        Self { source: BufReader::new(source), number: 0, max_line_bytes: max_body_bytes + ENVELOPE_BYTES }
    }

    /// The next line that is not blank, checked against the route `endpoint`, or the error in it; `None` at the end
    /// of the input.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn next(&mut self, endpoint: &str) -> io::Result<Option<Result<Line, LineError>>> {
        loop {
            let mut bytes = Vec::new();
            let limit = self.max_line_bytes as u64 + 1;
            self.source.by_ref().take(limit).read_until(b'\n', &mut bytes)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            if bytes.len() > self.max_line_bytes && !bytes.ends_with(b"\n") {
                self.source.skip_until(b'\n')?;
                let message =
                    format!("The line has more than {} bytes, which is the limit.", self.max_line_bytes);
                return Ok(Some(Err(self.error(ErrorCode::LineTooLong, message, None))));
            }
            let text = bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| self.number == 1).unwrap_or(&bytes);
            if !text.trim_ascii().is_empty() {
                return Ok(Some(self.parse(text, endpoint)));
            }
        }
    }

    /// Parses the current line, and checks it against the route `endpoint`.
    fn parse(&self, text: &[u8], endpoint: &str) -> Result<Line, LineError> {
        let refuse = |code, param: &str, message: String| Err(self.error(code, message, Some(param)));
        let ParsedLine { custom_id, method, url, body } = serde_json::from_slice(text).map_err(|error| {
            let reason = errors::in_words(&line::reason(&error));
            let message = format!("The line is no request as JSON, at column {}: {reason}.", error.column());
            self.error(ErrorCode::InvalidJsonLine, message, None)
        })?;
        let Some(custom_id) = custom_id.filter(|id| !id.is_empty()) else {
            return refuse(
                ErrorCode::MissingRequiredParameter,
                "custom_id",
                "The line needs a custom_id.".into(),
            );
        };
        if custom_id.len() > MAX_ID_BYTES {
            let message = format!("The custom_id has more than {MAX_ID_BYTES} bytes, which is the limit.");
            return refuse(ErrorCode::InvalidCustomId, "custom_id", message);
        }
        if method.as_deref() != Some("POST") {
            return refuse(ErrorCode::InvalidMethod, "method", "The method of a line must be POST.".into());
        }
        if url.as_deref().map(route_of) != Some(route_of(endpoint)) {
            let message = format!("The url of a line must be the batch's endpoint, {endpoint}.");
            return refuse(ErrorCode::MismatchedUrl, "url", message);
        }
        match body {
            Some(body) if body.get().starts_with('{') => Ok(Line { number: self.number, custom_id, body }),
            Some(_) | None => refuse(
                ErrorCode::MissingRequiredParameter,
                "body",
                "The line needs a body, an object.".into(),
            ),
        }
    }

    /// An error in the current line, or in its member `param`.
    fn error(&self, code: ErrorCode, message: String, param: Option<&str>) -> LineError {
        LineError {
            code: code.as_str().into(),
            line: Some(self.number),
            message,
            param: param.map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    /// Number, id and body of a line; or code and line number of an error.
    type ReadLine = Result<(i64, String, String), (String, i64)>;

    fn read(text: &[u8]) -> Vec<ReadLine> {
        read_for("/judge", text)
    }

    fn read_for(endpoint: &str, text: &[u8]) -> Vec<ReadLine> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file.rewind().unwrap();
        let mut lines = Lines::new(file, 1000);
        std::iter::from_fn(|| lines.next(endpoint).unwrap())
            .map(|line| match line {
                Ok(Line { number, custom_id, body }) => Ok((number, custom_id, body.get().to_owned())),
                Err(error) => Err((error.code, error.line.unwrap())),
            })
            .collect()
    }

    fn line(id: &str, more: &str) -> String {
        format!(r#"{{"custom_id": "{id}", "method": "POST", "url": "/judge", "body": {{"x": 1.50}}{more}}}"#)
    }

    #[test]
    fn lines_are_read_whatever_ends_them_and_bodies_as_they_were_written() {
        let text =
            format!("\u{feff}{}\r\n\n  \r\n{}\n{}", line("a", ""), line("b", ""), line("c", r#", "y": 2"#));
        let body = || r#"{"x": 1.50}"#.to_owned();
        assert_eq!(
            read(text.as_bytes()),
            [Ok((1, "a".into(), body())), Ok((4, "b".into(), body())), Ok((5, "c".into(), body()))]
        );
        assert_eq!(read(b""), []);
    }

    #[test]
    fn a_route_has_the_name_that_azure_gives_it_too() {
        for (endpoint, url, fits) in [
            ("/chat/completions", "/chat/completions", true),
            ("/chat/completions", "/v1/chat/completions", true),
            ("/v1/chat/completions", "/chat/completions", true),
            ("/completions", "/chat/completions", false),
            ("/v1/judge", "/judge", false),
        ] {
            let read = read_for(endpoint, line("a", "").replace("/judge", url).as_bytes());
            assert_eq!(matches!(read[..], [Ok(_)]), fits, "{endpoint} {url}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let long = "x".repeat(ENVELOPE_BYTES + 2000);
        let text = [
            "{".into(),
            "[1]".into(),
            r#"["a", "POST", "/judge", {"x": 1.50}]"#.into(),
            line("", ""),
            line(&"i".repeat(600), ""),
            line("a", "").replace("POST", "GET"),
            line("a", "").replace("/judge", "/reward"),
            line("a", "").replace(r#"{"x": 1.50}"#, "[]"),
            r#"{"custom_id": "a", "method": "POST", "url": "/judge"}"#.into(),
            long,
            line("a", ""),
        ]
        .join("\n");
        let codes: Vec<_> = read(text.as_bytes())
            .into_iter()
            .map(|line| line.map_or_else(|error| error, |(number, ..)| ("right".into(), number)))
            .collect();
        let expected = [
            "invalid_json_line",
            "invalid_json_line",
            "invalid_json_line",
            "missing_required_parameter",
            "invalid_custom_id",
            "invalid_method",
            "mismatched_url",
            "missing_required_parameter",
            "missing_required_parameter",
            "line_too_long",
            "right",
        ];
        let expected: Vec<(String, i64)> =
            expected.iter().zip(1..).map(|(code, line)| ((*code).into(), line)).collect();
        assert_eq!(codes, expected);
        assert_eq!(read(b"\xff\xfe\n"), [Err(("invalid_json_line".into(), 1))]);
    }
}
