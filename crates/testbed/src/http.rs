//! The one way to send an HTTP request to a program on this machine: GET without TLS.

use std::net::SocketAddr;
use std::time::Duration;

use http::{StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use crate::causes;

/// How long the whole answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot get http://{address}{path}: {reason}")]
pub struct GetError {
    /// Address of the server.
    pub address: SocketAddr,
    /// The path that was requested.
    pub path: String,
    /// What failed.
    pub reason: String,
}

/// Sends GET for `path`, which begins with a slash, to a server. Returns the status code and the body of the answer;
/// invalid UTF-8 in the body is replaced.
///
/// Fails if there is no complete answer within 10 s. A status code such as 503 is not a failure.
pub async fn get(address: SocketAddr, path: &str) -> Result<(StatusCode, String), GetError> {
    let failed = |reason: String| GetError { address, path: path.to_owned(), reason };
    let uri: Uri = format!("http://{address}{path}").parse().map_err(|error: http::uri::InvalidUri| {
        let reason = error.to_string();
        failed(reason)
    })?;
    let answer = async {
        // Each request has a new client, so that no connection stays open.
        let client: Client<_, String> = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.get(uri).await.map_err(|error| failed(causes(&error)))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| failed(causes(&error)))?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    let limited = timeout(LIMIT, answer).await;
    limited.map_err(|_| failed(format!("no complete answer within {} s", LIMIT.as_secs())))?
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn status_code_and_body_are_returned() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nlater").await.unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let answer = get(address, "/readyz").await.unwrap();
        assert_eq!(answer, (StatusCode::SERVICE_UNAVAILABLE, "later".to_owned()));
        assert!(server.await.unwrap().starts_with("GET /readyz HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn refused_connection_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = get(address, "/readyz").await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot get http://{address}/readyz: ")), "{error}");
        assert!(error.contains("refused"), "{error}");
    }
}
