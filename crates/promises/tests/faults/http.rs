//! An HTTP proxy between a controller and its API server. A test decides what happens to each request.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use gardener_testbed::bed::TestBed;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::{self, connect::Connect};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::Config;
use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use libtest_mimic::Failed;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

type Body = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;
type Plan = Box<dyn FnMut(&Parts) -> Action + Send>;

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// The API server answers it.
    Forward,
    /// The API server answers it, as a request with this token.
    ForwardAs(String),
    /// The API server answers it, as a request for this path and query.
    ForwardTo(String),
    /// The API server carries it out, but the controller never gets the answer. [`Http::withheld`] returns then.
    Withhold,
    /// Something in between answers it.
    Answer(Answer),
    /// A watch begins with success. After this text, it ends.
    EndAfter(String),
    /// A watch begins with success, and stays silent.
    Silence,
}

/// An answer that the API server has not given.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u8>,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Answer {
    /// A `Status` of the API server.
    pub(crate) fn status(code: u16, reason: &str) -> Self {
        let body = format!(
            r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"injected","reason":"{reason}","code":{code}}}"#
        );
        Self { status: code, retry_after: None, content_type: "application/json", body }
    }

    /// Plain text.
    pub(crate) fn text(status: u16, retry_after: Option<u8>) -> Self {
        Self {
            status,
            retry_after,
            content_type: "text/plain",
            body: "Too many requests, please try again later.\n".into(),
        }
    }
}

/// Whether a request is a watch.
pub(crate) fn is_watch(parts: &Parts) -> bool {
    parts.uri.query().is_some_and(|query| query.contains("watch="))
}

/// Whether a request changes something about an object of Gardener's, and not a Lease or an Event.
pub(crate) fn is_write(parts: &Parts) -> bool {
    parts.method != Method::GET && !["leases", "events"].iter().any(|resource| parts.uri.path().contains(resource))
}

/// The running proxy.
pub(crate) struct Http {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
}

struct Shared {
    plan: Mutex<Plan>,
    requests: AtomicUsize,
    withheld: Notify,
    server: Uri,
}

impl Http {
    /// Starts a proxy that forwards all requests.
    pub(crate) async fn start(bed: &TestBed) -> Result<Self, Failed> {
        let kubeconfig = Kubeconfig::read_from(bed.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = legacy::Client::builder(TokioExecutor::new()).build(config.rustls_https_connector()?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            plan: Mutex::new(Box::new(|_| Action::Forward)),
            requests: AtomicUsize::new(0),
            withheld: Notify::new(),
            server: config.cluster_url,
        });
        let accepting = accept(listener, client, shared.clone());
        Ok(Self { port, shared, _accepting: AbortOnDropHandle::new(tokio::spawn(accepting)) })
    }

    /// From now on, `plan` decides about requests.
    pub(crate) fn set(&self, plan: impl FnMut(&Parts) -> Action + Send + 'static) {
        *self.shared.plan.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(plan);
    }

    /// From now on, all requests are forwarded.
    pub(crate) fn forward(&self) {
        self.set(|_| Action::Forward);
    }

    /// How many requests have arrived so far.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Relaxed)
    }

    /// Returns when the API server has carried out a request with [`Action::Withhold`].
    pub(crate) async fn withheld(&self) {
        self.shared.withheld.notified().await;
    }
}

async fn accept<C>(listener: TcpListener, client: legacy::Client<C, Incoming>, shared: Arc<Shared>)
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let _ = stream.set_nodelay(true);
        let (client, shared) = (client.clone(), shared.clone());
        connections.spawn(async move {
            let service = service_fn(|request| serve(request, &client, &shared));
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
        });
    }
}

/// An error closes the connection.
async fn serve<C>(
    request: Request<Incoming>,
    client: &legacy::Client<C, Incoming>,
    shared: &Shared,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    shared.requests.fetch_add(1, Relaxed);
    let (mut parts, body) = request.into_parts();
    let action = (shared.plan.lock().unwrap_or_else(PoisonError::into_inner))(&parts);
    let withheld = matches!(action, Action::Withhold);
    match action {
        Action::Answer(answer) => return answer.response(),
        Action::EndAfter(text) => return json(StatusCode::OK, full(text)),
        Action::Silence => {
            let silent = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
            return json(StatusCode::OK, StreamBody::new(silent).map_err(|never| match never {}).boxed());
        }
        Action::ForwardAs(token) => {
            parts.headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))?);
        }
        Action::ForwardTo(path) => parts.uri = path.parse()?,
        Action::Forward | Action::Withhold => {}
    }
    let mut server = shared.server.clone().into_parts();
    server.path_and_query = parts.uri.into_parts().path_and_query;
    parts.uri = Uri::from_parts(server)?;
    let answer = client.request(Request::from_parts(parts, body)).await?;
    if withheld {
        answer.into_body().collect().await?;
        shared.withheld.notify_one();
        pending::<()>().await;
        return Err(io::Error::other("withheld").into());
    }
    Ok(answer.map(|body| body.map_err(Into::into).boxed()))
}

impl Answer {
    fn response(self) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
        let mut response = Response::builder().status(self.status).header(CONTENT_TYPE, self.content_type);
        if let Some(seconds) = self.retry_after {
            response = response.header("Retry-After", seconds.to_string());
        }
        Ok(response.body(full(self.body))?)
    }
}

fn json(status: StatusCode, body: Body) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Response::builder().status(status).header(CONTENT_TYPE, "application/json").body(body)?)
}

fn full(text: String) -> Body {
    Full::from(text).map_err(|never| match never {}).boxed()
}
