//! Why no connection to the API server comes about, for people.

use std::error::Error;
use std::io;

use http::Uri;
use k8s_openapi::jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

/// No connection to the API server: where, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {server}: {problem}; {remedy}")]
pub(crate) struct Unreachable {
    server: String,
    problem: String,
    remedy: String,
    /// Whether new certificates may help.
    pub(crate) is_tls: bool,
}

impl Unreachable {
    /// Whether the server ended a connection because of its TLS: with TLS 1.3, it refuses a client certificate only once
    /// the connection is there.
    pub(crate) fn is_alert(error: &(dyn Error + 'static)) -> bool {
        causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::AlertReceived(_))))
    }

    /// Explains the error of a connector that goes through `proxy`.
    pub(crate) fn new(server: &Uri, proxy: Option<&Uri>, error: &(dyn Error + 'static)) -> Self {
        let (problem, remedy, is_tls) =
            if let Some(error) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
                let (problem, remedy) = tls(error);
                (problem, remedy, true)
            } else {
                let innermost = causes(error).last().map(ToString::to_string).unwrap_or_default();
                let remedy = if proxy.is_some() {
                    "check proxy-url of the kubeconfig, HTTPS_PROXY and NO_PROXY"
                } else {
                    "check that it runs, and the server of the kubeconfig"
                };
                (innermost, remedy.to_owned(), false)
            };
        let through = proxy.map(|proxy| format!(" through the proxy {}", address(proxy))).unwrap_or_default();
        Self { server: address(server) + &through, problem, remedy, is_tls }
    }
}

/// A URL for people, without a password.
pub(crate) fn address(url: &Uri) -> String {
    let url = url.to_string();
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}/{path}")
}

/// The error and its sources, those inside of I/O errors included.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
        // Its own source would be the source of what it contains.
        Some(Some(contained)) => Some(contained as &(dyn Error + 'static)),
        _ => error.source(),
    })
}

/// What is wrong, and the remedy.
fn tls(error: &rustls::Error) -> (String, String) {
    const ISSUE: &str = "issue a certificate with an RSA key of 2048 to 8192 bits or an ECDSA key on P-256 or P-384, \
                         signed with SHA-256 or better";
    const CA: &str = "put the CA of the API server into certificate-authority-data of the kubeconfig";
    let (problem, remedy) = match error {
        rustls::Error::InvalidCertificate(error) => {
            let (problem, remedy) = certificate(error, ISSUE, CA);
            (format!("its certificate {problem}"), remedy)
        }
        rustls::Error::AlertReceived(alert) => {
            let is_about_kinds = matches!(
                alert,
                AlertDescription::HandshakeFailure
                    | AlertDescription::InsufficientSecurity
                    | AlertDescription::ProtocolVersion
            );
            let remedy = if is_about_kinds {
                format!("let it speak TLS 1.2 or newer, and {ISSUE}")
            } else {
                "check the client certificate of the kubeconfig".to_owned()
            };
            (format!("it ended the TLS handshake ({alert:?})"), remedy)
        }
        rustls::Error::InvalidMessage(_) => {
            ("it does not speak TLS".to_owned(), "write http:// into the kubeconfig if that is meant".to_owned())
        }
        other => (other.to_string(), "check the API server and the certificates of the kubeconfig".to_owned()),
    };
    (problem, remedy)
}

fn certificate(error: &CertificateError, issue: &str, ca: &str) -> (String, String) {
    let clock = "renew the certificate, or correct the clock of this machine";
    match error {
        CertificateError::UnknownIssuer => ("is signed by no CA of the kubeconfig".to_owned(), ca.to_owned()),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            // rustls gives them as in `DnsName("api.example")`.
            let name = |it: &String| it.split_once('(').map_or(it.as_str(), |(_, it)| it).trim_matches(['"', ')']).to_owned();
            let names = presented.iter().map(name).collect::<Vec<_>>().join(", ");
            if names.is_empty() {
                let problem = format!("has no subject alternative name, so it is not for {expected}: a common name does not count");
                (problem, format!("issue it with the subject alternative name {expected}"))
            } else {
                (
                    format!("is for {names}, not for {expected}"),
                    "use one of these names as server or tls-server-name in the kubeconfig".to_owned(),
                )
            }
        }
        CertificateError::ExpiredContext { not_after, .. } => (format!("ended at {}", date(*not_after)), clock.to_owned()),
        CertificateError::NotValidYetContext { not_before, .. } => {
            (format!("begins only at {}", date(*not_before)), clock.to_owned())
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            ("has a key or signature of an unsupported kind".to_owned(), issue.to_owned())
        }
        // A short RSA key shows as this too.
        CertificateError::BadSignature => {
            ("has a signature that is not of the CA of the kubeconfig, or too short a key".to_owned(), format!("{ca}, or {issue}"))
        }
        CertificateError::InvalidPurposeContext { .. } => {
            ("is not for servers".to_owned(), "issue it with the extended key usage serverAuth".to_owned())
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::CaUsedAsEndEntity) => (
                "is a CA certificate".to_owned(),
                "issue one with CA:FALSE, or put exactly this certificate into certificate-authority-data of the kubeconfig"
                    .to_owned(),
            ),
            Some(webpki::Error::UnsupportedCertVersion) => {
                ("is of X.509 version 1".to_owned(), "issue it with version 3 and a subject alternative name".to_owned())
            }
            _ => (format!("is not valid: {other}"), "issue another one".to_owned()),
        },
        other => (format!("is not valid: {other}"), "issue another one".to_owned()),
    }
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}
