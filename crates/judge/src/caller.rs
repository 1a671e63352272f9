//! For whom work is done, and until when.

use std::time::Instant;

use engine::{Tenant, Urgency};

/// For whom a request is run. The default is one tenant for all, without a deadline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Whose request it is: tenants share the device fairly, and never what is kept of their prompts.
    pub tenant: Tenant,
    /// When the answer is of no more use.
    pub deadline: Option<Instant>,
    /// How soon the answer is wanted.
    pub urgency: Urgency,
}
