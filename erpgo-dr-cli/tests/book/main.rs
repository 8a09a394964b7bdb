//! The commands of the book, run: those of a page one after the other, by the user under whom PostgreSQL runs.

#![allow(clippy::unwrap_used)]

mod pages;
mod stage;
