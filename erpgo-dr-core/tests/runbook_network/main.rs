//! Steps of runbooks that reach beyond PostgreSQL: records of DNS, and mail.

#![allow(clippy::unwrap_used)]

mod dns;
mod mail;
mod support;
