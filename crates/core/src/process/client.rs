//! The clients of the API server.
//!
//! Two clients have their own connections, and share the credentials. These are read again before they end, and after
//! the API server has refused them.

mod access;
mod identity;
mod kubeconfig;
mod plugin;
mod provider;
mod proxy;
mod retry_after;
mod tls;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::{AuthError, Body, ClientBuilder, ConfigExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tower::util::BoxCloneService;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use self::access::{Access, Source};
use self::retry_after::Answer;
use crate::process::unreachable::{Unreachable, address};
use crate::start_error::StartError;

/// Pause between two readings of the credentials.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest pause between two runs of a plugin that fails or whose credentials are refused.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Connects to the API server of a kubeconfig, or to the one that kubectl would use, as the controllers do.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, StartError> {
    Ok(Clients::find(kubeconfig).await?.client())
}

/// Makes clients of one API server, with the same credentials. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Clients {
    current: watch::Receiver<Arc<Reading>>,
    refused: watch::Sender<u64>,
}

/// One reading of the credentials.
struct Reading {
    /// Counts from 1.
    generation: u64,
    access: Access,
}

impl Clients {
    /// Finds the API server: in this kubeconfig, or where kubectl would look. Runs the plugin of the kubeconfig.
    pub(crate) async fn find(kubeconfig: Option<&Path>) -> Result<Self, StartError> {
        let mut source = Source { flag: kubeconfig.map(Path::to_owned), context: None };
        let access = source.read().await?;
        source.context.clone_from(&access.context);
        let (sender, current) = watch::channel(Arc::new(Reading { generation: 1, access }));
        let (refused, refusals) = watch::channel(0);
        tokio::spawn(renew(source, sender, refusals));
        Ok(Self { current, refused })
    }

    /// The API server's URL for people, without a password.
    pub(crate) fn address(&self) -> String {
        address(&self.current.borrow().access.config.cluster_url)
    }

    /// Returns when other credentials than before are in use. Returns `false` if that will never be.
    pub(crate) async fn renewed(&mut self) -> bool {
        let before = self.current.borrow_and_update().clone();
        self.current.wait_for(|now| !now.access.is(&before.access)).await.is_ok()
    }

    /// A client with its own connections.
    pub(crate) fn client(&self) -> Client {
        let namespace = self.current.borrow().access.config.default_namespace.clone();
        ClientBuilder::new(Link { clients: self.clone(), built: None }, namespace).build()
    }
}

/// Reads the credentials again when their time is over, and after a refusal. Ends with the last client.
async fn renew(source: Source, sender: watch::Sender<Arc<Reading>>, mut refusals: watch::Receiver<u64>) {
    let mut pause = PAUSE;
    // The latest attempt, and the latest one that succeeded.
    let (mut tried, mut read) = (Instant::now(), Instant::now());
    let mut lifetime = sender.borrow().access.lifetime;
    let mut told: Option<(String, Instant)> = None;
    loop {
        let Reading { generation, access } = &*sender.borrow().clone();
        let server = address(&access.config.cluster_url);
        let over = async {
            match lifetime {
                Some(lifetime) => sleep_until(read + lifetime).await,
                None => std::future::pending().await,
            }
        };
        let is_refused = tokio::select! {
            Ok(_) = refusals.wait_for(|refused| refused >= generation) => true,
            () = over => false,
            () = sender.closed() => return,
        };
        if tried.elapsed() > LONGEST_PAUSE {
            pause = PAUSE;
        }
        sleep_until(tried + pause).await;
        tried = Instant::now();
        let result = source.read().await;
        let problem = match &result {
            Ok(next) if next.config.cluster_url != access.config.cluster_url => {
                "it names another server now; restart this controller to follow".to_owned()
            }
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        // A plugin may ask a person, or the whole company's login server.
        let is_in_vain = access.asks_others && (is_refused || !problem.is_empty());
        pause = if is_in_vain { LONGEST_PAUSE.min(pause * 2) } else { PAUSE };
        // The same at most once a minute.
        let is_news = told.as_ref().is_none_or(|(told, at)| *told != problem || at.elapsed() > LONGEST_PAUSE);
        if is_news && !problem.is_empty() {
            tracing::warn!(server, error = problem, "cannot use the kubeconfig again, keeping the old credentials");
        } else if is_news && is_refused {
            tracing::info!(
                server,
                "read the kubeconfig again: our credentials or the server's certificate were refused"
            );
        }
        if !is_refused && problem.is_empty() {
            told = None;
        } else if is_news {
            told = Some((problem.clone(), tried));
        }
        if let Ok(next) = result
            && problem.is_empty()
        {
            (read, lifetime) = (Instant::now(), next.lifetime);
            // The same credentials keep their connections.
            if is_refused || !next.is(access) {
                sender.send_replace(Arc::new(Reading { generation: generation + 1, access: next }));
            }
        }
    }
}

type Stack = BoxCloneService<Request<Body>, Response<Incoming>, BoxError>;

/// The connections of one client. New credentials get new connections: a client certificate belongs to its connection.
struct Link {
    clients: Clients,
    built: Option<(u64, Stack)>,
}

impl Link {
    /// The service that sends requests with the current credentials.
    fn stack(&mut self) -> Result<(u64, Stack), BoxError> {
        let reading = self.clients.current.borrow().clone();
        match &self.built {
            Some((generation, stack)) if *generation == reading.generation => Ok((*generation, stack.clone())),
            _ => {
                let built = (reading.generation, stack(&reading.access)?);
                self.built = Some(built.clone());
                Ok(built)
            }
        }
    }
}

impl Service<Request<Body>> for Link {
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let stack = self.stack();
        let refused = self.clients.refused.clone();
        Box::pin(async move {
            let (generation, stack) = stack?;
            let answer = stack.oneshot(request).await;
            let is_refused = match &answer {
                Ok(response) => response.status() == StatusCode::UNAUTHORIZED,
                Err(error) => {
                    error.is::<AuthError>() || error.downcast_ref::<Unreachable>().is_some_and(|error| error.is_tls)
                }
            };
            if is_refused {
                refused.send_if_modified(|latest| {
                    let is_new = generation > *latest;
                    *latest = generation.max(*latest);
                    is_new
                });
            }
            answer.map(retry_after::in_status)
        })
    }
}

/// Builds the client as kube does, around our connector.
fn stack(access: &Access) -> Result<Stack, BoxError> {
    let Access { config, connector, proxy, token, .. } = access;
    let (server, proxy) = (config.cluster_url.clone(), proxy.clone());
    let explain = move |error: legacy::Error| {
        if error.is_connect() || Unreachable::is_alert(&error) {
            Unreachable::new(&server, proxy.as_ref(), &error).into()
        } else {
            BoxError::from(error)
        }
    };
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(token.as_deref())
        .layer(config.extra_headers_layer()?)
        .map_err(explain)
        .service(legacy::Client::builder(TokioExecutor::new()).build(connector.clone()));
    Ok(service.map_err(BoxError::from).boxed_clone())
}
