//! A real browser, which looks at a page as people with good and with bad eyes do.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::programs::{missing, program, services};

/// Opens a page in Chromium, light and dark, on a screen and on a phone, and returns what is wrong: what axe finds, what it fetches, what does
/// not fit. Pictures of it are in `folder` then: `light-screen.png`, `dark-phone.png`...
///
/// # Panics
/// If Chromium or the packages of `scripts/setup` are not installed, or the page cannot be opened.
pub fn look(page: &Path, folder: &Path) -> Vec<String> {
    let script = folder.join("browser.js");
    fs::write(&script, include_str!("browser.js")).expect("cannot write the script");
    let packages = services().join("npm/node_modules");
    if !packages.join("axe-core").is_dir() {
        missing("axe-core");
    }
    let mut command = Command::new(program("node"));
    // Its profile is put there, too.
    command.arg(&script).arg(page).arg(folder).env("NODE_PATH", packages).env("TMPDIR", folder).env("HOME", folder);
    let output = command.output().expect("cannot start node");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}
