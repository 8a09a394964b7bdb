//! What people read: pages of HTML, units, and texts from elsewhere that must not become more than text.

pub(crate) mod escape;
pub(crate) mod html;
pub(crate) mod units;
