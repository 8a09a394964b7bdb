//! A cluster that Patroni runs: needs no repository.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use erpgo_dr_core::repository::Cleanups;
use erpgo_dr_core::topology::ha::{
    ChangeKind, ChangeOptions, HaBackend as _, HaError, PatroniBackend, PatroniSettings, carry_out, plan_failover,
    plan_switchover, reinitialize, set_paused,
};
use pyo3::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use crate::arguments::duration;
use crate::errors::{Failure, ha_exception, invalid};
use crate::operation::Operation;
use crate::report::Outcome;

/// How Patroni is reached: the addresses of its interfaces, of which the first one is asked that answers.
///
/// `user` and `password` are those of `restapi.authentication`. Certificates are verified by the operating system's
/// authorities, or by `ca_file`; `client_cert` and `client_key` are ours. An address holds no password.
///
/// Raises InvalidError for an address that is none, or a file that cannot be read.
#[pyclass(frozen, module = "erpgo_dr")]
pub struct Patroni {
    backend: Arc<PatroniBackend>,
}

#[pymethods]
impl Patroni {
    #[new]
    #[pyo3(signature = (
        urls, *, user = None, password = None, ca_file = None, client_cert = None, client_key = None,
    ))]
    fn new(
        py: Python<'_>,
        urls: Vec<String>,
        user: Option<String>,
        password: Option<String>,
        ca_file: Option<PathBuf>,
        client_cert: Option<PathBuf>,
        client_key: Option<PathBuf>,
    ) -> PyResult<Self> {
        let mut settings = PatroniSettings::new(urls).with_authorities(ca_file);
        match (user, password) {
            (Some(user), Some(password)) => settings = settings.with_credentials(user, password.into()),
            (None, None) => {}
            _ => return Err(invalid(py, &"user and password belong together")),
        }
        match (client_cert, client_key) {
            (Some(certificate), Some(key)) => settings = settings.with_identity(certificate, key),
            (None, None) => {}
            _ => return Err(invalid(py, &"client_cert and client_key belong together")),
        }
        let backend = PatroniBackend::new(&settings).map_err(|error| ha_exception(py, &error))?;
        Ok(Self { backend: Arc::new(backend) })
    }

    fn __repr__(&self) -> String {
        format!("<erpgo_dr.Patroni: {}>", self.backend.name())
    }
}

/// Says who is in the cluster, who leads, who follows, and in `findings` what is wrong, as `erpgo-dr ha show --json` does.
///
/// A member that is more than `max_lag` bytes behind is a finding.
///
/// Raises UnavailableError when nobody answers, PermissionDeniedError for a certificate that is not trusted.
#[pyfunction]
#[pyo3(signature = (patroni, *, max_lag = 16_777_216))]
pub fn ha_cluster(patroni: &Patroni, max_lag: u64) -> Operation {
    operation(&patroni.backend, move |backend| async move {
        let cluster = backend.cluster().await?;
        let findings = cluster.findings(max_lag, false);
        let mut value = plain(&cluster);
        value["findings"] = json!(findings);
        Ok(value)
    })
}

/// Has a leader that is well hand over to another member, and says in `report` what was lost, as
/// `erpgo-dr ha switchover --json` does. With `dry_run` it returns the plan alone.
///
/// `leader` is who leads now: where another does, nothing is done. Without `candidate` the most suitable one takes over.
/// `limit` is for all of it, a number of seconds or a timedelta, two minutes by default.
///
/// Raises RefusedError, NotFoundError for a member that there is not, UnavailableError, PermissionDeniedError.
#[pyfunction]
#[pyo3(signature = (patroni, *, leader = None, candidate = None, max_lag = 1_048_576, limit = None, dry_run = false))]
pub fn ha_switchover(
    patroni: &Patroni,
    leader: Option<String>,
    candidate: Option<String>,
    max_lag: u64,
    limit: Option<Bound<'_, PyAny>>,
    dry_run: bool,
) -> PyResult<Operation> {
    let options = options(leader, candidate, max_lag, limit)?;
    Ok(change(patroni, ChangeKind::Switchover, options, dry_run))
}

/// Has a member lead instead of a leader that is lost, and says in `report` what is known to be lost. Otherwise as `ha_switchover`.
///
/// `lost_bytes` is the least that is lost unless `leader_answered`. Members in `beside`, and the one in `unfenced`, must be fenced.
/// In a paused cluster somebody must be named. A leader that is well and answers is replaced with `even_if_well` alone.
#[pyfunction]
#[pyo3(signature = (
    patroni, *, leader = None, candidate = None, max_lag = 1_048_576, limit = None, dry_run = false, even_if_well = false,
))]
pub fn ha_failover(
    patroni: &Patroni,
    leader: Option<String>,
    candidate: Option<String>,
    max_lag: u64,
    limit: Option<Bound<'_, PyAny>>,
    dry_run: bool,
    even_if_well: bool,
) -> PyResult<Operation> {
    let options = options(leader, candidate, max_lag, limit)?.with_even_if_well(even_if_well);
    Ok(change(patroni, ChangeKind::Failover, options, dry_run))
}

/// Has Patroni replace nobody by itself, or with `paused=False` do so again, and waits until every member knows.
///
/// Raises UnavailableError, PermissionDeniedError, RefusedError.
#[pyfunction]
#[pyo3(signature = (patroni, paused = true, *, limit = None))]
pub fn ha_pause(patroni: &Patroni, paused: bool, limit: Option<Bound<'_, PyAny>>) -> PyResult<Operation> {
    let limit = limit.map_or(Ok(Duration::from_secs(60)), |limit| duration(&limit))?;
    Ok(operation(
        &patroni.backend,
        move |backend| async move { Ok(plain(&set_paused(&*backend, paused, limit).await?)) },
    ))
}

/// Has the data of a member that follows be removed and made anew from another's, and waits until it follows again.
///
/// `limit` is four hours by default. Raises RefusedError for the leader, NotFoundError, UnavailableError.
#[pyfunction]
#[pyo3(signature = (patroni, member, *, limit = None))]
pub fn ha_reinitialize(patroni: &Patroni, member: String, limit: Option<Bound<'_, PyAny>>) -> PyResult<Operation> {
    let limit = limit.map_or(Ok(Duration::from_secs(14_400)), |limit| duration(&limit))?;
    Ok(operation(&patroni.backend, move |backend| async move {
        Ok(plain(&reinitialize(&*backend, &member, false, limit).await?))
    }))
}

fn options(
    leader: Option<String>,
    candidate: Option<String>,
    max_lag: u64,
    limit: Option<Bound<'_, PyAny>>,
) -> PyResult<ChangeOptions> {
    let options = ChangeOptions::default().with_leader(leader).with_candidate(candidate).with_max_lag(max_lag);
    match limit {
        Some(limit) => Ok(options.with_limit(duration(&limit)?)),
        None => Ok(options),
    }
}

fn change(patroni: &Patroni, kind: ChangeKind, options: ChangeOptions, dry_run: bool) -> Operation {
    operation(&patroni.backend, move |backend| async move {
        let plan = match kind {
            ChangeKind::Failover => plan_failover(&*backend, &options).await?,
            _ => plan_switchover(&*backend, &options).await?,
        };
        let report = match dry_run {
            true => Value::Null,
            false => plain(&carry_out(&*backend, &plan, options.limit).await?),
        };
        Ok(json!({ "dry_run": dry_run, "plan": plain(&plan), "report": report }))
    })
}

fn operation<F, W>(backend: &Arc<PatroniBackend>, work: F) -> Operation
where
    F: FnOnce(Arc<PatroniBackend>) -> W + Send + 'static,
    W: Future<Output = Result<Value, HaError>> + Send + 'static,
{
    let backend = Arc::clone(backend);
    Operation::new(None, Cleanups::default(), move |_| async move {
        work(backend).await.map(Outcome::Plain).map_err(|error| Failure::Ha(Box::new(error)))
    })
}

fn plain(report: &impl Serialize) -> Value {
    serde_json::to_value(report).expect("reports hold nothing that JSON cannot")
}
