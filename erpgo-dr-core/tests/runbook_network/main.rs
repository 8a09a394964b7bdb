//! Steps of runbooks that reach beyond PostgreSQL: records of DNS, mail; and the report of a run that did.

#![allow(clippy::unwrap_used)]

mod dns;
mod mail;
mod report;
mod route53;
mod support;
