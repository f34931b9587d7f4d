//! Errors as text for the log.

use std::error::Error;
use std::iter::successors;

use http::StatusCode;
use hyper_util::client::legacy;
use kube::client::AuthError;

use crate::process::unreachable::Unreachable;

/// The longest text of an error, in characters. A proxy may answer with a whole page.
const LONGEST: usize = 1000;
/// The longest quotation of an answer that is not from an API server, in characters.
const QUOTED: usize = 100;

/// Formats an error and its sources on one line, without repeating any of them. The innermost source is often the only
/// helpful one, and a JSON log shows no sources by itself.
pub(crate) fn whole(error: &(dyn Error + 'static)) -> String {
    let text = sources(error).find_map(explained).unwrap_or_else(|| chain(error));
    shortened(&text, LONGEST)
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}

fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What says more than all that is around it.
fn explained(error: &(dyn Error + 'static)) -> Option<String> {
    const BETWEEN: &str = "check the server of the kubeconfig, and what is between";
    match error.downcast_ref() {
        Some(kube::Error::Api(status)) if status.code == StatusCode::UNAUTHORIZED => {
            let told = &status.message;
            return Some(format!("the API server refuses our credentials ({told}); check the user of the kubeconfig"));
        }
        // So says kube of an answer that is no Status.
        Some(kube::Error::Api(status)) if status.reason == "Failed to parse error data" => {
            let (code, told) = (status.code, shortened(&status.message, QUOTED));
            return Some(format!("the answer {code} is not from an API server ({told:?}); {BETWEEN}"));
        }
        Some(kube::Error::SerdeError(error)) => {
            return Some(format!("the answer is not what an API server answers ({error}); {BETWEEN}"));
        }
        _ => {}
    }
    if let Some(broken) = error.downcast_ref::<legacy::Error>() {
        let innermost = sources(broken).last().map(ToString::to_string).unwrap_or_default();
        return Some(format!("the connection to the API server broke ({innermost})"));
    }
    // All others are settled before the first request.
    if let Some(AuthError::Oidc(error)) = error.downcast_ref() {
        let remedy = "log in again, or use a credential plugin (exec); SSL_CERT_FILE may name the certificate authority \
                      of the login server";
        return Some(format!("cannot use auth-provider oidc of the kubeconfig: {}; {remedy}", chain(error)));
    }
    error.downcast_ref::<Unreachable>().map(ToString::to_string)
}

fn chain(error: &dyn Error) -> String {
    let text = error.to_string();
    let Some(source) = error.source() else { return text };
    // Many errors include the text of their source; kube's appends all fields of the API server's answer.
    let source_text = source.to_string();
    let before = text.split_once(&source_text).filter(|_| !source_text.is_empty()).map(|(before, _)| before);
    before.map_or_else(|| format!("{text}: "), str::to_owned) + &chain(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::lease::LeaseError;

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
    fn an_error_is_formatted_down_to_its_innermost_source_without_repetition() {
        let error = Nested::Telling(Box::new(Nested::Silent(Box::new(Nested::Innermost))));
        assert_eq!(whole(&error), "cannot list: cannot connect: refused");
        assert_eq!(whole(&Nested::Telling(Box::new(Nested::Innermost))), "cannot list: refused");
        assert_eq!(whole(&Nested::Innermost), "refused");
    }

    #[test]
    fn the_explanation_replaces_all_that_is_around_it() {
        let server = "https://api.example".parse().unwrap();
        let unreachable = Unreachable::new(&server, None, &std::io::Error::other("refused"));
        let expected = "cannot connect to https://api.example/: refused; check that it runs";
        let error = kube::Error::Service(unreachable.into());
        assert!(whole(&error).starts_with(expected));
        assert!(whole(&LeaseError::from(error)).starts_with(expected));

        let ended = kube::client::oidc_errors::Error::IdTokenMissing;
        let error = kube::Error::Service(AuthError::Oidc(ended).into());
        let expected = "cannot use auth-provider oidc of the kubeconfig: missing field id-token; log in again";
        assert!(whole(&error).starts_with(expected));

        let answer = kube::core::Status::failure("Unauthorized", "Unauthorized").with_code(401).boxed();
        let error = kube::runtime::watcher::Error::WatchStartFailed(kube::Error::Api(answer));
        let expected = "the API server refuses our credentials (Unauthorized); check the user of the kubeconfig";
        assert_eq!(whole(&error), expected);
    }

    #[test]
    fn an_answer_that_is_not_from_an_api_server_is_quoted_in_part() {
        let page = format!("<html>\n502 Bad Gateway {}", "x".repeat(5000));
        let answer = kube::core::Status::failure(&page, "Failed to parse error data").with_code(502).boxed();
        let text = whole(&kube::Error::Api(answer));
        assert!(
            text.starts_with(r#"the answer 502 is not from an API server ("<html>\n502 Bad Gateway xxx"#),
            "{text}"
        );
        assert!(text.ends_with(r#"xxx…"); check the server of the kubeconfig, and what is between"#), "{text}");
        let no_json = serde_json::from_str::<u8>("<html>").unwrap_err();
        let text = whole(&kube::Error::SerdeError(no_json));
        assert!(text.starts_with("the answer is not what an API server answers (expected value at line 1"), "{text}");
    }

    #[test]
    fn a_long_text_is_shortened() {
        assert_eq!(whole(&std::io::Error::other("ü".repeat(5000))), "ü".repeat(1000) + "…");
    }

    #[test]
    fn an_answer_of_the_api_server_is_formatted_without_its_fields() {
        let answer = kube::core::Status::failure("workers is forbidden", "Forbidden").with_code(403).boxed();
        let error = kube::runtime::watcher::Error::InitialListFailed(kube::Error::Api(answer));
        let told = "failed to perform initial object list: ApiError: workers is forbidden: Forbidden";
        assert_eq!(whole(&error), told);
    }
}
