//! How to reach a server: settings as libpq knows them, and a connection made with them.
//!
//! The words and their meaning are libpq's ("Database Connection Control Functions" in PostgreSQL's manual),
//! because the same settings serve our own connections and the client programs that we start. Nothing is
//! read from the environment, and no password ever reaches a command line, a log or an error.

mod client;
mod environment;
mod parse;
mod passfile;
mod settings;
mod tls;

pub use client::Client;
pub use settings::{ConnectionSettings, SslMode};

pub(super) use tls::client_config;
