//! Arbitrary text as `erpgo-dr.toml` and as `.env.production`: an error names a place, and nothing panics.

#![no_main]

use erpgo_dr_cli::config::{Config, EnvFile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = Config::parse(text) {
        assert!(!error.to_string().is_empty());
    }
    if let Ok(file) = EnvFile::parse(text) {
        let _ = (file.warnings(), file.repository(), file.retention(), file.number("RETENTION_DAYS"));
        let _ = (file.passphrase(), file.database_password());
    }
});
