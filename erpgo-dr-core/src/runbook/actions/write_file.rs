//! `write-file`: a file from a text with values, whole or not at all.

use std::fs::{Metadata, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::{Act, Done, Nature, Scope, Uses, View};

/// Writes a file; only its owner can read it, unless `mode` says more. What was there before is kept beside it, and brought back
/// by an undo.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct WriteFile {
    /// The file.
    pub path: Template,
    /// What it is to hold.
    pub text: Template,
    /// Its permissions, in octal digits.
    #[serde(default = "private")]
    pub mode: String,
    /// Whether what was there before is brought back instead.
    #[serde(skip)]
    restore: bool,
}

fn private() -> String {
    "600".to_owned()
}

impl WriteFile {
    /// Returns what brings the file back that was there.
    pub(super) fn previous(&self) -> Option<Self> {
        (!self.restore).then(|| Self { restore: true, ..self.clone() })
    }

    fn mode(&self) -> Result<u32, ActionError> {
        let mode = u32::from_str_radix(&self.mode, 8).ok().filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| ActionError::Unusable(format!("{:?} are no permissions", self.mode)))
    }

    /// Returns where the file that was there is kept for this run; empty where there was none.
    fn kept(scope: &Scope<'_>, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!(".{name}.before-{}-{}", scope.run, scope.step))
    }
}

#[async_trait]
impl Act for WriteFile {
    fn nature(&self) -> Nature {
        Nature::change(30).repeatable()
    }

    fn describe(&self, view: &View<'_>) -> String {
        match self.restore {
            true => format!("bring back {} as it was", self.path.shown(view.values)),
            false => format!("write {}", self.path.shown(view.values)),
        }
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.visible([&self.path]);
        uses.quiet([&self.text]);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let path = PathBuf::from(scope.text(&self.path)?);
        if !path.is_absolute() || path.file_name().is_none() {
            return Err(ActionError::Unusable(format!("{} is no absolute path of a file", path.display())));
        }
        // What a link names is written, and not the link.
        let path = path.canonicalize().unwrap_or(path);
        let (mode, kept) = (self.mode()?, Self::kept(scope, &path));
        if self.restore {
            bring_back(&path, &kept)?;
            return Ok(Done::said(format!("{} is as it was", path.display())));
        }
        let text = scope.text(&self.text)?;
        keep(&path, &kept)?;
        write(&path, text.as_bytes(), mode)?;
        Ok(Done::said(format!("{} bytes in {}", text.len(), path.display())))
    }
}

/// Keeps what is there, unless an earlier attempt has.
fn keep(path: &Path, kept: &Path) -> Result<(), ActionError> {
    if kept.symlink_metadata().is_ok() {
        return Ok(());
    }
    let found = match std::fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(source) => return Err(ActionError::File { action: "read", path: path.to_owned(), source }),
    };
    match found {
        Some(bytes) => {
            let found = std::fs::metadata(path).ok();
            let mode = found.as_ref().map_or(0o600, |found| found.permissions().mode() & 0o777);
            write_as(kept, &bytes, mode, found.as_ref())
        }
        // The sticky bit alone tells that there was none: no file that is kept has it.
        None => write_as(kept, &[], 0o1000, None),
    }
}

fn bring_back(path: &Path, kept: &Path) -> Result<(), ActionError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| ActionError::File { action, path, source }
    };
    let found = match std::fs::metadata(kept) {
        Ok(found) => found,
        // Nothing was written, or it was brought back already.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("find what was kept in", kept)(error)),
    };
    if found.permissions().mode() & 0o1000 == 0 {
        std::fs::rename(kept, path).map_err(failed("bring back", path))?;
    } else {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("remove", path)(error)),
            _ => {}
        }
        std::fs::remove_file(kept).map_err(failed("remove", kept))?;
    }
    sync_folder(path).map_err(failed("bring back", path))
}

/// Makes the names in a file's folder durable.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Writes a file under its name only when it is whole and durable. One that is replaced gives its owner to the new one.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), ActionError> {
    write_as(path, bytes, mode, std::fs::metadata(path).ok().as_ref())
}

/// As [`write`], with the owner of another file.
fn write_as(path: &Path, bytes: &[u8], mode: u32, like: Option<&Metadata>) -> Result<(), ActionError> {
    let failed = |source| ActionError::File { action: "write", path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file =
        tempfile::Builder::new().permissions(Permissions::from_mode(0o600)).tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    if let Some(like) = like {
        std::os::unix::fs::fchown(file.as_file(), Some(like.uid()), Some(like.gid())).map_err(failed)?;
    }
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    sync_folder(path).map_err(failed)
}

/// A secret that lies beside the file that it is for, until whatever must know it does.
pub(super) struct PendingSecret {
    path: PathBuf,
    pending: PathBuf,
}

impl PendingSecret {
    /// Writes a secret, with the owner and the permissions of the file that it is for; 0600 for a new one.
    pub(super) fn write(path: &Path, secret: &str) -> Result<Self, ActionError> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pending = path.with_file_name(format!(".{name}.new"));
        let found = std::fs::metadata(&path).ok();
        let mode = found.as_ref().map_or(0o600, |found| found.permissions().mode() & 0o777);
        write_as(&pending, secret.as_bytes(), mode, found.as_ref())?;
        Ok(Self { path, pending })
    }

    /// Puts it in its place.
    pub(super) fn settle(self) -> Result<PathBuf, ActionError> {
        let Self { path, pending } = self;
        let failed = |source| ActionError::File { action: "write", path: path.clone(), source };
        std::fs::rename(&pending, &path).map_err(failed)?;
        sync_folder(&path).map_err(failed)?;
        Ok(path)
    }
}
