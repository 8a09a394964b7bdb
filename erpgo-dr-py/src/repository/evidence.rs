//! Evidence: collected, listed, checked, handed out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use erpgo_dr_core::crypto::PublicKey;
use erpgo_dr_core::ops::evidence::{
    self as core, Custodian, EvidenceOptions, collect_evidence, export_evidence, list_evidence, note_evidence,
    verify_evidence,
};
use erpgo_dr_core::repository::{Cleanups, RepositoryError};
use erpgo_dr_core::types::{BackupId, EvidenceId};
use pyo3::prelude::*;
use serde::Serialize;

use super::Repository;
use crate::arguments::{PathArgument, parsed};
use crate::connection;
use crate::operation::Operation;
use crate::report::Outcome;

#[pymethods]
impl Repository {
    /// Collects evidence into the repository, and returns its signed manifest as a dict.
    ///
    /// Of a server come its settings, roles, grants, sessions and its log, the rows of `tables` and of `queries` (SQL by names). The
    /// output of `programs` (arguments by names; they get `environment` and nothing else) and `files` of this host are kept as they
    /// are. `backups` belong to it, and are put on hold. An item that cannot be had has the reason in `error`; the others are
    /// collected all the same. `operator_name` is who collects it, for the chain of custody.
    ///
    /// Raises NotFoundError for a backup that is none; of the repository.
    #[pyo3(signature = (
        connection = None, *, password = None, label = None, tables = None, queries = None, programs = None,
        environment = None, files = None, backups = None, operator_name = "python", progress = None,
    ))]
    fn collect_evidence(
        &self,
        py: Python<'_>,
        connection: Option<Bound<'_, PyAny>>,
        password: Option<String>,
        label: Option<String>,
        tables: Option<Vec<String>>,
        queries: Option<BTreeMap<String, String>>,
        programs: Option<BTreeMap<String, Vec<String>>>,
        environment: Option<BTreeMap<String, String>>,
        files: Option<Vec<PathArgument>>,
        backups: Option<Vec<String>>,
        operator_name: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let server = connection.map(|connection| connection::settings(&connection, password)).transpose()?;
        let backups: Vec<BackupId> =
            backups.iter().flatten().map(|backup| parsed(py, backup)).collect::<PyResult<_>>()?;
        let environment = environment.into_iter().flatten().map(|(name, value)| (name.into(), value.into())).collect();
        let options = EvidenceOptions::new(Custodian::here(operator_name))
            .with_label(label)
            .with_server(server)
            .with_tables(tables.into_iter().flatten())
            .with_queries(queries.into_iter().flatten())
            .with_programs(programs.into_iter().flatten())
            .with_environment(environment)
            .with_files(files.into_iter().flatten().map(|path| PathBuf::from(&*path)))
            .with_backups(backups);
        Ok(self.operation(progress, move |shared, context| async move {
            Ok(plain(&collect_evidence(&*shared.read().await, &options, &*context.progress).await?))
        }))
    }

    /// Lists the manifests of all evidence, the oldest first, as dicts.
    ///
    /// Raises IntegrityError where one was altered: look at the others by their identifiers.
    fn evidence(&self) -> Operation {
        self.operation(None, |shared, _| async move {
            let listing = list_evidence(&*shared.read().await).await?;
            if let Some(found) = listing.unreadable.first() {
                let (record, reason) = (format!("the evidence {}", found.id), found.reason.clone());
                return Err(RepositoryError::Damaged { record, reason }.into());
            }
            Ok(plain(&listing.evidence))
        })
    }

    /// Checks that evidence is what was collected: every byte, the signature, its backups, the chain of custody. What is not as it was
    /// is in the dict's `findings`. `public_key` is the one that its collection returned. The outcome is written into the chain of custody.
    ///
    /// Raises NotFoundError for evidence that is none; of the repository.
    #[pyo3(signature = (evidence, *, public_key = None, operator_name = "python", progress = None))]
    fn verify_evidence(
        &self,
        py: Python<'_>,
        evidence: &str,
        public_key: Option<&str>,
        operator_name: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let (id, by): (EvidenceId, _) = (parsed(py, evidence)?, Custodian::here(operator_name));
        let key: Option<PublicKey> = public_key.map(|key| parsed(py, key)).transpose()?;
        Ok(self.operation(progress, move |shared, context| async move {
            Ok(plain(&verify_evidence(&*shared.read().await, &id, key, &by, &*context.progress).await?))
        }))
    }

    /// Hands evidence out as plain files in a folder that is not there yet, which is written into the chain of custody.
    ///
    /// Raises NotFoundError for evidence that is none, IntegrityError for what is not as it was collected, AlreadyExistsError.
    #[pyo3(signature = (evidence, folder, *, operator_name = "python", progress = None))]
    fn export_evidence(
        &self,
        py: Python<'_>,
        evidence: &str,
        folder: PathArgument,
        operator_name: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let (id, by): (EvidenceId, _) = (parsed(py, evidence)?, Custodian::here(operator_name));
        Ok(self.operation(progress, move |shared, context| async move {
            let repository = shared.read().await;
            Ok(plain(&export_evidence(&repository, &id, &folder, &by, &*context.progress).await?))
        }))
    }

    /// Writes into the chain of custody of evidence what was done with it, and returns the entry as a dict.
    ///
    /// Raises NotFoundError for evidence that is none, IntegrityError for a chain that was altered.
    #[pyo3(signature = (evidence, note, *, operator_name = "python"))]
    fn note_evidence(&self, py: Python<'_>, evidence: &str, note: String, operator_name: &str) -> PyResult<Operation> {
        let (id, by): (EvidenceId, _) = (parsed(py, evidence)?, Custodian::here(operator_name));
        Ok(self.operation(None, move |shared, _| async move {
            Ok(plain(&note_evidence(&*shared.read().await, &id, &by, &note).await?))
        }))
    }
}

/// Checks evidence that was handed out as plain files. No repository is needed.
///
/// `public_key` is the key that it must be signed with, in hexadecimal digits; without one, that which it names itself is taken, which
/// proves only that it is of one piece. What is not as it was is in the dict's `findings`.
///
/// Raises InputOutputError or NotFoundError for a folder that cannot be read, IntegrityError for a manifest that is none.
#[pyfunction]
#[pyo3(signature = (folder, *, public_key = None, progress = None))]
pub(crate) fn verify_exported_evidence(
    py: Python<'_>,
    folder: PathArgument,
    public_key: Option<&str>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Operation> {
    let key: Option<PublicKey> = public_key.map(|key| parsed(py, key)).transpose()?;
    Ok(Operation::new(progress, Cleanups::default(), move |context| async move {
        Ok(plain(&core::verify_exported_evidence(&folder, key, &*context.progress).await?))
    }))
}

fn plain(value: &impl Serialize) -> Outcome {
    Outcome::Plain(serde_json::to_value(value).expect("reports are plain JSON"))
}
