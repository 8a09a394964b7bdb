//! What stands before every answer: who may have it, and what a browser may do with it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use data_encoding::BASE64;
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use super::answers::Shared;
use super::options::ServeOptions;
use crate::presentation::html::POLICY;

/// Joins what is told to those who may know it, and health, which is told to all.
pub(super) fn router<F>(told: Router<Shared<F>>, ready: MethodRouter<Shared<F>>, shared: Shared<F>) -> Router
where
    F: Clone + Send + Sync + 'static,
{
    let guarded = told.layer(from_fn_with_state(Arc::clone(&shared.options), only_who_may));
    Router::new()
        .route("/health/live", get(|| async { "alive\n" }))
        .route("/health/ready", ready)
        .merge(guarded)
        .layer(map_response(harmless))
        .with_state(shared)
}

/// Lets in who shows the token. Where none is asked for, a name that is not this host's own is that of another page in somebody's browser.
async fn only_who_may(State(options): State<Arc<ServeOptions>>, request: Request, next: Next) -> Response {
    let Some(token) = &options.token else {
        return match is_this_host(&request) {
            true => next.run(request).await,
            false => (StatusCode::MISDIRECTED_REQUEST, "ask by the address of this host\n").into_response(),
        };
    };
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| shown_token(value.to_str().ok()?));
    match shown.is_some_and(|shown| bool::from(shown.as_bytes().ct_eq(token.expose_secret().as_bytes()))) {
        true => next.run(request).await,
        false => {
            let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"erpgo-dr\", charset=\"UTF-8\"")];
            (StatusCode::UNAUTHORIZED, ask, "show the token: as a bearer token, or as the password\n").into_response()
        }
    }
}

/// Reads `Bearer TOKEN`, or the password of `Basic`.
fn shown_token(authorization: &str) -> Option<String> {
    let (scheme, value) = authorization.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(value.trim().to_owned()),
        "basic" => {
            let pair = String::from_utf8(BASE64.decode(value.trim().as_bytes()).ok()?).ok()?;
            Some(pair.split_once(':')?.1.to_owned())
        }
        _ => None,
    }
}

fn is_this_host(request: &Request) -> bool {
    let named = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let Some(named) = named.or_else(|| request.uri().host()) else { return true };
    let Some(host) = named.parse::<Uri>().ok().and_then(|uri| Some(uri.host()?.to_owned())) else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok()
}

/// Has a browser keep what it is given to itself, and run nothing of it.
async fn harmless(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_both_schemes() {
        assert_eq!(shown_token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(shown_token("bearer  abc").as_deref(), Some("abc"));
        assert_eq!(shown_token("Basic b3BlcmF0b3I6YTpiYw==").as_deref(), Some("a:bc"), "what follows the first colon");
        for text in ["abc", "Basic !", "Digest abc", "Basic bm9jb2xvbg=="] {
            assert_eq!(shown_token(text), None, "{text}");
        }
    }

    #[test]
    fn names_of_other_hosts_are_told_from_addresses() {
        let request = |host: &str| Request::builder().header("host", host).body(axum::body::Body::empty()).unwrap();
        for host in ["localhost", "LOCALHOST:9187", "127.0.0.1:9187", "[::1]:9187"] {
            assert!(is_this_host(&request(host)), "{host}");
        }
        for host in ["evil.example", "evil.example:9187", "127.0.0.1.evil.example", ""] {
            assert!(!is_this_host(&request(host)), "{host}");
        }
    }
}
