//! The memory of waiting lines, counted by request: its lines share their images.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use judge::Tenant;

use super::line::Entry;
use crate::request::body_memory::{BodyMemory, BodyReservation};

/// The waiting lines of one request, such as those of its rubrics. Clones belong to the same request. The lock makes
/// one reservation of two lines that come at the same time; it is held only to look for it.
#[derive(Debug, Clone, Default)]
pub(super) struct RequestLines(Arc<Mutex<Weak<LineMemory>>>);

/// The memory that is reserved for the waiting lines of one request, until the last of them is written. The lock is
/// held only to add a line's bytes.
#[derive(Debug)]
pub(super) struct LineMemory(Mutex<Reserved>);

#[derive(Debug)]
struct Reserved {
    reservation: BodyReservation,
    /// Digests of the images in it.
    images: Vec<[u8; 32]>,
}

impl RequestLines {
    /// Reserves memory for `entry` beside that of the waiting lines of its request; an image counts once in all of
    /// them. `None` if there is no room. A request whose lines are alone always has room.
    pub(super) fn reserve(&self, entry: &Entry, memory: &BodyMemory) -> Option<Arc<LineMemory>> {
        // The lock is held until the memory is reserved, so that two lines do not both begin a reservation.
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = waiting.upgrade().unwrap_or_else(|| {
            let reservation = memory.begin(&Tenant::default(), 1.0);
            Arc::new(LineMemory(Mutex::new(Reserved { reservation, images: Vec::new() })))
        });
        lines.0.lock().unwrap_or_else(PoisonError::into_inner).grow(entry)?;
        *waiting = Arc::downgrade(&lines);
        Some(lines)
    }
}

impl Reserved {
    /// Reserves memory for the texts of an entry and for its images that are not counted yet; `None` if there is no
    /// room.
    fn grow(&mut self, entry: &Entry) -> Option<()> {
        let images = entry.images().map(|image| (image.digest(), image.bytes().len()));
        let new: HashMap<[u8; 32], usize> =
            images.filter(|(digest, _)| !self.images.contains(digest)).collect();
        self.reservation.grow(entry.text_bytes() + new.values().sum::<usize>()).ok()?;
        self.images.extend(new.into_keys());
        Some(())
    }
}
