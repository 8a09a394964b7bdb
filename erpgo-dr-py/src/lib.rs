//! The native half of the Python package `erpgo_dr`: parses arguments, calls the library, converts what comes back.
//!
//! Each operation is written once, as an [`operation::Operation`] that has not begun; the package's Python half waits
//! for it (`erpgo_dr`) or awaits it (`erpgo_dr.aio`). Nothing is decided here.

#![allow(unreachable_pub, reason = "the attributes of pyo3 make items that nothing but Python reaches")]
#![allow(clippy::needless_pass_by_value, reason = "arguments of Python arrive by value")]
#![allow(clippy::too_many_arguments, reason = "keyword arguments of Python")]

mod arguments;
mod connection;
mod encrypt;
mod errors;
mod files;
mod ha;
mod host;
mod integrity;
mod keys;
mod openssl;
mod operation;
mod progress;
mod report;
mod repository;
mod retention;
mod storage;

use pyo3::prelude::*;

/// Private: use `erpgo_dr` and `erpgo_dr.aio`.
#[pymodule]
fn _erpgo_dr(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<connection::Connection>()?;
    module.add_class::<keys::FileKey>()?;
    module.add_class::<keys::GeneratedIdentity>()?;
    module.add_class::<operation::Operation>()?;
    module.add_class::<repository::Repository>()?;
    module.add_class::<retention::RetentionPolicy>()?;
    module.add_class::<ha::Patroni>()?;
    module.add_function(wrap_pyfunction!(keys::generate_identity, module)?)?;
    module.add_function(wrap_pyfunction!(keys::wrap_key, module)?)?;
    module.add_function(wrap_pyfunction!(keys::unwrap_key, module)?)?;
    module.add_function(wrap_pyfunction!(encrypt::encrypt, module)?)?;
    module.add_function(wrap_pyfunction!(encrypt::decrypt, module)?)?;
    module.add_function(wrap_pyfunction!(repository::evidence::verify_exported_evidence, module)?)?;
    module.add_function(wrap_pyfunction!(integrity::check_integrity, module)?)?;
    module.add_function(wrap_pyfunction!(ha::ha_cluster, module)?)?;
    module.add_function(wrap_pyfunction!(ha::ha_switchover, module)?)?;
    module.add_function(wrap_pyfunction!(ha::ha_failover, module)?)?;
    module.add_function(wrap_pyfunction!(ha::ha_pause, module)?)?;
    module.add_function(wrap_pyfunction!(ha::ha_reinitialize, module)?)?;
    module.add_function(wrap_pyfunction!(repository::runbooks::runbooks, module)?)?;
    module.add_function(wrap_pyfunction!(repository::runbooks::check_runbook, module)?)?;
    module.add_function(wrap_pyfunction!(repository::runbooks::plan_runbook, module)?)?;
    module.add_function(wrap_pyfunction!(openssl::openssl_encrypt_unauthenticated, module)?)?;
    module.add_function(wrap_pyfunction!(openssl::openssl_decrypt_unauthenticated, module)?)?;
    Ok(())
}
