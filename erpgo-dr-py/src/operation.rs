//! An operation that has not begun, and the two ways to run it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use erpgo_dr_core::repository::Cleanups;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3_async_runtimes::tokio::{future_into_py, get_runtime};
use tokio::sync::Notify;

use crate::errors::Failure;
use crate::host::{Context, Event, Host};
use crate::report::Outcome;

/// How long a Ctrl-C may go unnoticed.
const TICK: Duration = Duration::from_millis(50);

type Work = Pin<Box<dyn Future<Output = Result<Outcome, Failure>> + Send>>;

struct Prepared {
    begin: Box<dyn FnOnce(Context) -> Work + Send>,
    progress: Option<Py<PyAny>>,
    cleanups: Cleanups,
}

/// An operation that has not begun. Runs once.
#[pyclass(frozen, module = "erpgo_dr._erpgo_dr")]
pub struct Operation {
    prepared: Mutex<Option<Prepared>>,
    stop: Arc<Notify>,
}

impl Operation {
    /// Prepares an operation. `cleanups` are waited for when it is over, however it ended.
    pub(crate) fn new<F, W>(progress: Option<Py<PyAny>>, cleanups: Cleanups, work: F) -> Self
    where
        F: FnOnce(Context) -> W + Send + 'static,
        W: Future<Output = Result<Outcome, Failure>> + Send + 'static,
    {
        let begin = Box::new(move |context| Box::pin(work(context)) as Work);
        let prepared = Prepared { begin, progress, cleanups };
        Self { prepared: Mutex::new(Some(prepared)), stop: Arc::default() }
    }

    fn take(&self) -> PyResult<Prepared> {
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).take();
        prepared.ok_or_else(|| PyRuntimeError::new_err("the operation has already been run"))
    }
}

#[pymethods]
impl Operation {
    /// Runs the operation and returns its result. This thread runs the callbacks meanwhile; other threads go on.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let prepared = self.take()?;
        let (events, received) = mpsc::channel();
        let received = Mutex::new(received);
        let host = Host::Caller(events.clone());
        let running = supervise(prepared, host, Arc::clone(&self.stop));
        get_runtime().spawn(async move {
            // A caller that was interrupted twice has not waited.
            let _ = events.send(Event::Done(running.await));
        });
        let mut interrupted: Option<PyErr> = None;
        loop {
            let event = py.detach(|| received.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(TICK));
            match (event, interrupted.is_some()) {
                (Ok(Event::Call(call)), false) => call(py),
                // Dropped, which is an answer too.
                (Ok(Event::Call(_)), true) | (Err(mpsc::RecvTimeoutError::Timeout), _) => {}
                (Ok(Event::Done(result)), _) => {
                    return match (interrupted, result) {
                        (Some(interrupted), _) => Err(interrupted),
                        (None, Ok(outcome)) => outcome.into_python(py),
                        (None, Err(failure)) => Err(failure.into_exception(py)),
                    };
                }
                (Err(mpsc::RecvTimeoutError::Disconnected), _) => {
                    return Err(interrupted.unwrap_or_else(|| PyRuntimeError::new_err("the operation panicked")));
                }
            }
            if let Err(signal) = py.check_signals() {
                if interrupted.is_some() {
                    return Err(signal);
                }
                interrupted = Some(signal);
                self.stop.notify_one();
            }
        }
    }

    /// Begins the operation and returns an `asyncio.Future` of its result; of `None` if it was stopped.
    fn start<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = py.import("asyncio")?.call_method0("get_running_loop")?.unbind();
        let prepared = self.take()?;
        let running = supervise(prepared, Host::Loop(Arc::new(event_loop)), Arc::clone(&self.stop));
        future_into_py(py, async move {
            let result = running.await;
            Python::attach(|py| match result {
                Ok(outcome) => outcome.into_python(py),
                Err(Failure::Stopped) => Ok(py.None()),
                Err(failure) => Err(failure.into_exception(py)),
            })
        })
    }

    /// Stops the operation: it ends once it has cleaned up.
    fn stop(&self) {
        self.stop.notify_one();
    }
}

/// Runs an operation until it ends, is stopped or a callback raises; then waits for what cleans up behind it.
async fn supervise(prepared: Prepared, host: Host, stop: Arc<Notify>) -> Result<Outcome, Failure> {
    let Prepared { begin, progress, cleanups } = prepared;
    let context = Context::new(host, progress);
    let relay = {
        let context = context.clone();
        // A task of its own: a callback that has been called is waited for.
        tokio::spawn(async move { context.progress.relay(&context).await })
    };
    let result = race((begin)(context.clone()), &context, &stop).await;
    cleanups.settle().await;
    context.progress.close();
    // What went wrong there is in the context.
    let _ = relay.await;
    match context.take_raised() {
        // Python's exception is the cause of whatever the library made of it.
        Some(raised) => Err(Failure::Python(raised)),
        None => result,
    }
}

/// Drops the work, which cancels it, unless it ends first.
async fn race(work: Work, context: &Context, stop: &Notify) -> Result<Outcome, Failure> {
    tokio::select! {
        biased;
        () = stop.notified() => Err(Failure::Stopped),
        () = context.progress_raised() => Err(Failure::Stopped),
        result = work => result,
    }
}
