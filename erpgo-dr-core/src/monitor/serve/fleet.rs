//! What is told of several clusters.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::super::FleetFacts;
use super::answers::{Shared, answered, as_json, as_metrics, as_readiness};
use super::connections::answer_all;
use super::guard;
use super::options::{ServeError, ServeOptions};

type Newest = Shared<Arc<FleetFacts>>;

/// As [`serve`](super::serve), of several clusters.
///
/// Paths: `/` the page of all, `/clusters/NAME/` that of one, `/metrics`, `/facts.json`, `/health/live`, `/health/ready`. It is ready while
/// facts of any cluster can be relied on: one that is away does not hide the others. [`ServeOptions::agent`] is not used.
///
/// # Errors
/// [`ServeError::Exposed`] where other hosts can reach `listener` and the options lack TLS or a token.
pub async fn serve_fleet(
    listener: TcpListener,
    facts: watch::Receiver<Arc<FleetFacts>>,
    options: ServeOptions,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let options = Arc::new(options);
    let told = Router::new()
        .route("/", get(page))
        .route("/clusters/{name}/", get(cluster))
        .route("/metrics", get(metrics))
        .route("/facts.json", get(json));
    let router = guard::router(told, get(ready), Shared { facts, options: Arc::clone(&options) });
    answer_all(listener, router, &options, stop).await
}

impl Newest {
    /// Returns what is known, where it is of any cluster.
    fn newest(&self) -> Option<Arc<FleetFacts>> {
        let fleet = Arc::clone(&self.facts.borrow());
        (!fleet.clusters.is_empty()).then_some(fleet)
    }
}

async fn page(State(shared): State<Newest>) -> Response {
    let doubt = |facts: &_| shared.options.doubt(facts);
    answered(shared.newest(), |fleet| Html(fleet.to_doubted_html(&doubt)).into_response())
}

async fn cluster(State(shared): State<Newest>, Path(name): Path<String>) -> Response {
    answered(shared.newest(), |fleet| {
        let Some(cluster) = fleet.clusters.get(&name) else {
            return (StatusCode::NOT_FOUND, "there is no such cluster\n").into_response();
        };
        let status = if cluster.facts.is_some() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let doubt = |facts: &_| shared.options.doubt(facts);
        (status, Html(cluster.to_doubted_html(&name, &doubt))).into_response()
    })
}

async fn metrics(State(shared): State<Newest>) -> Response {
    let doubt = |facts: &_| shared.options.doubt(facts);
    answered(shared.newest(), |fleet| as_metrics(fleet.to_doubted_openmetrics(&doubt)))
}

async fn json(State(shared): State<Newest>) -> Response {
    answered(shared.newest(), |fleet| as_json(&*fleet))
}

async fn ready(State(shared): State<Newest>) -> Response {
    let fleet = Arc::clone(&shared.facts.borrow());
    // What is not doubted comes first: of one cluster it is enough.
    let least = fleet.known().map(|facts| shared.options.doubt(facts)).min();
    answered(least, as_readiness)
}
