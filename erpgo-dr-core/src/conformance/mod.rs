//! Conformance suites: what every implementation of a trait must do. Each function panics where one does not.

pub mod driver;
pub mod encryptor;
pub mod faulty;
pub mod retention;
pub mod storage;
