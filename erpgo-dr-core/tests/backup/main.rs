//! The main job on real servers: a database goes into a repository, is proven, and comes back the same.

#![allow(clippy::unwrap_used)]

mod evidence;
mod figures;
mod legacy;
mod story;
mod support;
