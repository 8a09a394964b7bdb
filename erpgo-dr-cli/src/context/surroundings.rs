//! What programs that a runbook or a collection of evidence starts find around them, and who started them.

use std::ffi::OsString;

use super::Context;

/// Variables of the environment that programs get.
const PASSED_ON: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "SSH_AUTH_SOCK",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "KUBECONFIG",
];

impl Context {
    /// Returns the environment of programs: these variables, and those that the configuration names.
    pub(crate) fn passed_environment(&self) -> Vec<(OsString, OsString)> {
        let more = &self.config.runbook.pass_environment;
        let is_passed = |name: &OsString| {
            PASSED_ON.iter().any(|passed| name == passed) || more.iter().any(|more| name == more.as_str())
        };
        std::env::vars_os().filter(|(name, _)| is_passed(name)).collect()
    }

    /// Names the user of this process.
    pub(crate) fn user() -> String {
        let name = ["LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok()).filter(|name| !name.is_empty());
        name.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
    }
}
