//! The ports of the seed's kubelets: stands for the part of a kubelet's server that `kubectl logs` needs. Leaves out
//! logs of earlier containers, limits by time or bytes, authentication of clients, and all other requests, which are
//! refused in words. A log that is followed goes on until the client leaves, also after the end of its container.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, ready};
use futures::{Stream, StreamExt as _, stream};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mock_hollow::node::KUBELET_PORT;
use rcgen::CertifiedKey;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::error::Error;
use crate::kubelet_port::{Body, body, config, refusal};
use crate::player::Seed;

/// Pause between two looks at a log that is followed.
const LOOK: Duration = Duration::from_millis(200);
/// How many bytes of such a log are read at once.
const CHUNK: usize = 16 * 1024;

/// Listens at the port of each node. Returns what serves for ever.
pub(crate) async fn serve(seed: &Arc<Seed>) -> Result<impl Future<Output = ()> + use<>, Error> {
    let unusable = |error: rcgen::Error| Error::Unusable(format!("cannot make a certificate: {error}"));
    let addresses: Vec<_> = (0..seed.args.nodes).map(|number| seed.args.node_address(number)).collect();
    let names: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    // An API server that is given no authority of kubelets trusts any certificate.
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).map_err(unusable)?;
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into();
    let acceptor = TlsAcceptor::from(Arc::new(config(&(vec![cert.der().clone()], key))?));
    let mut nodes = Vec::new();
    for address in addresses {
        let address = SocketAddr::from((address, KUBELET_PORT));
        let listener = TcpListener::bind(address).await.map_err(Error::io("listen as a kubelet on", address))?;
        nodes.push(serve_node(seed.clone(), listener, acceptor.clone()));
    }
    Ok(async {
        join_all(nodes).await;
    })
}

async fn serve_node(seed: Arc<Seed>, listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        // Fails if the client has gone already, or all file descriptors are in use.
        let Ok((client, _)) = listener.accept().await else { continue };
        let (seed, acceptor) = (seed.clone(), acceptor.clone());
        tokio::spawn(async move {
            let Ok(client) = acceptor.accept(client).await else { return };
            let service = service_fn(async |request: Request<Incoming>| {
                Ok::<_, Infallible>(answer(&seed.args.root, request.uri()).await)
            });
            // The client closes the connection at any time.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(client), service).await;
        });
    }
}

/// The log that a request asks for, or a refusal.
pub(crate) async fn answer(root: &Path, uri: &Uri) -> Response<Body> {
    let Some(file) = log_file(root, uri.path()) else { return refusal(uri.path()) };
    let (Ok(mut file), mut log) = (File::open(file).await, Vec::new()) else { return refusal(uri.path()) };
    if file.read_to_end(&mut log).await.is_err() {
        return refusal(uri.path());
    }
    let log = Bytes::copy_from_slice(tail(&log, parameter(uri, "tailLines")));
    if parameter(uri, "follow") != Some(true) {
        return Response::new(body(log));
    }
    let log = stream::once(ready(log)).chain(appended(file));
    Response::new(StreamBody::new(log.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync())
}

/// What is appended to a file from now on.
fn appended(file: File) -> impl Stream<Item = Bytes> {
    stream::unfold(file, async |mut file| {
        let mut bytes = Vec::with_capacity(CHUNK);
        loop {
            match file.read_buf(&mut bytes).await {
                Ok(0) => sleep(LOOK).await,
                Ok(_) => return Some((Bytes::from(bytes), file)),
                Err(_) => return None,
            }
        }
    })
}

/// The file with the output of a container, written by all of its runs.
pub(crate) fn log_of(root: &Path, namespace: &str, pod: &str, container: &str) -> PathBuf {
    root.join("logs").join(format!("{namespace}_{pod}_{container}.log"))
}

/// The file that a path of a kubelet's server asks for. Returns `None` for paths that are not those of logs.
fn log_file(root: &Path, path: &str) -> Option<PathBuf> {
    match path.split('/').collect::<Vec<_>>()[..] {
        ["", "containerLogs", namespace, pod, container] => Some(log_of(root, namespace, pod, container)),
        _ => None,
    }
}

/// A parameter of a request.
fn parameter<T: FromStr>(uri: &Uri, name: &str) -> Option<T> {
    let mut pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(found, _)| *found == name)?.1.parse().ok()
}

/// The last lines of a log.
fn tail(log: &[u8], lines: Option<usize>) -> &[u8] {
    let Some(lines) = lines else { return log };
    let mut rest = log;
    for _ in 0..lines {
        // The line break at the end belongs to the line before it.
        let without = rest.strip_suffix(b"\n").unwrap_or(rest);
        let begin = without.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        rest = rest.get(..begin).unwrap_or_default();
    }
    log.get(rest.len()..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_has_the_last_lines() {
        let log = b"a\nb\nc\n";
        assert_eq!(tail(log, None), log);
        assert_eq!(tail(log, Some(0)), b"");
        assert_eq!(tail(log, Some(2)), b"b\nc\n");
        assert_eq!(tail(log, Some(9)), log);
        assert_eq!(tail(b"a\nb", Some(1)), b"b");
    }

    #[test]
    fn only_path_of_logs_names_a_file() {
        let root = Path::new("/r");
        let file = log_file(root, "/containerLogs/n/pod/c");
        assert_eq!(file.as_deref(), Some(Path::new("/r/logs/n_pod_c.log")));
        assert_eq!(log_file(root, "/exec/n/pod/c"), None);
        let uri = "/containerLogs/n/pod/c?follow=true&tailLines=5".parse().unwrap();
        assert_eq!((parameter(&uri, "tailLines"), parameter(&uri, "follow")), (Some(5), Some(true)));
        assert_eq!(parameter::<bool>(&"/containerLogs/n/pod/c".parse().unwrap(), "follow"), None);
    }

    #[tokio::test]
    async fn container_that_does_not_run_has_no_log() {
        let root = tempfile::tempdir().unwrap();
        let uri = "/containerLogs/n/pod/c".parse().unwrap();
        assert_eq!(answer(root.path(), &uri).await.status(), http::StatusCode::NOT_IMPLEMENTED);
        std::fs::create_dir(root.path().join("logs")).unwrap();
        std::fs::write(log_of(root.path(), "n", "pod", "c"), "line\n").unwrap();
        assert_eq!(answer(root.path(), &uri).await.status(), http::StatusCode::OK);
    }

    #[tokio::test]
    async fn log_that_is_followed_shows_what_is_appended() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("logs")).unwrap();
        let file = log_of(root.path(), "n", "pod", "c");
        std::fs::write(&file, "old\nnew\n").unwrap();
        let uri = "/containerLogs/n/pod/c?tailLines=1&follow=true".parse().unwrap();
        let mut log = answer(root.path(), &uri).await.into_body();
        let mut next = async || log.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(next().await, "new\n");
        for line in ["further\n", "last\n"] {
            let mut file = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
            std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
            assert_eq!(next().await, line);
        }
    }
}
