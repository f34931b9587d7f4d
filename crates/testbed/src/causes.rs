//! Errors as people read them.

use std::error::Error;
use std::iter::successors;

/// Formats an error and its causes on one line. A cause that an earlier one already contains is left out: most errors
/// of this crate contain their cause, and those of hyper and anyhow do not.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source()) {
        let boxed = || cause.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref);
        let request = cause.downcast_ref::<kube::Error>().or_else(boxed);
        let cause = request.map_or_else(|| cause.to_string(), said);
        if !text.contains(&cause) {
            let colon = if text.is_empty() { "" } else { ": " };
            text = text + colon + &cause;
        }
        if matches!(request, Some(kube::Error::Api(_))) {
            // What follows is the answer that has been told.
            break;
        }
    }
    text
}

/// What an error of a request says. A refusal has the API server's words alone: kube adds its whole answer.
#[must_use]
pub fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// An error that does not contain its cause.
    #[derive(Debug, thiserror::Error)]
    #[error("cannot ask")]
    struct Silent(#[source] io::Error);

    /// An error that contains its cause.
    #[derive(Debug, thiserror::Error)]
    #[error("cannot start: {0}")]
    struct Telling(#[source] Silent);

    /// An error of a request.
    #[derive(Debug, thiserror::Error)]
    #[error("cannot apply a: {}", said(.0))]
    struct Refused(#[source] Box<kube::Error>);

    #[test]
    fn refusal_has_the_words_of_the_api_server_alone() {
        let status = kube::core::Status { message: "a is forbidden: no".to_owned(), code: 403, ..Default::default() };
        let error = Refused(Box::new(kube::Error::Api(Box::new(status))));
        assert_eq!(causes(&error), "cannot apply a: a is forbidden: no");
        assert_eq!(causes(error.0.as_ref()), "a is forbidden: no");
    }

    #[test]
    fn each_cause_is_named_once() {
        let error = Telling(Silent(io::Error::other("no room")));
        assert_eq!(causes(&error), "cannot start: cannot ask: no room");
    }
}
