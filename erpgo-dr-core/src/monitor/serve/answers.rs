//! What answers are made from, and the forms that they have.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::watch;

use super::super::metrics::CONTENT_TYPE;
use super::options::ServeOptions;

/// The newest facts, and how they are told.
#[derive(Debug, Clone)]
pub(super) struct Shared<F> {
    pub(super) facts: watch::Receiver<F>,
    pub(super) options: Arc<ServeOptions>,
}

/// Answers from what is known, and that nothing is.
pub(super) fn answered<K>(known: Option<K>, answer: impl FnOnce(K) -> Response) -> Response {
    match known {
        Some(known) => answer(known),
        None => (StatusCode::SERVICE_UNAVAILABLE, "nothing has been asked yet\n").into_response(),
    }
}

pub(super) fn as_metrics(text: String) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

pub(super) fn as_json(facts: &impl Serialize) -> Response {
    match serde_json::to_vec_pretty(facts) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

pub(super) fn as_readiness(doubt: Option<&str>) -> Response {
    match doubt {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("what is known is too old: {why}\n")).into_response(),
    }
}
