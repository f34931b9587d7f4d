//! TLS to the API server, for all certificates that Go takes and ring can check.

use std::sync::Arc;

use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use kube::Config;
use kube::client::ConfigExt;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::identity;
use super::proxy::Route;
use crate::start_error::StartError;

/// Puts TLS on a route.
pub(super) fn connector(config: &Config, route: Route) -> Result<HttpsConnector<Route>, StartError> {
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(client_config(config)?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let attempt = format!("cannot use tls-server-name {name} of the kubeconfig");
        let name = ServerName::try_from(name.clone());
        let name = name.map_err(StartError::because(attempt, "give a DNS name or an IP address"))?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_http1().wrap_connector(route))
}

/// kube's trust, with a [`Verifier`] for the certificates of a kubeconfig, and our client certificate.
fn client_config(config: &Config) -> Result<ClientConfig, StartError> {
    let attempt = "cannot use the certificate authority of the kubeconfig";
    let remedy = "correct certificate-authority or certificate-authority-data of the kubeconfig";
    let mut config = config.clone();
    // kube would read the file once a minute. Here, a failed handshake loads everything anew.
    config.root_cert_file = None;
    let mut roots = RootCertStore::empty();
    if let Some(certificates) = &mut config.root_cert {
        // As Go does, skip what cannot be read.
        let mut unusable = "it holds no certificate".to_owned();
        certificates.retain(|certificate| {
            let added = roots.add(CertificateDer::from(certificate.as_slice()));
            added.inspect_err(|error| unusable = format!("it holds no certificate that can be read: {error}")).is_ok()
        });
        if roots.is_empty() && !config.accept_invalid_certs {
            return Err(StartError::because(attempt, remedy)(unusable));
        }
    }
    let provider = Arc::new(ring::default_provider());
    let identity = identity::take(&mut config, &provider)?;
    let mut tls = config.rustls_client_config().map_err(StartError::because(attempt, remedy))?;
    if let Some(certificates) = config.root_cert.filter(|_| !config.accept_invalid_certs) {
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let inner = inner.map_err(StartError::because(attempt, remedy))?;
        let trusted = certificates.into_iter().map(CertificateDer::from).collect();
        tls.dangerous().set_certificate_verifier(Arc::new(Verifier { inner, trusted }));
    }
    if let Some(identity) = identity {
        tls.client_auth_cert_resolver = identity;
    }
    Ok(tls)
}

/// webpki's verifier, which also accepts a server certificate that is itself among the trusted ones. Go does, and
/// `openssl req -x509` makes such certificates: they call themselves a CA, which webpki refuses. The same holds for a
/// kubeconfig with the server's certificate and without its issuer.
///
/// To be removed once kube accepts them (kube-rs/kube#1767); webpki will not (rustls/webpki#205).
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(certificate, intermediates, server, ocsp, now);
        // webpki returns these two only for a certificate of this time. The name is left to check.
        let may_be_trusted = match &verified {
            Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => true,
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
                matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
            }
            _ => false,
        };
        if may_be_trusted && self.trusted.iter().any(|trusted| **trusted == **certificate) {
            rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, server)?;
            return Ok(ServerCertVerified::assertion());
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
