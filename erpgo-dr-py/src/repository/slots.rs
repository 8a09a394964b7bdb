//! Who may open the repository.

use erpgo_dr_core::crypto::keys::SlotName;
use pyo3::prelude::*;

use super::Repository;
use crate::arguments::parsed;
use crate::keys::{wrapper, wrappers};
use crate::operation::Operation;
use crate::report::Outcome;

#[pymethods]
impl Repository {
    /// Lists the key epochs and their slots, oldest first.
    fn epochs(&self) -> Operation {
        self.operation(None, |shared, _| async move {
            let epochs = shared.read().await.epochs().await?;
            Ok(Outcome::reports(&epochs))
        })
    }

    /// Adds a slot to every epoch that is unlocked: give one of passphrase, recipients and command.
    #[pyo3(signature = (name, *, passphrase = None, recipients = None, command = None, work_factor = None))]
    fn add_slot(
        &self,
        py: Python<'_>,
        name: &str,
        passphrase: Option<String>,
        recipients: Option<Vec<String>>,
        command: Option<Vec<String>>,
        work_factor: Option<u8>,
    ) -> PyResult<Operation> {
        let name: SlotName = parsed(py, name)?;
        let wrapper = wrapper(py, passphrase, recipients, command, work_factor)?;
        Ok(self.operation(None, move |shared, _| async move {
            shared.read().await.add_slot(&name, &wrapper).await?;
            Ok(Outcome::Nothing)
        }))
    }

    /// Replaces what opens a slot, in every epoch that has it: give one of passphrase, recipients and command.
    #[pyo3(signature = (name, *, passphrase = None, recipients = None, command = None, work_factor = None))]
    fn rotate_slot(
        &self,
        py: Python<'_>,
        name: &str,
        passphrase: Option<String>,
        recipients: Option<Vec<String>>,
        command: Option<Vec<String>>,
        work_factor: Option<u8>,
    ) -> PyResult<Operation> {
        let name: SlotName = parsed(py, name)?;
        let wrapper = wrapper(py, passphrase, recipients, command, work_factor)?;
        Ok(self.operation(None, move |shared, _| async move {
            shared.read().await.rotate_slot(&name, &wrapper).await?;
            Ok(Outcome::Nothing)
        }))
    }

    /// Removes a slot from every epoch. Who has seen a key keeps it: after a breach begin a new epoch as well.
    fn remove_slot(&self, py: Python<'_>, name: &str) -> PyResult<Operation> {
        let name: SlotName = parsed(py, name)?;
        Ok(self.operation(None, move |shared, _| async move {
            shared.read().await.remove_slot(&name).await?;
            Ok(Outcome::Nothing)
        }))
    }

    /// Begins a new epoch, which only what is given opens, and returns its identifier: new backups are sealed with it.
    #[pyo3(signature = (*, passphrase = None, recipients = None, command = None, work_factor = None))]
    fn begin_epoch(
        &self,
        py: Python<'_>,
        passphrase: Option<String>,
        recipients: Option<Vec<String>>,
        command: Option<Vec<String>>,
        work_factor: Option<u8>,
    ) -> PyResult<Operation> {
        let slots = wrappers(py, passphrase, recipients, command, work_factor)?;
        Ok(self.operation(None, move |shared, _| async move {
            let epoch = shared.core.write().await.begin_epoch(&slots).await?;
            Ok(Outcome::Text(epoch.to_string()))
        }))
    }

    /// Begins an epoch for this process alone, which only what is given opens: for a host that holds no secret.
    ///
    /// What is backed up from now on this host cannot read once the repository is closed.
    #[pyo3(signature = (*, recipients = None, command = None))]
    fn begin_run_epoch(
        &self,
        py: Python<'_>,
        recipients: Option<Vec<String>>,
        command: Option<Vec<String>>,
    ) -> PyResult<Operation> {
        let slots = wrappers(py, None, recipients, command, None)?;
        Ok(self.operation(None, move |shared, _| async move {
            shared.core.write().await.begin_run_epoch(&slots).await?;
            Ok(Outcome::Nothing)
        }))
    }
}
