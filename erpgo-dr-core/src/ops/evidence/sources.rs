//! Where items come from, and how their bytes are read.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::collect::Item;
use super::facts::FACTS;
use super::options::EvidenceOptions;
use super::server::Server;
use crate::postgres::{Invocation, PostgresError};

/// How much is read at once, in bytes.
pub(super) const CHUNK: usize = 1 << 20;

/// Where an item comes from.
pub(super) enum Source<'o> {
    /// What the server says of itself, as CSV.
    Facts { query: &'static str },
    /// The rows of somebody's query, as CSV.
    Rows { query: &'o str },
    /// A table, as CSV.
    Table { name: &'o str },
    /// A file of the server.
    ServerFile { path: String },
    /// What there should be, and cannot be read.
    Nothing { reason: String },
    /// A file of this host.
    File { path: &'o Path },
}

/// An item that is to be collected.
pub(super) struct Wanted<'o> {
    /// Its name in the bundle, without its number: of letters that every file system takes.
    pub(super) name: String,
    /// What it is, for people.
    pub(super) what: String,
    pub(super) source: Source<'o>,
}

/// Why an item is not whole.
pub(super) enum Failure {
    /// Its source failed: the others are collected all the same.
    Source(String),
    /// The repository failed.
    Store(super::super::Error),
}

impl From<PostgresError> for Failure {
    fn from(error: PostgresError) -> Self {
        Self::Source(crate::causes::chain(&error))
    }
}

/// Lists what is read of the server, what changes fastest first.
pub(super) async fn of_server<'o>(options: &'o EvidenceOptions, server: Option<&Server>) -> Vec<Wanted<'o>> {
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    for (name, query) in FACTS {
        wanted.push(Wanted::new(
            &format!("{name}.csv"),
            format!("the server's {}", name.replace('-', " ")),
            Source::Facts { query },
        ));
    }
    for name in &options.tables {
        wanted.push(Wanted::new(&format!("{name}.csv"), format!("the table {name}"), Source::Table { name }));
    }
    for (name, query) in &options.queries {
        wanted.push(Wanted::new(&format!("{name}.csv"), format!("the rows of {query}"), Source::Rows { query }));
    }
    let logs = match server {
        Some(server) => server.log_files().await,
        None => Err(Failure::Source("the server could not be asked".to_owned())),
    };
    let nothing = |reason: String| Wanted::new("server.log", "the server's log".to_owned(), Source::Nothing { reason });
    match logs {
        Ok(files) if files.is_empty() => wanted.push(nothing(
            "the server writes its log to where it cannot be read over a connection: collect it as a file, or by a program"
                .to_owned(),
        )),
        Ok(files) => wanted.extend(files.into_iter().map(|path| {
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            Wanted::new(&name, format!("the server's log {path}"), Source::ServerFile { path })
        })),
        Err(Failure::Source(reason)) => wanted.push(nothing(reason)),
        Err(Failure::Store(error)) => wanted.push(nothing(error.to_string())),
    }
    wanted
}

/// Lists the files of this host.
pub(super) fn of_host(options: &EvidenceOptions) -> impl Iterator<Item = Wanted<'_>> {
    options.files.iter().map(|path| {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Wanted::new(&name, format!("the file {}", path.display()), Source::File { path })
    })
}

impl<'o> Wanted<'o> {
    fn new(name: &str, what: String, source: Source<'o>) -> Self {
        Self { name: safe(name), what, source }
    }
}

/// Makes a name that is one on every file system, and in no list of sums anything but a name.
pub(super) fn safe(name: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    name.trim_start_matches('.').chars().map(kept).take(100).collect()
}

impl Source<'_> {
    /// Reads all of it into an item.
    pub(super) async fn pour(&self, server: Option<&Server>, item: &mut Item) -> Result<(), Failure> {
        let asked = || server.ok_or_else(|| Failure::Source("the server could not be asked".to_owned()));
        match self {
            Self::Facts { query } => asked()?.facts(query, item).await,
            Self::Rows { query } => asked()?.rows(query, item).await,
            Self::Table { name } => asked()?.table(name, item).await,
            Self::ServerFile { path } => asked()?.file(path, item).await,
            Self::Nothing { reason } => Err(Failure::Source(reason.clone())),
            Self::File { path } => {
                let failed = |error: std::io::Error| Failure::Source(error.to_string());
                let metadata = tokio::fs::metadata(path).await.map_err(failed)?;
                if !metadata.is_file() {
                    return Err(Failure::Source("it is no file of a disk".to_owned()));
                }
                read(tokio::fs::File::open(path).await.map_err(failed)?, item).await
            }
        }
    }

    /// Returns whether it is read over the connection, which is of no more use once that was cut off.
    pub(super) fn is_of_server(&self) -> bool {
        !matches!(self, Self::File { .. } | Self::Nothing { .. })
    }
}

/// Runs a program, and reads what it writes to standard output and to standard error into an item each.
pub(super) async fn program(
    line: &[String],
    environment: &[(OsString, OsString)],
    [output, errors]: [&mut Item; 2],
) -> Result<(), Failure> {
    let Some((name, arguments)) = line.split_first() else {
        return Err(Failure::Source("no program is named".to_owned()));
    };
    let mut invocation = Invocation::new(&PathBuf::from(name)).arguments(arguments);
    for (name, value) in environment {
        invocation = invocation.variable(name, value);
    }
    let (mut running, stderr) = invocation.spawn_with_stderr()?;
    let stdout = running.take_stdout();
    let output = async {
        match stdout {
            Some(stdout) => read(stdout, output).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(output, read(stderr, errors))?;
    running.finish().await?;
    Ok(())
}

async fn read(mut from: impl AsyncRead + Unpin, item: &mut Item) -> Result<(), Failure> {
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let read = from.read_buf(&mut chunk).await.map_err(|error| Failure::Source(error.to_string()))?;
        if read == 0 {
            return Ok(());
        }
        item.write(Bytes::from(chunk)).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files_and_nothing_else() {
        assert_eq!(safe("security.events.csv"), "security.events.csv");
        assert_eq!(safe("../../etc/pass wd\n"), "_.._etc_pass_wd_");
        assert_eq!(safe("\u{e4}"), "_");
    }
}
