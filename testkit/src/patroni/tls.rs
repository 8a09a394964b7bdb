//! An authority, and one certificate for all who speak with each other.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::postgres::give_to_postgres;
use crate::programs::missing;

/// The authority's certificate; the certificate, of servers and clients; its key.
pub(super) const FILES: [&str; 3] = ["ca.crt", "agent.crt", "agent.key"];

pub(super) fn make_certificates(folder: &Path) {
    let [ca, certificate, key] = FILES.map(|name| folder.join(name));
    let ca_key = folder.join("ca.key");
    let mut authority = request("erpgo-dr testkit");
    authority.args(["-addext", "keyUsage=critical,keyCertSign"]).arg("-keyout").arg(&ca_key).arg("-out").arg(&ca);
    succeed(authority);
    let mut agent = request("localhost");
    agent.args([
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]);
    agent.arg("-CA").arg(&ca).arg("-CAkey").arg(&ca_key).arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    succeed(agent);
    for file in [&ca, &certificate, &key] {
        give_to_postgres(file);
    }
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("the key is ours");
}

fn request(name: &str) -> Command {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    command.args(["-subj", &format!("/CN={name}")]);
    command
}

fn succeed(mut command: Command) {
    let output = command.output().unwrap_or_else(|_| missing("openssl"));
    assert!(output.status.success(), "openssl failed: {}", String::from_utf8_lossy(&output.stderr));
}
