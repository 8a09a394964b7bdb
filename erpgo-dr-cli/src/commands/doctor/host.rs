//! This host: its CPU and its disks.

use std::path::Path;

use erpgo_dr_core::crypto::Aes256CbcHmac;
use erpgo_dr_core::postgres::throwaway::leftovers;

use super::checks::Checks;
use super::patience::Patience;
use crate::error;
use crate::output::bytes;

/// Says which instructions the ciphers find here.
pub(super) fn check_cpu(checks: &mut Checks) {
    let features = cpu_features();
    let names: Vec<&str> = features.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    let kernel = Aes256CbcHmac::new().mac_backend();
    let detail = format!(
        "MAC kernel {kernel}; the CPU has {}",
        if names.is_empty() { "none of AES-NI, VAES, AVX-512, SHA-NI".to_owned() } else { names.join(", ") }
    );
    match features.first() {
        Some((_, false)) => {
            checks.warn("cpu", detail, "encryption is slow without AES instructions: `erpgo-dr bench` says how slow");
        }
        _ => checks.ok("cpu", detail),
    }
}

/// The first is the one that matters most.
#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<(&'static str, bool)> {
    vec![
        ("AES-NI", std::arch::is_x86_feature_detected!("aes")),
        ("VAES", std::arch::is_x86_feature_detected!("vaes")),
        ("AVX-512", std::arch::is_x86_feature_detected!("avx512f")),
        ("SHA-NI", std::arch::is_x86_feature_detected!("sha")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn cpu_features() -> Vec<(&'static str, bool)> {
    vec![
        ("AES", std::arch::is_aarch64_feature_detected!("aes")),
        ("SHA-2", std::arch::is_aarch64_feature_detected!("sha2")),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_features() -> Vec<(&'static str, bool)> {
    Vec::new()
}

/// Looks for what killed restore tests have left in the scratch folder: data in the clear, and servers that run on.
pub(super) async fn check_leftovers(checks: &mut Checks, patience: Patience, scratch: &Path) {
    let name = "scratch leftovers";
    match patience.with(&scratch.display().to_string(), leftovers(scratch)).await {
        Ok(left) if left.is_empty() => {
            checks.ok(name, format!("no killed restore test has left anything in {}", scratch.display()));
        }
        Ok(left) => {
            let left: Vec<String> = left.iter().map(|path| path.display().to_string()).collect();
            checks.warn(
                name,
                format!("killed restore tests have left databases in the clear: {}", left.join(", ")),
                "`erpgo-dr prune` or the next `erpgo-dr verify --restore` removes them, and stops their servers",
            );
        }
        Err(error) => checks.error(name, error),
    }
}

/// Compares the free space of the disk under `path` with what will be needed.
pub(super) async fn check_space(
    checks: &mut Checks,
    patience: Patience,
    name: &str,
    path: &Path,
    needed: u64,
    what: &str,
) {
    let asked = path.to_owned();
    // A disk that is mounted from elsewhere may not answer.
    let asking = async move {
        let asked = tokio::task::spawn_blocking(move || free_space(&asked)).await;
        asked
            .unwrap_or_else(|failure| Err(std::io::Error::other(failure)))
            .map_err(|source| error::io("ask the disk", source))
    };
    let free = match patience.with(&path.display().to_string(), asking).await {
        Ok(free) => free,
        Err(error) => {
            let cause = error.causes().pop().unwrap_or_else(|| error.to_string());
            let detail = format!("the free space of {} is not known: {cause}", path.display());
            return checks.warn(name, detail, "check the path, and that this user may enter it");
        }
    };
    let detail = format!("{} free in {}; {what} needs about {}", bytes(free), path.display(), bytes(needed));
    let next = "free some space, or take a larger disk; `erpgo-dr prune --dry-run` shows what could go";
    match free {
        _ if free < needed => checks.fail(name, detail, next),
        _ if free < needed.saturating_mul(3) => checks.warn(name, detail, next),
        _ => checks.ok(name, detail),
    }
}

fn free_space(path: &Path) -> std::io::Result<u64> {
    // A folder that is still to be made lies on the disk of the nearest one above.
    let there = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let disk = rustix::fs::statvfs(there)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
