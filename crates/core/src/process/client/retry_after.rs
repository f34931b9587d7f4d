//! Where kube finds how long to wait: in the Status of a refusal.
//!
//! kube reads the Status and no header. The API server's priority and fairness answers with a header and plain text
//! (`k8s.io/apiserver/pkg/server/filters/priority-and-fairness.go`), and so do proxies. To be removed once kube keeps the
//! header. No open issue of kube asks for that.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use serde_json::json;

/// The body of the API server's answer, or of ours instead.
pub(super) type Answer = Either<Incoming, Full<Bytes>>;

/// Puts a Status into a refusal that has none but says when to retry. Other answers stay as they are.
pub(super) fn in_status(response: Response<Incoming>) -> Response<Answer> {
    match status(&response) {
        None => response.map(Either::Left),
        Some(status) => {
            let (mut head, _) = response.into_parts();
            head.headers.remove(CONTENT_LENGTH);
            head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Response::from_parts(head, Either::Right(Full::from(status)))
        }
    }
}

/// The Status for a refusal that lacks one.
fn status<B>(response: &Response<B>) -> Option<String> {
    let code = response.status();
    if !matches!(code, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) {
        return None;
    }
    let header = |name| response.headers().get(name)?.to_str().ok();
    let is = |kind| header(CONTENT_TYPE).is_some_and(|given| given.starts_with(kind));
    // A page for people is from a proxy, whose pause is that of a maintenance.
    if is("application/json") || is("text/html") {
        return None;
    }
    // A date is allowed too, but neither Kubernetes nor its usual proxies send one.
    let seconds: u32 = header(RETRY_AFTER)?.trim().parse().ok()?;
    let reason = code.canonical_reason().unwrap_or_default();
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
        "reason": reason.replace(' ', ""), "message": reason, "details": { "retryAfterSeconds": seconds } });
    Some(status.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u16, kind: &str, retry_after: &str) -> Response<()> {
        let head = Response::builder().status(code).header(CONTENT_TYPE, kind).header(RETRY_AFTER, retry_after);
        head.body(()).unwrap()
    }

    #[test]
    fn a_refusal_that_says_only_in_its_head_when_to_retry_gets_a_status() {
        let status = status(&refusal(429, "text/plain; charset=utf-8", "7")).unwrap();
        let status: kube::core::Status = serde_json::from_str(&status).unwrap();
        assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"));
        assert_eq!(status.details.unwrap().retry_after_seconds, 7);
    }

    #[test]
    fn any_other_answer_stays_as_it_is() {
        for (code, kind, retry_after) in [
            (429, "application/json", "7"),
            (200, "text/plain", "7"),
            (503, "text/plain", "soon"),
            (503, "text/html; charset=utf-8", "3600"),
            (500, "text/plain", "7"),
        ] {
            assert_eq!(status(&refusal(code, kind, retry_after)), None);
        }
    }
}
