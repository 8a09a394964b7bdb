//! Runbooks: recovery as data. A runbook says what is done when a disaster happens; this module plans it, does it step by step, and
//! writes down what happened.
//!
//! A runbook is TOML: variables, services, objectives, and [steps](Step) of one [action](Action) each. [`Runbook::check`] finds what
//! cannot work before anything is done, [`plan`] says what would be, [`run_runbook`] does it. Everything goes into a journal in the
//! repository first ([`Entry`]), so that a run that is cut off is [resumed](resume_run) from the truth, or [taken back](undo_run).
//!
//! Refuses: shells (programs get arguments), secrets where others see them, and doing twice what may be done once only, without asking.

mod actions;
mod check;
mod confinement;
mod engine;
mod error;
mod escalation;
mod journal;
mod model;
mod notice;
mod operator;
mod plan;
mod report;
mod shipped;
mod span;
mod surroundings;
mod template;
mod values;
mod watch;

pub use actions::{
    Action, Backup, CaughtUp, CheckIntegrity, Collect, Command, Confirm, Dns, DnsUpdate, Email, Expectation, Fence,
    FindBackup, Ha, HttpCheck, KeyAlgorithm, Loss, MailTls, Manual, Nested, Notify, PgReady, PrimaryDown, Promote,
    Readiness, RecordKind, Repoint, Restore, RestoreCluster, RotateSecret, Route53, SecretForm, ServiceStep, Sql,
    SqlCheck, TcpReady, WaitFor, Wal, WalTask, WriteFile,
};
pub use confinement::Confinement;
pub use engine::{RunOptions, Standing, resume_run, run_runbook, runbook_of_run, undo_run};
pub use error::{ActionError, RunbookError, ha_kind};
pub use escalation::{Contact, Escalation, EscalationLevel, Told};
pub use journal::{
    Beginning, Ending, Entry, Event, NoObserver, ProcessMark, Purpose, RecordedValue, RunObserver, Stored, list_runs,
    read_journal,
};
pub use model::{
    Condition, Counts, Objectives, OnFailure, Outcome, PatroniAccess, Runbook, RunbookName, Service, ServiceOrder,
    Step, StepId, Variable,
};
pub use notice::{NoticeBoard, NoticeMail, Notifier, NotifyError, send_notice};
pub use operator::{Answer, Choice, Operator, Question, QuestionKind, Unattended};
pub use plan::{PlannedStep, RunbookPlan, plan};
pub use report::{
    AttemptReport, Continuation, IncidentReport, QuestionReport, RunState, StepReport, StepState, ToldReport, report,
};
pub use shipped::shipped;
pub use span::{Span, SpanError};
pub use surroundings::Surroundings;
pub use template::{Template, TemplateError};
pub use values::{Value, ValueError, Values, VariableKind};
pub use watch::{NoWatchObserver, WatchEnding, WatchObserver, WatchOptions, WatchReport, WatchState, watch_primary};
