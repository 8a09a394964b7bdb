//! The tool as an operator runs it: the real binary, real servers, a story a file.

#![allow(clippy::unwrap_used)] // in the helpers too, where clippy does not see a test

mod agent;
mod bench;
mod configuration;
mod demo;
mod doctor;
mod documents;
mod evidence;
mod failures;
mod files;
mod fleet;
mod ha;
mod keys;
mod monitoring;
mod patience;
mod places;
mod restores;
mod runbooks;
mod signals;
mod story;
mod support;
