//! The layers of `lib.rs` hold: no module names one that stands above it or beside it.

#![allow(clippy::unwrap_used)] // in the helpers too, where clippy does not see a test

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up. What stands in one line is blind to each other.
const LAYERS: [&[&str]; 10] = [
    &["types"],
    &["clock", "progress", "compute", "cleanup", "causes", "presentation"],
    &["codec", "crypto", "storage", "postgres", "retention"],
    &["container"],
    &["repository"],
    &["ops", "topology"],
    &["runbook"],
    &["drill"],
    &["agent"],
    &["monitor"],
];

/// Modules that stand outside the layers: the suites that are called from tests may use everything.
const OUTSIDE: [&str; 1] = ["conformance"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Every source file but those of unit tests, which may look around.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The code of a file without its comments and without its unit tests, which may look around.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    code.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned()
}

/// The first names behind each `crate::`, those in braces one by one.
fn names_in_crate(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        let preceded = code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            _ if preceded => {}
            Some(group) => names.extend(group_items(group)),
            None => names.extend(leading_name(rest)),
        }
    }
    names
}

fn group_items(group: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut items = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ if depth == 0 => items.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    items.iter().filter_map(|item| leading_name(item)).collect()
}

fn leading_name(text: &str) -> Option<String> {
    let name: String = text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// What `lib.rs` re-exports, and from which module: `crate::Storage` is `storage`.
fn reexports() -> BTreeMap<String, String> {
    let code = code(&source().join("lib.rs"));
    let statements =
        code.split(';').filter_map(|statement| statement.trim().strip_prefix("pub use ").map(str::to_owned));
    let mut exports = BTreeMap::new();
    for statement in statements {
        let (module, names) = statement.split_once("::").unwrap();
        for name in names.trim_matches(['{', '}']).split(',') {
            let name = name.trim().rsplit([' ', ':']).next().unwrap_or_default();
            exports.insert(name.to_owned(), module.to_owned());
        }
    }
    exports
}

fn violations_of(module: &str, code: &str, exports: &BTreeMap<String, String>) -> Vec<String> {
    let own = rank(module).unwrap();
    let targets = names_in_crate(code).into_iter().map(|name| exports.get(&name).cloned().unwrap_or(name));
    let wrong = targets.filter(|target| target != module && rank(target).is_none_or(|theirs| theirs >= own));
    wrong.collect()
}

#[test]
fn every_module_has_its_layer() {
    let code = code(&source().join("lib.rs"));
    let modules = code.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
    let unknown: Vec<_> = modules.filter(|module| rank(module).is_none() && !OUTSIDE.contains(module)).collect();
    assert!(unknown.is_empty(), "modules of lib.rs that no layer knows: {unknown:?}");
}

#[test]
fn imports_point_down_only() {
    let exports = reexports();
    let mut wrong = Vec::new();
    for file in rust_files(&source()) {
        let inside = file.strip_prefix(source()).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if module == "lib" || OUTSIDE.contains(&module) {
            continue;
        }
        for target in violations_of(module, &code(&file), &exports) {
            wrong.push(format!("{}: `{module}` may not use `{target}`", inside.display()));
        }
    }
    assert!(wrong.is_empty(), "imports that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_each_way_to_write_an_import() {
    let exports = BTreeMap::from([("Repository".to_owned(), "repository".to_owned())]);
    let wrong = |code: &str| violations_of("storage", code, &exports);
    assert_eq!(wrong("use crate::crypto::EpochKey;"), ["crypto"]);
    assert_eq!(wrong("use crate::{types::ObjectKey, ops::{a, b}};"), ["ops"]);
    assert_eq!(wrong("fn f() -> crate::container::X {}"), ["container"]);
    assert_eq!(wrong("use crate::Repository;"), ["repository"]);
    assert_eq!(wrong("pub(crate) use crate::types::A; use mycrate::ops; use crate::storage::B;"), [""; 0]);
}
