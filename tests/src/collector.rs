//! A collector of traces for one test: it accepts OTLP over HTTP and stores what it receives.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    logs::v1::LogRecord,
    trace::v1::Span,
};
use prost::Message;

/// What a collector has received.
#[derive(Debug, Default)]
pub struct Told {
    /// All spans, in order of arrival.
    pub spans: Vec<Span>,
    /// All events, in order of arrival.
    pub events: Vec<LogRecord>,
}

/// A collector on a port of its own, which runs until the test ends.
pub struct Collector {
    address: String,
    told: Arc<Mutex<Told>>,
}

impl Collector {
    /// Starts listening.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        let told: Arc<Mutex<Told>> = Arc::default();
        let heard = told.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let heard = heard.clone();
                std::thread::spawn(move || serve(stream, &heard));
            }
        });
        Self { address, told }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes what it has received since the last call.
    ///
    /// # Panics
    /// When one of its connections panicked.
    pub fn take(&self) -> Told {
        std::mem::take(&mut *self.told.lock().expect("no connection has panicked"))
    }
}

/// Answers the requests of one connection.
fn serve(stream: TcpStream, told: &Mutex<Told>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream can be cloned"));
    let mut writer = stream;
    loop {
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end();
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length is a number");
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the whole body comes");
        let mut told = told.lock().expect("no connection has panicked");
        match path.as_str() {
            "/v1/traces" => {
                let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("these are spans");
                let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                told.spans.extend(scopes.flat_map(|scope| scope.spans));
            }
            "/v1/logs" => {
                let request = ExportLogsServiceRequest::decode(body.as_slice()).expect("these are events");
                let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
                told.events.extend(scopes.flat_map(|scope| scope.log_records));
            }
            path => panic!("nothing goes to {path}"),
        }
        drop(told);
        if writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

/// The value of an attribute as text; `None` if it is missing.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}
