//! What went wrong, in words for whoever reads an exit message or the log.

use std::error::Error;
use std::fmt::Display;

/// One line for the reader: what was attempted, why it failed, what to do.
pub(crate) fn problem<E: Display>(what: &str, remedy: &str) -> impl FnOnce(E) -> String {
    let (what, remedy) = (what.to_owned(), remedy.to_owned());
    move |error| format!("{what}: {error}; {remedy}")
}

/// An error with all that caused it, in one line and each told once: the innermost is often the only one that helps, and a
/// log of JSON shows none by itself.
pub(crate) fn whole(error: &dyn Error) -> String {
    let told = error.to_string();
    let Some(cause) = error.source() else { return told };
    let text = cause.to_string();
    // Many tell their cause themselves; kube's adds all fields of the API server's answer.
    let before = told.split_once(&text).filter(|_| !text.is_empty()).map(|(before, _)| before);
    before.map_or_else(|| format!("{told}: "), str::to_owned) + &whole(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Nested {
        #[error("cannot list: {0}")]
        Telling(#[source] Box<Nested>),
        #[error("cannot connect")]
        Silent(#[source] Box<Nested>),
        #[error("refused")]
        Innermost,
    }

    #[test]
    fn an_error_is_told_down_to_its_innermost_cause_and_each_cause_once() {
        let error = Nested::Telling(Box::new(Nested::Silent(Box::new(Nested::Innermost))));
        assert_eq!(whole(&error), "cannot list: cannot connect: refused");
        assert_eq!(whole(&Nested::Telling(Box::new(Nested::Innermost))), "cannot list: refused");
        assert_eq!(whole(&Nested::Innermost), "refused");
    }

    #[test]
    fn an_answer_of_the_api_server_is_told_without_its_fields() {
        let answer = kube::core::Status::failure("workers is forbidden", "Forbidden").with_code(403).boxed();
        let error = kube::runtime::watcher::Error::InitialListFailed(kube::Error::Api(answer));
        let told = "failed to perform initial object list: ApiError: workers is forbidden: Forbidden";
        assert_eq!(whole(&error), told);
    }
}
