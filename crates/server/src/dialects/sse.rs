//! Server-sent events.

use axum::response::sse::Event;
use serde::Serialize;

/// An event whose data is `body` as JSON, with a name or without one.
pub(super) fn event(name: Option<&str>, body: &impl Serialize) -> Event {
    let event = name.map_or_else(Event::default, |name| Event::default().event(name));
    event.json_data(body).expect("our own bodies can be written as JSON")
}
