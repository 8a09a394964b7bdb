//! Databases that contradict their catalogue, and what is found of it.

#![allow(clippy::unwrap_used)] // in the helpers too, where clippy does not see a test

mod pages;
mod rows;
mod support;
