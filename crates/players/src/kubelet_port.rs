//! The port of the kubelet of a hollow node: stands for a kubelet's server. Forwards ports of Pods that run, and shows their
//! logs. Accepts forwardings to other Pods as well, which is how gardenlet checks the tunnel to a Shoot's nodes, and refuses
//! connections to them in words, as it refuses exec.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, IsCa, Issuer, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use crate::error::Error;
use crate::player::Seed;
use crate::shoot_pods::{self, ShootPods};
use crate::{kubelet_logs, port_forward};

/// The authority of a Shoot's kubelets. Its common name is also the name of its Secret.
const AUTHORITY: &str = "ca-kubelet";

/// What a kubelet answers: a text, or a log that grows.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A text as an answer.
pub(crate) fn body(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

/// The nodes of a Shoot.
#[derive(Clone)]
pub(crate) struct Nodes {
    pub(crate) seed: Arc<Seed>,
    /// The namespace of the Shoot in the seed.
    pub(crate) namespace: String,
    /// The Pods that run.
    pub(crate) shoot_pods: ShootPods,
}

/// Serves one connection to the kubelet with an address, in a Shoot.
pub(crate) async fn serve<S>(nodes: Nodes, address: IpAddr, stream: S) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Nodes { seed, namespace, .. } = &nodes;
    let secrets: Api<Secret> = Api::namespaced(seed.client.clone(), namespace);
    let found = secrets.list(&ListParams::default().labels(&format!("name={AUTHORITY}"))).await;
    let found = found.map_err(Error::api(format!("read the authority of the kubelets of {namespace}")))?;
    let data = found.items.into_iter().next().and_then(|secret| secret.data).unwrap_or_default();
    let key = data.get("ca.key").map(|key| key.0.as_slice()).unwrap_or_default();
    let config = config(&certificate(key, address)?)?;
    let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await;
    let stream = stream.map_err(Error::io("accept TLS at the kubelet", address))?;
    let service = service_fn(async |request| Ok::<_, Infallible>(answer(&nodes, request).await));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    // The client closes the connection at any time.
    let _ = connection.await;
    Ok(())
}

/// A TLS configuration that offers a certificate, and asks clients for none.
pub(crate) fn config(
    (chain, key): &(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
) -> Result<ServerConfig, Error> {
    let unusable = |error: rustls::Error| Error::Unusable(format!("the certificate cannot be used: {error}"));
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?.with_no_client_auth();
    builder.with_single_cert(chain.clone(), key.clone_key()).map_err(unusable)
}

/// A certificate for an address, and its key, signed with the PEM key of the authority.
fn certificate(
    authority: &[u8],
    address: IpAddr,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let unusable = |error: rcgen::Error| Error::Unusable(format!("the Secret {AUTHORITY} cannot be used: {error}"));
    let mut subject = DistinguishedName::new();
    // gardenlet writes its names in this type. Clients compare the bytes.
    let name = DnValue::PrintableString(AUTHORITY.try_into().map_err(unusable)?);
    subject.push(DnType::CommonName, name);
    let mut of_authority = CertificateParams::default();
    of_authority.distinguished_name = subject;
    of_authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = PrivateKeyDer::from_pem_slice(authority)
        .map_err(|error| Error::Unusable(format!("the Secret {AUTHORITY} has no key: {error}")))?;
    let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8(&key))).map_err(unusable)?;
    let issuer = Issuer::new(of_authority, key);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("system:node:{address}"));
    params.subject_alt_names = vec![SanType::IpAddress(address)];
    let key = KeyPair::generate().map_err(unusable)?;
    let certificate = params.signed_by(&key, &issuer).map_err(unusable)?;
    Ok((vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
}

/// A key in PKCS #8. gardenlet writes RSA keys in PKCS #1, which ring signs with, but rcgen does not read; the difference
/// is a header (RFC 5958).
fn pkcs8(key: &PrivateKeyDer<'_>) -> Vec<u8> {
    /// Version 0, and the algorithm rsaEncryption.
    const HEADER: [u8; 18] = [2, 1, 0, 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
    let PrivateKeyDer::Pkcs1(rsa) = key else { return key.secret_der().to_vec() };
    let key = element(4, rsa.secret_pkcs1_der());
    element(0x30, &[HEADER.as_slice(), &key].concat())
}

/// An element of DER.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut element = vec![tag];
    match significant.as_slice() {
        [short] if *short < 0x80 => element.push(*short),
        [] => element.push(0),
        long => {
            // At most eight bytes.
            element.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            element.extend(long);
        }
    }
    element.extend(content);
    element
}

/// Answers one request.
async fn answer(nodes: &Nodes, request: Request<Incoming>) -> Response<Body> {
    let Nodes { seed, namespace, shoot_pods } = nodes;
    let ["", "portForward", pod_namespace, pod, ..] = request.uri().path().split('/').collect::<Vec<_>>()[..] else {
        return kubelet_logs::answer(&shoot_pods::root(seed, namespace), request.uri()).await;
    };
    let pod = Arc::new(shoot_pods.named(namespace, pod_namespace, pod));
    let Some(accepted) = accepted(request.headers()) else {
        let mut answer = Response::new(body("this kubelet speaks SPDY/3.1 only"));
        *answer.status_mut() = StatusCode::BAD_REQUEST;
        return answer;
    };
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        if let Err(error) = port_forward::serve(TokioIo::new(upgraded), pod).await {
            tracing::debug!(%error, "a port forwarding has ended");
        }
    });
    accepted
}

/// The answer that begins a forwarding, if the client offers the protocol.
fn accepted(offer: &HeaderMap) -> Option<Response<Body>> {
    let protocol = offer.get(UPGRADE)?.to_str().ok()?;
    if !protocol.eq_ignore_ascii_case("SPDY/3.1") {
        return None;
    }
    let mut answer = Response::new(body(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert("X-Stream-Protocol-Version", HeaderValue::from_static("portforward.k8s.io"));
    Some(answer)
}

/// Why a request is not served.
pub(crate) fn refusal(path: &str) -> Response<Body> {
    let what = path.split('/').nth(1).unwrap_or_default();
    let text = match what {
        "containerLogs" => "there are no logs: this Pod is only reported as running",
        "exec" | "attach" | "run" => "nothing can be executed in the Pods of a garden",
        _ => "this kubelet serves port forwardings and logs only",
    };
    let mut answer = Response::new(body(text));
    // An API server passes on the text of server errors alone.
    *answer.status_mut() = StatusCode::NOT_IMPLEMENTED;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_elements_are_written_as_short_as_possible() {
        assert_eq!(element(4, &[]), [4, 0]);
        assert_eq!(element(4, &[7; 3]), [4, 3, 7, 7, 7]);
        assert_eq!(element(4, &[0; 0x80])[..3], [4, 0x81, 0x80]);
        assert_eq!(element(4, &[0; 0x1234])[..4], [4, 0x82, 0x12, 0x34]);
    }

    #[test]
    fn certificate_is_signed_with_a_key_of_either_form() {
        let key = KeyPair::generate().unwrap();
        certificate(key.serialize_pem().as_bytes(), "10.0.0.1".parse().unwrap()).unwrap();
        let error = certificate(b"", "10.0.0.1".parse().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("the Secret ca-kubelet has no key"), "{error}");
    }

    #[test]
    fn logs_and_exec_are_refused_with_a_status_whose_text_clients_see() {
        for path in ["/containerLogs/n/pod/c", "/exec/n/pod/c"] {
            assert_eq!(refusal(path).status(), StatusCode::NOT_IMPLEMENTED, "{path}");
        }
    }

    #[test]
    fn forwarding_needs_the_protocol_of_kubelets() {
        let offer = |protocol: &'static str| HeaderMap::from_iter([(UPGRADE, HeaderValue::from_static(protocol))]);
        assert_eq!(accepted(&offer("SPDY/3.1")).unwrap().status(), StatusCode::SWITCHING_PROTOCOLS);
        assert!(accepted(&offer("websocket")).is_none());
        assert!(accepted(&HeaderMap::new()).is_none());
    }
}
