//! Lone halves of surrogate pairs in the escapes of JSON. Python's `json.dumps` writes them for texts that were decoded
//! leniently, and Python's servers read them; strict parsers refuse them.

/// The digits of U+FFFD, which stands for what is no character.
const REPLACEMENT: &[u8; 4] = b"fffd";

/// The length of an escape such as `\ud800`.
const ESCAPE_BYTES: usize = 6;

/// Replaces the escapes of lone surrogates in JSON by that of U+FFFD, which is as long. Returns whether there was one.
pub(crate) fn replace(json: &mut [u8]) -> bool {
    let (mut position, mut has_replaced) = (0, false);
    while let Some(distance) = json[position..].iter().position(|byte| *byte == b'\\') {
        let start = position + distance;
        let Some(unit) = unit_at(json, start) else {
            // Another escape, such as `\\`, whose second letter begins none.
            position = json.len().min(start + 2);
            continue;
        };
        let end = start + ESCAPE_BYTES;
        let is_trailing = |unit: u16| (0xdc00..=0xdfff).contains(&unit);
        let is_leading = (0xd800..=0xdbff).contains(&unit);
        if is_leading && unit_at(json, end).is_some_and(is_trailing) {
            position = end + ESCAPE_BYTES;
            continue;
        }
        if is_leading || is_trailing(unit) {
            json[end - REPLACEMENT.len()..end].copy_from_slice(REPLACEMENT);
            has_replaced = true;
        }
        position = end;
    }
    has_replaced
}

/// The UTF-16 code unit of the escape with four hexadecimal digits at `start`, if there is one.
fn unit_at(json: &[u8], start: usize) -> Option<u16> {
    let digits = json.get(start..start + ESCAPE_BYTES)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit: u16, digit| {
        let digit = char::from(*digit).to_digit(16).and_then(|digit| u16::try_from(digit).ok())?;
        Some(unit << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use super::replace;

    fn replaced(json: &str) -> Option<String> {
        let mut bytes = json.as_bytes().to_vec();
        replace(&mut bytes).then(|| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn lone_halves_are_replaced() {
        for (json, expected) in [
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""a\uDC00b""#, r#""a\ufffdb""#),
            (r#""\udc00\ud800""#, r#""\ufffd\ufffd""#),
            (r#""\ud800\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\ude00\ude00""#, r#""\ud83d\ude00\ufffd""#),
            (r#""\ud800\n""#, r#""\ufffd\n""#),
            (r#""\ud800\u0041""#, r#""\ufffd\u0041""#),
            // An escaped backslash, then letters; and an escaped backslash before an escape.
            (r#""\ud800\\udc00""#, r#""\ufffd\\udc00""#),
            (r#""\\\ud800""#, r#""\\\ufffd""#),
            (r#"{"\udfff":["\udbff"]}"#, r#"{"\ufffd":["\ufffd"]}"#),
        ] {
            assert_eq!(replaced(json).as_deref(), Some(expected), "{json}");
            serde_json::from_str::<serde_json::Value>(expected).unwrap();
        }
    }

    #[test]
    fn pairs_and_other_text_stay_as_they_are() {
        for json in [
            "",
            "{}",
            r#""\ud83d\ude00""#,
            r#""\uD83D\uDE00\ud83d\ude00""#,
            r#""\\ud800""#,
            r#""\\\\ud800 \\\\\\udc00""#,
            r#""\ue000\ud7ff\u0000\"""#,
            // Not JSON anyway.
            r#""\ud80"#,
            r#""\ud8g0""#,
            r#""\u+d800""#,
            "\"\\",
            "\"\\u",
        ] {
            assert_eq!(replaced(json), None, "{json}");
        }
    }
}
