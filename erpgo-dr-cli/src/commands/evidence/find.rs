//! Which bundle is meant.

use erpgo_dr_core::Repository;
use erpgo_dr_core::ops::evidence::list_evidence;
use erpgo_dr_core::types::EvidenceId;

use crate::error::CliError;

/// Finds a bundle: `latest`, its identifier, or a beginning of one that only one has.
pub(super) async fn find(repository: &Repository, text: &str) -> Result<EvidenceId, CliError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let ids: Vec<EvidenceId> =
        list_evidence(repository).await?.evidence.into_iter().map(|report| report.manifest.id).collect();
    let hint = "`erpgo-dr evidence list` shows their whole identifiers";
    let found = match text {
        "latest" => ids.last(),
        _ => {
            let mut named = ids.iter().filter(|id| id.as_str().starts_with(text));
            match (named.next(), named.next()) {
                (Some(_), Some(_)) => return Err(CliError::usage(format!("several bundles begin with {text}"), hint)),
                (first, _) => first,
            }
        }
    };
    found.cloned().ok_or_else(|| CliError::usage(format!("there is no evidence {text}"), hint))
}
