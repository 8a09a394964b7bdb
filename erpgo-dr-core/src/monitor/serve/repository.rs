//! What is told of one repository.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::super::Facts;
use super::answers::{Shared, answered, as_json, as_metrics, as_readiness};
use super::connections::answer_all;
use super::guard;
use super::options::{ServeError, ServeOptions};

type Newest = Shared<Option<Arc<Facts>>>;

/// Serves until `stop` resolves; requests that are under way are answered. Dropping the future ends all connections.
///
/// Paths: `/` the page, `/metrics`, `/facts.json`, `/health/live`, `/health/ready`.
///
/// # Errors
/// [`ServeError::Exposed`] where other hosts can reach `listener` and the options lack TLS or a token.
pub async fn serve(
    listener: TcpListener,
    facts: watch::Receiver<Option<Arc<Facts>>>,
    options: ServeOptions,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let options = Arc::new(options);
    let told = Router::new().route("/", get(page)).route("/metrics", get(metrics)).route("/facts.json", get(json));
    let router = guard::router(told, get(ready), Shared { facts, options: Arc::clone(&options) });
    answer_all(listener, router, &options, stop).await
}

impl Newest {
    /// Returns the newest facts, with the agent of this process as it stands.
    fn newest(&self) -> Option<Arc<Facts>> {
        let facts = self.facts.borrow().clone()?;
        match &self.options.agent {
            Some(agent) => Some(Arc::new(Facts { agent: Some(agent.borrow().clone()), ..(*facts).clone() })),
            None => Some(facts),
        }
    }
}

async fn page(State(shared): State<Newest>) -> Response {
    answered(shared.newest(), |facts| Html(facts.to_doubted_html(shared.options.doubt(&facts))).into_response())
}

async fn metrics(State(shared): State<Newest>) -> Response {
    answered(shared.newest(), |facts| as_metrics(facts.to_doubted_openmetrics(shared.options.doubt(&facts).is_some())))
}

async fn json(State(shared): State<Newest>) -> Response {
    answered(shared.newest(), |facts| as_json(&*facts))
}

async fn ready(State(shared): State<Newest>) -> Response {
    answered(shared.newest(), |facts| as_readiness(shared.options.doubt(&facts)))
}
