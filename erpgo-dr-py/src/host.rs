//! Where Python code that an operation calls (callbacks, files) runs.
//!
//! Of a sync call it is the thread that waits: it serves what the operation asks for, so that callbacks see the thread
//! they expect, and Ctrl-C interrupts a `read()`. Of an asyncio call, progress goes to the event loop, and files,
//! whose calls may block, to a thread of their own.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use pyo3::prelude::*;
use tokio::sync::oneshot;

use crate::errors::Failure;
use crate::progress::{ProgressRelay, Switch};
use crate::report::Outcome;

type Call = Box<dyn FnOnce(Python<'_>) + Send>;

/// What a thread that waits for an operation receives.
pub(crate) enum Event {
    /// Python code to run.
    Call(Call),
    /// The end of the operation.
    Done(Result<Outcome, Failure>),
}

/// Who runs Python code.
#[derive(Clone)]
pub(crate) enum Host {
    /// The thread that waits.
    Caller(mpsc::Sender<Event>),
    /// An event loop of asyncio.
    Loop(Arc<Py<PyAny>>),
}

/// Python code raised an exception, which is kept in the [`Context`], or nobody is left to run it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a Python object that was called raised an exception")]
pub(crate) struct Raised;

/// What an operation may ask of Python while it runs. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Context {
    host: Host,
    raised: Arc<Mutex<Option<PyErr>>>,
    callback_raised: Arc<Switch>,
    /// Takes the library's reports.
    pub(crate) progress: Arc<ProgressRelay>,
}

impl Context {
    /// Makes the context of an operation.
    pub(crate) fn new(host: Host, progress: Option<Py<PyAny>>) -> Self {
        let progress = Arc::new(ProgressRelay::new(progress));
        Self { host, raised: Arc::default(), callback_raised: Arc::default(), progress }
    }

    /// Runs Python code that may block.
    pub(crate) async fn call<T, F>(&self, code: F) -> Result<T, Raised>
    where
        T: Send + 'static,
        F: FnOnce(Python<'_>) -> PyResult<T> + Send + 'static,
    {
        let answer = match &self.host {
            Host::Caller(caller) => self.ask(caller, code).await,
            Host::Loop(_) => tokio::task::spawn_blocking(move || Python::attach(code)).await.ok(),
        };
        self.keep(answer)
    }

    /// Runs Python code that returns at once.
    pub(crate) async fn notify<F>(&self, code: F) -> Result<(), Raised>
    where
        F: FnOnce(Python<'_>) -> PyResult<()> + Send + 'static,
    {
        let answer = match &self.host {
            Host::Caller(caller) => self.ask(caller, code).await,
            Host::Loop(event_loop) => in_loop(Arc::clone(event_loop), code).await,
        };
        self.keep(answer).inspect_err(|_| self.callback_raised.turn_on())
    }

    /// Resolves when the progress callback has raised.
    pub(crate) async fn progress_raised(&self) {
        self.callback_raised.turned_on().await;
    }

    /// Takes the exception that Python code raised.
    pub(crate) fn take_raised(&self) -> Option<PyErr> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn ask<T, F>(&self, caller: &mpsc::Sender<Event>, code: F) -> Option<PyResult<T>>
    where
        T: Send + 'static,
        F: FnOnce(Python<'_>) -> PyResult<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        // Whoever is gone, by an interrupt or by the end of the operation, needs no answer.
        let call: Call = Box::new(move |py| drop(reply.send(code(py))));
        caller.send(Event::Call(call)).ok()?;
        answer.await.ok()
    }

    fn keep<T>(&self, answer: Option<PyResult<T>>) -> Result<T, Raised> {
        match answer {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => {
                self.raised.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                Err(Raised)
            }
            None => Err(Raised),
        }
    }
}

/// Runs code in the thread of an event loop, and waits for it.
async fn in_loop<F>(event_loop: Arc<Py<PyAny>>, code: F) -> Option<PyResult<()>>
where
    F: FnOnce(Python<'_>) -> PyResult<()> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let call: Call = Box::new(move |py| drop(reply.send(code(py))));
    // To attach may wait for the interpreter: not on a thread of the runtime.
    let scheduled = tokio::task::spawn_blocking(move || {
        Python::attach(|py| {
            let callback = Py::new(py, LoopCall(Mutex::new(Some(call))))?;
            event_loop.call_method1(py, "call_soon_threadsafe", (callback,)).map(drop)
        })
    });
    match scheduled.await.ok()? {
        Ok(()) => answer.await.ok(),
        Err(error) => Some(Err(error)),
    }
}

/// Code on its way to an event loop.
#[pyclass(frozen)]
struct LoopCall(Mutex<Option<Call>>);

#[pymethods]
impl LoopCall {
    fn __call__(&self, py: Python<'_>) {
        let call = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(call) = call {
            call(py);
        }
    }
}
