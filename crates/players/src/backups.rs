//! The server of an etcd's backups: stands for etcd-backup-restore beside each etcd. gardenlet asks it for a final
//! snapshot before a Shoot moves to another seed. Leaves out schedules, and every other path.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::backup_store::Backups;
use crate::error::Error;
use crate::kubelet_port;
use crate::player::Seed;

/// The port of etcd-backup-restore, and the path of a full snapshot (`pkg/component/etcd/etcd`).
const PORT: u16 = 8080;
const SNAPSHOT: &str = "/snapshot/full";

/// How long a snapshot is tried, and the pause between. An etcd is written to until the leases of its clients expire.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// What a server needs to know of its etcd.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The namespace, and the Secret with the certificate of the server.
    pub(crate) namespace: String,
    pub(crate) secret: String,
    /// The folder of the etcd.
    pub(crate) folder: PathBuf,
    /// Where its backups go.
    pub(crate) backups: Backups,
}

/// The servers of all etcds that have a store for backups, by address.
#[derive(Default)]
pub(crate) struct BackupServers(Mutex<HashMap<(String, String), (SocketAddr, DropGuard)>>);

impl BackupServers {
    /// Starts the server of an etcd at the address of the etcd's Service, unless it runs.
    pub(crate) async fn ensure(
        &self,
        seed: &Arc<Seed>,
        key: (String, String),
        address: std::net::IpAddr,
        source: Source,
    ) -> Result<(), Error> {
        let address = SocketAddr::new(address, PORT);
        let mut servers = self.0.lock().await;
        if servers.get(&key).is_some_and(|(at, _)| *at == address) {
            return Ok(());
        }
        let listener = TcpListener::bind(address).await.map_err(Error::io("listen on", address))?;
        let stop = CancellationToken::new();
        tokio::spawn(serve(seed.clone(), source, listener, stop.clone()));
        servers.insert(key, (address, stop.drop_guard()));
        Ok(())
    }

    /// Stops the server of an etcd.
    pub(crate) async fn stop(&self, key: &(String, String)) {
        self.0.lock().await.remove(key);
    }
}

async fn serve(seed: Arc<Seed>, source: Source, listener: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        // Fails if the client has gone already, or all file descriptors are in use.
        let Ok((client, _)) = accepted else { continue };
        let (seed, source) = (seed.clone(), source.clone());
        tokio::spawn(async move {
            if let Err(error) = answer_one(&seed, source, client).await {
                tracing::info!(%error, "a connection to the server of backups failed");
            }
        });
    }
}

/// Serves one connection. The certificate is that of now.
async fn answer_one(seed: &Seed, source: Source, client: TcpStream) -> Result<(), Error> {
    let secrets: Api<Secret> = Api::namespaced(seed.client.clone(), &source.namespace);
    let secret = secrets.get(&source.secret).await;
    let secret = secret.map_err(Error::api(format!("read Secret {}/{}", source.namespace, source.secret)))?;
    let data = secret.data.unwrap_or_default();
    let file = |name: &str| data.get(name).map(|value| value.0.as_slice()).unwrap_or_default();
    let unusable = |error| Error::Unusable(format!("Secret {}/{}: {error}", source.namespace, source.secret));
    let chain = CertificateDer::pem_slice_iter(file("tls.crt")).collect::<Result<Vec<_>, _>>().map_err(unusable)?;
    let key = PrivateKeyDer::from_pem_slice(file("tls.key")).map_err(unusable)?;
    let acceptor = TlsAcceptor::from(Arc::new(kubelet_port::config(&(chain, key))?));
    let client = acceptor.accept(client).await.map_err(Error::io("accept TLS as the server of", "backups"))?;
    let service = service_fn(|request| answer(source.clone(), request));
    // The client closes the connection at any time.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(client), service).await;
    Ok(())
}

/// Answers one request.
async fn answer(source: Source, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match request.uri().path() {
        SNAPSHOT => match snapshot(source).await {
            Ok(()) => (StatusCode::OK, "the snapshot is taken".to_owned()),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        path => (StatusCode::NOT_FOUND, format!("{path} is not served: only {SNAPSHOT} is")),
    };
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    Ok(answer)
}

/// Takes a snapshot as soon as the etcd is quiet.
async fn snapshot(source: Source) -> std::io::Result<()> {
    let late = tokio::time::Instant::now() + PATIENCE;
    loop {
        let Source { folder, backups, .. } = source.clone();
        let taken = spawn_blocking(move || backups.take(&folder)).await.map_err(std::io::Error::other).flatten();
        if taken.is_ok() || tokio::time::Instant::now() > late {
            return taken;
        }
        sleep(PAUSE).await;
    }
}
