//! Errors as people read them.

use std::error::Error;
use std::iter::successors;

/// Formats an error and its causes on one line. A cause that an earlier one already contains is left out: most errors
/// of this crate contain their cause, and those of hyper and anyhow do not.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source()).map(ToString::to_string) {
        if !text.contains(&cause) {
            let colon = if text.is_empty() { "" } else { ": " };
            text = text + colon + &cause;
        }
    }
    text
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

    #[test]
    fn each_cause_is_named_once() {
        let error = Telling(Silent(io::Error::other("no room")));
        assert_eq!(causes(&error), "cannot start: cannot ask: no room");
    }
}
