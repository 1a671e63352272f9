//! Tracks the position in a JSON document from the bytes before it.

/// An open container around the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Object,
    Array,
}

/// The syntactic state at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Before a value, or before the closing bracket of an empty array.
    Value,
    /// Before a key, or before the closing brace of an empty object.
    Key,
    /// Inside a key.
    InKey,
    /// After a key, before the colon.
    Colon,
    /// Inside a string that is a value.
    InString,
    /// Inside a number or a literal name.
    InScalar,
    /// After a value.
    After,
}

/// A position in a document.
#[derive(Debug, Clone)]
pub(super) struct Position {
    /// The open containers, innermost last.
    pub(super) open: Vec<Container>,
    pub(super) at: At,
    /// Whether the previous byte began an escape sequence.
    pub(super) escaped: bool,
    /// Number of digits since the number around the position, its fraction or its exponent began.
    pub(super) digits: usize,
}

impl Position {
    /// The beginning of a document.
    pub(super) fn start() -> Self {
        Self { open: Vec::new(), at: At::Value, escaped: false, digits: 0 }
    }

    /// Advances over bytes that some JSON grammar allows here.
    pub(super) fn advance(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.pass(*byte);
            let is_digit = self.at == At::InScalar && byte.is_ascii_digit();
            self.digits = if is_digit { self.digits + 1 } else { 0 };
        }
    }

    fn pass(&mut self, byte: u8) {
        match (self.at, byte) {
            (At::InKey | At::InString, _) if self.escaped => self.escaped = false,
            (At::InKey | At::InString, b'\\') => self.escaped = true,
            (At::InKey, b'"') => self.at = At::Colon,
            (At::InString, b'"') => self.at = At::After,
            (At::InKey | At::InString, _) | (_, b' ' | b'\n' | b'\r' | b'\t') => {}
            (_, b'{') => self.enter(Container::Object, At::Key),
            (_, b'[') => self.enter(Container::Array, At::Value),
            (_, b'}' | b']') => {
                self.open.pop();
                self.at = At::After;
            }
            (_, b':') => self.at = At::Value,
            (_, b',') => {
                let in_object = self.open.last() == Some(&Container::Object);
                self.at = if in_object { At::Key } else { At::Value };
            }
            (At::Key, b'"') => self.at = At::InKey,
            (_, b'"') => self.at = At::InString,
            _ => self.at = At::InScalar,
        }
    }

    fn enter(&mut self, container: Container, at: At) {
        self.open.push(container);
        self.at = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_document_is_known() {
        let text = r#"{"a\"{":[1,"x\\",{"b": null}],"c":""}"#;
        let mut position = Position::start();
        let mut places = vec![];
        for byte in text.bytes() {
            position.advance(&[byte]);
            places.push((position.open.len(), position.at));
        }
        let at = |text_before: &str| places[text.find(text_before).unwrap() + text_before.len() - 1];
        assert_eq!(at("{"), (1, At::Key));
        assert_eq!(at(r#"{"a\""#), (1, At::InKey));
        assert_eq!(at(r#"{"a\"{""#), (1, At::Colon));
        assert_eq!(at("[1"), (2, At::InScalar));
        assert_eq!(at("[1,"), (2, At::Value));
        assert_eq!(at(r#""x\\""#), (2, At::After));
        assert_eq!(at(r#"{"b": n"#), (3, At::InScalar));
        assert_eq!(at("]"), (1, At::After));
        assert_eq!(at("],"), (1, At::Key));
        assert_eq!(places.last(), Some(&(0, At::After)));
    }

    #[test]
    fn digits_are_counted_in_each_part_of_a_number() {
        for (text, digits) in [
            ("[-12", 2),
            ("[12.", 0),
            ("[1.345", 3),
            ("[1.3e27", 2),
            ("[12,", 0),
            (r#"["12"#, 0),
            ("[true", 0),
        ] {
            let mut position = Position::start();
            position.advance(text.as_bytes());
            assert_eq!(position.digits, digits, "{text}");
        }
    }
}
