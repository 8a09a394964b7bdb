//! Answers over HTTP from the facts that it was last given: metrics, the page, JSON, and whether all is well. Changes nothing, asks nobody.
//!
//! On this host alone it may be open. Elsewhere it takes TLS and a token, and refuses to begin without them: what it shows names databases,
//! places, and what is wrong with them.

mod answers;
mod connections;
mod fleet;
mod guard;
mod options;
mod repository;

pub use fleet::serve_fleet;
pub use options::{ServeError, ServeOptions, TlsFiles};
pub use repository::serve;
