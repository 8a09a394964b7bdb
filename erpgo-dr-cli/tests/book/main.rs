//! The commands of the book, run as they stand there: those of a page one after the other, by the user under whom PostgreSQL runs.

#![allow(clippy::unwrap_used)]

mod pages;
mod stage;
