//! The admin port: `/healthz`, `/readyz`, `/metrics`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::process::metrics::Metrics;

/// Whether the first lists of objects and Clusters are complete. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// From now on `/readyz` answers ok.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Binds the port at the start, so that a port in use stops the start and is not just a log line.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves for ever, few connections at a time: this port may be open to everybody, and must not take the file
/// descriptors of the API server's client. One more connection ends the oldest one, so that probes are answered in time.
pub async fn serve(listener: TcpListener, ready: Ready, metrics: Metrics) {
    serve_within(listener, ready, metrics, LIMIT).await;
}

/// Connections at a time. A probe and a scrape need one each.
const CONNECTIONS: usize = 16;
/// Time limit of a connection, for its one request and answer. Probes and scrapes take milliseconds.
const LIMIT: Duration = Duration::from_secs(5);

async fn serve_within(listener: TcpListener, ready: Ready, metrics: Metrics, limit: Duration) {
    let (mut accepts, mut connections) = (true, VecDeque::<AbortOnDropHandle<()>>::new());
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most likely the process is out of file descriptors: wait for some.
                if std::mem::replace(&mut accepts, false) {
                    tracing::warn!(%error, "the admin port cannot accept connections, retrying");
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        if !std::mem::replace(&mut accepts, true) {
            tracing::info!("the admin port accepts connections again");
        }
        let (ready, metrics) = (ready.clone(), metrics.clone());
        let service = service_fn(move |request| {
            let response = answer(&request, &ready, &metrics);
            async { Ok::<_, Infallible>(response) }
        });
        // Without keep-alive, one limit covers reading and writing.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limit)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        connections.retain(|connection| !connection.is_finished());
        if connections.len() == CONNECTIONS {
            connections.pop_front();
        }
        connections.push_back(AbortOnDropHandle::new(tokio::spawn(async move {
            if let Ok(Err(error)) = timeout(limit, connection).await {
                tracing::debug!(%error, "a connection to the admin port broke");
            }
        })));
    }
}

fn answer<B>(request: &Request<B>, ready: &Ready, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") if ready.get() => (StatusCode::OK, "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => {
            (StatusCode::SERVICE_UNAVAILABLE, "waiting for the first lists of objects and Clusters\n".to_owned())
        }
        (&Method::GET | &Method::HEAD, "/metrics") => match metrics.render() {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, "not found, use /healthz, /readyz or /metrics\n".to_owned())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    fn get(path: &str, ready: &Ready, metrics: &Metrics) -> StatusCode {
        answer(&Request::get(path).body(()).unwrap(), ready, metrics).status()
    }

    #[test]
    fn readiness_waits_for_the_first_list_and_health_does_not() {
        let (ready, metrics) = (Ready::default(), Metrics::new().unwrap());
        assert_eq!(get("/healthz", &ready, &metrics), StatusCode::OK);
        assert_eq!(get("/readyz", &ready, &metrics), StatusCode::SERVICE_UNAVAILABLE);
        ready.set();
        assert_eq!(get("/readyz", &ready, &metrics), StatusCode::OK);
        assert_eq!(get("/metrics", &ready, &metrics), StatusCode::OK);
        assert_eq!(get("/", &ready, &metrics), StatusCode::NOT_FOUND);
    }

    async fn answered(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut text = String::new();
        // It ends, because the connection serves no second request.
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    async fn serving(limit: Duration) -> SocketAddr {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_within(listener, Ready::default(), Metrics::new().unwrap(), limit));
        address
    }

    #[tokio::test]
    async fn many_silent_connections_end_each_other_and_no_probe_waits() {
        let address = serving(Duration::from_secs(3600)).await;
        let mut silent = Vec::new();
        for _ in 0..3 * CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(answered(address).await.starts_with("HTTP/1.1 200 OK"));
        let latest = silent.split_off(2 * CONNECTIONS + 1);
        for mut ended in silent {
            assert!(ended.read(&mut [0]).await.is_ok_and(|read| read == 0));
        }
        assert!(latest.iter().all(|open| open.try_read(&mut [0]).is_err()));
    }

    #[tokio::test]
    async fn a_connection_that_is_silent_or_does_not_end_its_request_is_closed() {
        let address = serving(Duration::from_millis(100)).await;
        for request in ["", "GET /metr", "GET /healthz HTTP/1.1\r\na: b", "PUT / HTTP/1.1\r\ncontent-length: 9\r\n\r\n"]
        {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            // Something may come before the end.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }

    #[test]
    fn metrics_are_in_prometheus_text_format() {
        let metrics = Metrics::new().unwrap();
        metrics.writes.with_label_values(&["status", "ok"]).inc();
        assert!(metrics.render().unwrap().contains(r#"mock_writes_total{outcome="ok",target="status"} 1"#));
    }
}
