//! What the soak programs share: a repository, and the tool as a program that can be killed.

mod site;

pub use site::{Ended, Site, ended, kill_after};
