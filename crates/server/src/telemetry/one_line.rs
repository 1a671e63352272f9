//! A writer for the log that keeps each event in one line.

use std::io::{self, Write};

/// Writes each event as one line. Texts of others, such as the errors of image decoders, may have line breaks, and what
/// follows them would look like another event, which a client could thus write into the log.
#[derive(Debug, Clone)]
pub(super) struct OneLine<W>(pub(super) W);

impl<W: Write> Write for OneLine<W> {
    /// Writes a whole event, as the formatter passes it on, with the line break at its end.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (text, end) = event.split_at(event.len() - usize::from(event.ends_with(b"\n")));
        if text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            let mut line = Vec::with_capacity(event.len() + 16);
            for byte in text {
                match byte {
                    b'\n' => line.extend_from_slice(b"\\n"),
                    b'\r' => line.extend_from_slice(b"\\r"),
                    other => line.push(*other),
                }
            }
            line.extend_from_slice(end);
            self.0.write_all(&line)?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        error::Error,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_it_quotes() {
        let written = Written::default();
        let writer = OneLine(written.clone());
        let log = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
            let error = io::Error::other("a chunk\r\n2026-01-01T00:00:00Z ERROR gavel: forged\n");
            tracing::error!(error = &error as &dyn Error, "an image\ncannot be read");
            tracing::error!("another");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.split_terminator('\n').collect();
        assert!(lines.len() == 2 && lines[1].ends_with("another"), "{text}");
        assert!(lines[0].contains("an image\\ncannot be read") && lines[0].contains("forged"), "{text}");
    }
}
