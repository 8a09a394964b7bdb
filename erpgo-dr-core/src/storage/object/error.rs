//! What an object store's answer means to a caller.

use std::error::Error as _;
use std::fmt;

use crate::storage::StorageError;
use crate::types::ObjectKey;

/// The longest text of a provider that an error carries, in bytes.
const LONGEST: usize = 600;

/// What a provider said, without what may be secret in it: signed URLs keep their path and lose their query.
#[derive(Debug)]
pub(super) struct ProviderMessage(String);

impl fmt::Display for ProviderMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProviderMessage {}

impl ProviderMessage {
    pub(super) fn new(text: &str) -> Self {
        let text = document_summary(text).unwrap_or_else(|| text.to_owned());
        let mut text = without_queries(&text).split_whitespace().collect::<Vec<_>>().join(" ");
        if text.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
        Self(text)
    }
}

/// Says what failed, on what, where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) location: &'a str,
    pub(super) action: &'static str,
    /// `None` for a whole prefix.
    pub(super) key: Option<&'a ObjectKey>,
}

impl Attempt<'_> {
    /// Translates an error of `object_store`.
    pub(super) fn error(self, error: &object_store::Error) -> StorageError {
        use object_store::Error as Provider;
        let text = full_text(error);
        if let Some(error) = self.by_code(&text) {
            return error;
        }
        match (error, self.key) {
            (Provider::NotFound { .. }, Some(key)) if self.reads() => {
                StorageError::NotFound { location: self.location.to_owned(), key: key.clone() }
            }
            (Provider::AlreadyExists { .. } | Provider::Precondition { .. }, Some(key)) if self.action == "create" => {
                StorageError::AlreadyExists { location: self.location.to_owned(), key: key.clone() }
            }
            // A read is bound to the version that it began with.
            (Provider::Precondition { .. }, _) => self.unavailable("the object was replaced while it was being read"),
            (Provider::PermissionDenied { .. } | Provider::Unauthenticated { .. }, _) => self.denied(&text),
            (Provider::NotImplemented { .. } | Provider::NotSupported { .. }, _) => {
                StorageError::Unsupported { location: self.location.to_owned(), action: self.action }
            }
            _ => self.by_status(status(&text), &text),
        }
    }

    /// Translates an answer by its HTTP status.
    pub(super) fn by_status(self, status: Option<u16>, text: &str) -> StorageError {
        if let Some(error) = self.by_code(text) {
            return error;
        }
        match (status, self.key) {
            (Some(401 | 403), _) => self.denied(text),
            (Some(404), Some(key)) if self.reads() => {
                StorageError::NotFound { location: self.location.to_owned(), key: key.clone() }
            }
            (Some(408 | 429 | 500..=599), _) => self.unavailable(text),
            (None, _) if text.contains("HTTP error") || text.contains("body error") => self.unavailable(text),
            _ => self.failed(text),
        }
    }

    /// Translates what providers say by a code of their own, under statuses that mean other things as well.
    fn by_code(self, text: &str) -> Option<StorageError> {
        let has = |codes: &[&str]| codes.iter().any(|code| text.contains(code));
        if let Some(key) = self.key.filter(|_| has(&["InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"])) {
            return Some(StorageError::Archived { location: self.location.to_owned(), key: key.clone() });
        }
        if has(&["NoSuchBucket", "ContainerNotFound", "bucket does not exist"]) {
            return Some(self.failed(text));
        }
        if has(&["XMinioStorageFull", "QuotaExceeded", "507 Insufficient Storage", "EntityTooLarge: disk"]) {
            return Some(StorageError::NoSpace {
                location: self.location.to_owned(),
                source: Box::new(ProviderMessage::new(text)),
            });
        }
        // Two writers met: neither of them is known to have won.
        has(&["ConditionalRequestConflict", "OperationAborted"]).then(|| self.unavailable(text))
    }

    fn reads(self) -> bool {
        matches!(self.action, "read" | "look at" | "thaw")
    }

    fn subject(self) -> String {
        self.key.map_or_else(|| "the prefix".to_owned(), ToString::to_string)
    }

    pub(super) fn denied(self, text: &str) -> StorageError {
        StorageError::PermissionDenied {
            location: self.location.to_owned(),
            subject: self.subject(),
            source: Box::new(ProviderMessage::new(text)),
        }
    }

    pub(super) fn unavailable(self, text: &str) -> StorageError {
        StorageError::Unavailable {
            location: self.location.to_owned(),
            action: self.action,
            subject: self.subject(),
            source: Box::new(ProviderMessage::new(text)),
        }
    }

    pub(super) fn failed(self, text: &str) -> StorageError {
        StorageError::Failed {
            location: self.location.to_owned(),
            action: self.action,
            subject: self.subject(),
            source: Box::new(ProviderMessage::new(text)),
        }
    }
}

/// Returns the text of an error and of those causes that it does not repeat itself.
fn full_text(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// Finds the HTTP status in what `object_store` says; its own type for that is private.
fn status(text: &str) -> Option<u16> {
    text.split_once("status code: ")?.1.get(..3)?.parse().ok()
}

/// Shortens the XML that all three providers answer with to `status code: message`.
fn document_summary(text: &str) -> Option<String> {
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
    };
    let code = element("Code")?;
    let status = status(text).map_or_else(String::new, |status| format!("HTTP {status} "));
    Some(format!("{status}{code}: {}", element("Message").unwrap_or_default()))
}

fn without_queries(text: &str) -> String {
    let mut pieces = text.split('?');
    let mut result = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let query_end = piece.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ')' | '>' | '<'));
        let end = query_end.unwrap_or(piece.len());
        result.push_str(if end == 0 { "?" } else { "" });
        result.push_str(&piece[end..]);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_the_path_of_a_signed_url_and_loses_its_query() {
        let text = "Error performing GET https://h/b/k?X-Amz-Signature=hush&a=b in 3ms - (https://h/c?sig=hush) why?";
        let message = ProviderMessage::new(text).to_string();
        assert_eq!(message, "Error performing GET https://h/b/k in 3ms - (https://h/c) why?");
    }

    #[test]
    fn a_document_is_shortened_to_its_code_and_message() {
        let text = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error><Code>AccessDenied\
                    </Code><Message>Access Denied.</Message><StringToSign>…</StringToSign></Error>";
        assert_eq!(ProviderMessage::new(text).to_string(), "HTTP 403 AccessDenied: Access Denied.");
        assert_eq!(status(text), Some(403));
    }

    #[test]
    fn a_missing_bucket_is_not_a_missing_object() {
        let key = ObjectKey::new("a").unwrap();
        let attempt = Attempt { location: "s3://b", action: "read", key: Some(&key) };
        let error = |body: &str| object_store::Error::NotFound { path: "a".into(), source: body.into() };
        assert!(matches!(attempt.error(&error("<Code>NoSuchKey</Code>")), StorageError::NotFound { .. }));
        assert!(matches!(attempt.error(&error("<Code>NoSuchBucket</Code>")), StorageError::Failed { .. }));
        assert!(matches!(
            attempt.by_status(Some(403), "<Code>InvalidObjectState</Code>"),
            StorageError::Archived { .. }
        ));
    }
}
