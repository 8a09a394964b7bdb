//! Which clusters there are: a file each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::context::Context;
use crate::error::{self, CliError};

/// Names are labels of metrics, and parts of addresses.
const LONGEST_NAME: usize = 64;

/// What a cluster's commands work with, or why its configuration cannot be used.
pub(super) type Cluster = Result<Context, CliError>;

/// Reads the configurations of all clusters. One that is wrong is no reason to leave the others alone.
pub(super) fn read(context: &Context, folder: &Path) -> Result<BTreeMap<String, Cluster>, CliError> {
    refuse_what_names_one(context)?;
    let mut clusters = BTreeMap::new();
    for (name, file) in files(folder)? {
        let read = check_file(&name, &file).and_then(|()| context.of_cluster(&file)).and_then(|cluster| {
            check(&cluster, &file)?;
            Ok(cluster)
        });
        clusters.insert(name, read);
    }
    if clusters.is_empty() {
        let hint = "write one for each cluster: `billing.toml` with its `repository`, `keys` and `postgres`";
        return Err(CliError::usage(format!("{} has no configuration (*.toml)", folder.display()), hint));
    }
    Ok(clusters)
}

/// Lists the files by the names of their clusters.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>, CliError> {
    let unreadable = |source| error::io(format!("read the folder {}", folder.display()), source);
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        files.insert(path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path);
    }
    Ok(files)
}

/// The name must do for a label and an address, and the file be one that ends.
fn check_file(name: &str, file: &Path) -> Result<(), CliError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.len() > LONGEST_NAME || !name.chars().all(fits) {
        let rule = format!("at most {LONGEST_NAME} letters, digits, `-`, `_` and `.`");
        return Err(wrong(file, format!("the file's name is the cluster's, and has {rule}")));
    }
    match std::fs::metadata(file) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(wrong(file, "it is no regular file")),
        Err(source) => Err(ConfigError::Unreadable { path: file.to_owned(), source }.into()),
    }
}

/// A cluster must say by itself where its server and its repository are.
fn check(cluster: &Context, file: &Path) -> Result<(), CliError> {
    if cluster.named_repository().is_none() {
        return Err(wrong(file, "it names no repository"));
    }
    if cluster.config.postgres.connection.is_none() && cluster.env_file.value("POSTGRES_PRIMARY_HOST").is_none() {
        return Err(wrong(file, "it names no server: write `postgres = { connection = \"...\" }`"));
    }
    match cluster.config.fleet.folder {
        Some(_) => Err(wrong(file, "a cluster has no [fleet]")),
        None => Ok(()),
    }
}

/// Variables that would be those of every server, and win over what an `env_file` says.
const OF_ONE_SERVER: [&str; 7] =
    ["ERPGO_DR_CONNECTION", "ERPGO_DR_PGPASSWORD", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD"];

/// What names one repository or one server would be that of every cluster.
fn refuse_what_names_one(context: &Context) -> Result<(), CliError> {
    let global = &context.global;
    let options = [
        (global.repository.is_some(), "--repository or ERPGO_DR_REPOSITORY"),
        (!global.replica.is_empty(), "--replica or ERPGO_DR_REPLICA"),
        (global.connection.is_some(), "--connection"),
        (global.env_file.is_some(), "--env-file or ERPGO_DR_ENV_FILE"),
    ];
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let option = options.into_iter().find(|(is_given, _)| *is_given).map(|(_, name)| name);
    match option.or_else(|| OF_ONE_SERVER.into_iter().find(is_set)) {
        Some(name) => Err(CliError::usage(
            format!("{name} would be that of every cluster"),
            "leave it away: each cluster's file has its own, and passwords are in the file that PGPASSFILE names",
        )),
        None => Ok(()),
    }
}

fn wrong(file: &Path, message: impl Into<String>) -> CliError {
    ConfigError::File { path: file.to_owned(), message: message.into() }.into()
}
