//! An error and its causes as one text, for what keeps texts and no errors: reports, journals, logs.

use std::error::Error;

/// Returns an error and its causes in one line; a cause that the text before it ends with is not repeated.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}
