//! `RECOVERY_BACKUP`, `RECOVERY_TYPE`, `RECOVERY_TARGET` and `RECOVERY_DRY_RUN`: what the old recovery script was told, by its environment or
//! its file of variables.

use std::path::PathBuf;

use erpgo_dr_core::postgres::Scope;

use crate::context::Context;
use crate::error::CliError;

/// What was asked of the old script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recovery {
    /// The file that is restored.
    pub(super) file: PathBuf,
    /// What of it; `None` where nothing is said.
    pub(super) scope: Option<Scope>,
}

impl Recovery {
    /// Reads what is asked; `None` where no file is named.
    ///
    /// # Errors
    /// For words that mean nothing, and where the target is another environment than this one: a restore into the wrong one is the
    /// worst that can happen.
    pub(super) fn asked(context: &Context) -> Result<Option<Self>, CliError> {
        let value = |name: &str| told(context, name);
        let Some(file) = value("RECOVERY_BACKUP").map(PathBuf::from) else { return Ok(None) };
        if let (Some(target), Some(here)) = (value("RECOVERY_TARGET"), value("ENVIRONMENT"))
            && !target.eq_ignore_ascii_case(&here)
        {
            return Err(CliError::Refused {
                message: format!("RECOVERY_TARGET is {target}, and ENVIRONMENT says that this is {here}"),
                hint: "recover where the target is, or name the server by options: `erpgo-dr restore --from-file FILE`"
                    .to_owned(),
            });
        }
        let scope = match value("RECOVERY_TYPE").map(|word| word.to_ascii_lowercase()).as_deref() {
            None => None,
            Some("full" | "database") => Some(Scope::Full),
            Some("data") => Some(Scope::Data),
            Some("config") => {
                return Err(CliError::usage(
                    "RECOVERY_TYPE is config, and a dump holds no files of a configuration",
                    "`erpgo-dr restore --globals` brings roles back, `erpgo-dr cluster restore` the files of a cluster",
                ));
            }
            Some(word) => {
                return Err(CliError::usage(
                    format!("RECOVERY_TYPE is {word:?}"),
                    "it is full, database, data, or config",
                ));
            }
        };
        Ok(Some(Self { file, scope }))
    }
}

/// Returns whether nothing is to be done but to say what would be.
pub(super) fn is_dry_run(context: &Context) -> bool {
    // Whatever is not a plain no: a misspelt yes must not restore for real.
    let asked = told(context, "RECOVERY_DRY_RUN").map(|word| word.to_ascii_lowercase());
    asked.is_some_and(|word| !matches!(word.as_str(), "false" | "no" | "off" | "0"))
}

/// Returns what the environment says, and else the file of variables.
fn told(context: &Context, name: &str) -> Option<String> {
    let own = std::env::var(name).ok().filter(|value| !value.is_empty());
    own.or_else(|| context.env_file.value(name).map(str::to_owned))
}
