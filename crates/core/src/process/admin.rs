//! The admin port: `/healthz`, `/readyz`, `/metrics`.

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

/// Serves for ever.
pub async fn serve(listener: TcpListener, ready: Ready, metrics: Metrics) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most likely the process is out of file descriptors: wait for some.
                tracing::warn!(%error, "the admin port cannot accept connections");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (ready, metrics) = (ready.clone(), metrics.clone());
        let service = service_fn(move |request| {
            let response = answer(&request, &ready, &metrics);
            async { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(5))
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the admin port broke");
            }
        });
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

    #[test]
    fn metrics_are_in_prometheus_text_format() {
        let metrics = Metrics::new().unwrap();
        metrics.writes.with_label_values(&["status", "ok"]).inc();
        assert!(metrics.render().unwrap().contains(r#"mock_writes_total{outcome="ok",target="status"} 1"#));
    }
}
