//! Which certificates are taken, and what is said of the others.

use std::io;
use std::time::Duration;

use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::AlertDescription;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::*;
use crate::process::unreachable::Unreachable;

const P521: &[u8] = include_bytes!("../fixtures/p521.pem");
const RSA_1024: &[u8] = include_bytes!("../fixtures/rsa1024.pem");

fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "api.example");
    params
}

fn with(mut params: CertificateParams, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    change(&mut params);
    params
}

fn self_signed(params: &CertificateParams) -> Vec<u8> {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn ca(params: CertificateParams) -> CertificateParams {
    with(params, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
}

/// A CA, and a certificate that it signed.
fn signed(params: &CertificateParams) -> (Vec<u8>, Vec<u8>) {
    let (key, own) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = ca(CertificateParams::default());
    authority.distinguished_name.push(DnType::CommonName, "authority");
    let certificate = authority.self_signed(&key).unwrap().der().to_vec();
    (certificate, params.signed_by(&own, &Issuer::new(authority, key)).unwrap().der().to_vec())
}

fn der(pem: &[u8]) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem).unwrap().to_vec()
}

fn config(trusted: &[u8]) -> Config {
    let mut config = Config::new("https://api.example:6443".parse().unwrap());
    config.root_cert = Some(vec![b"no certificate".to_vec(), trusted.to_vec()]);
    config
}

/// Whether a server with this certificate is accepted under this name, and how the refusal reads.
fn verified(trusted: &[u8], certificate: &[u8], name: &str) -> Result<(), String> {
    let trusted_certificates = config(trusted).root_cert.unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted_certificates.iter().cloned().map(CertificateDer::from));
    let provider = Arc::new(ring::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let trusted = trusted_certificates.into_iter().map(CertificateDer::from).collect();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    let name = ServerName::try_from(name).unwrap();
    let certificate = CertificateDer::from(certificate);
    let verified = Verifier { inner, trusted }.verify_server_cert(&certificate, &[], &name, &[], now);
    verified.map(drop).map_err(|error| {
        let error = io::Error::other(io::Error::other(error));
        Unreachable::new(&"https://u:secret@api.example:6443".parse().unwrap(), None, &error).to_string()
    })
}

#[test]
fn a_certificate_that_is_itself_trusted_is_accepted_for_its_names() {
    let names = ["api.example", "10.0.0.1"];
    for certificate in [self_signed(&params(&names)), self_signed(&ca(params(&names))), signed(&params(&names)).1] {
        assert_eq!(verified(&certificate, &certificate, "api.example"), Ok(()));
        assert_eq!(verified(&certificate, &certificate, "10.0.0.1"), Ok(()));
        let error = verified(&certificate, &certificate, "other.example").unwrap_err();
        assert!(
            error.contains("is for api.example, 10.0.0.1, ") && error.contains("not for other.example; use one of"),
            "{error}"
        );
        let other = self_signed(&ca(params(&names)));
        verified(&other, &certificate, "api.example").unwrap_err();
    }
    let (authority, certificate) = signed(&params(&names));
    assert_eq!(verified(&authority, &certificate, "api.example"), Ok(()));
}

#[test]
fn a_refused_certificate_is_explained_with_the_remedy() {
    let names = ["api.example"];
    let clients =
        |params: &mut CertificateParams| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let (authority, for_clients) = signed(&with(params(&names), clients));
    let ended = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let (old_authority, expired) = signed(&with(params(&names), ended));
    let begins = |params: &mut CertificateParams| params.not_before = date_time_ymd(2040, 1, 1);
    let new = self_signed(&with(params(&names), begins));
    let stranger = self_signed(&ca(params(&names)));
    let (old, named_by_common_name) = (self_signed(&with(ca(params(&names)), ended)), self_signed(&ca(params(&[]))));
    for (trusted, certificate, problem, remedy) in [
        (&authority, &for_clients, "is not for servers", "serverAuth"),
        (&old_authority, &expired, "ended at 2020-01-01T00:00:00Z", "renew"),
        (&old, &old, "ended at 2020-01-01T00:00:00Z", "renew"),
        (&new, &new, "begins only at 2040-01-01T00:00:00Z", "clock"),
        (&authority, &signed(&params(&names)).1, "is not of the CA", "certificate-authority-data"),
        (&stranger, &signed(&params(&names)).1, "is signed by no CA", "certificate-authority-data"),
        (&authority, &stranger, "is a CA certificate", "exactly this certificate"),
        (&named_by_common_name, &named_by_common_name, "no subject alternative name", "name api.example"),
        (&der(P521), &der(P521), "unsupported kind", "P-256"),
        (&der(RSA_1024), &der(RSA_1024), "too short a key", "2048"),
    ] {
        let error = verified(trusted, certificate, "api.example").unwrap_err();
        let expected = "cannot connect to https://api.example:6443/: its certificate ";
        assert!(error.starts_with(expected) && error.contains(problem) && error.contains(remedy), "{error}");
    }
}

#[test]
fn a_kubeconfig_without_a_usable_ca_is_refused_unless_certificates_are_not_checked() {
    for certificates in [vec![], vec![b"no certificate".to_vec()]] {
        let mut config = config(b"");
        config.root_cert = Some(certificates);
        let error = client_config(&config).unwrap_err().to_string();
        assert!(error.contains("it holds no certificate") && error.contains("certificate-authority-data"), "{error}");
        config.accept_invalid_certs = true;
        client_config(&config).unwrap();
    }
    client_config(&config(&self_signed(&params(&[])))).unwrap();
}

fn with_identity(certificate: &[u8], key: &[u8]) -> Result<bool, String> {
    let mut config = config(&self_signed(&params(&[])));
    let field = |pem: &[u8]| (!pem.is_empty()).then(|| ByteString(pem.to_vec()));
    let auth = json!({ "client-certificate-data": field(certificate), "client-key-data": field(key) });
    config.auth_info = serde_json::from_value(auth).unwrap();
    client_config(&config).map(|tls| tls.client_auth_cert_resolver.has_certs()).map_err(|error| error.to_string())
}

#[test]
fn client_certificates_of_version_1_and_keys_in_each_encoding_are_taken() {
    for pem in [
        // SEC 1 after parameters, as `openssl ecparam -genkey` writes it, and PKCS #1.
        &include_bytes!("../fixtures/ec-v1.pem")[..],
        &include_bytes!("../fixtures/rsa-v1.pem")[..],
    ] {
        assert_eq!(with_identity(pem, pem), Ok(true));
    }
    let (key, params) = (KeyPair::generate().unwrap(), params(&[]));
    let certificate = params.self_signed(&key).unwrap().pem();
    assert_eq!(with_identity(certificate.as_bytes(), key.serialize_pem().as_bytes()), Ok(true));
    assert_eq!(with_identity(b"", b""), Ok(false));
}

#[test]
fn an_unusable_client_certificate_is_explained() {
    let (one, other) = (include_bytes!("../fixtures/ec-v1.pem"), KeyPair::generate().unwrap().serialize_pem());
    let certificate = params(&[]).self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    for (certificate, key, problem) in [
        (certificate.as_bytes(), other.as_bytes(), "client-key is not the key of client-certificate"),
        (one, other.as_bytes(), "client-key is not the key of client-certificate"),
        (certificate.as_bytes(), b"", "there is no client-key"),
        (b"", other.as_bytes(), "a client-key without client-certificate"),
        (other.as_bytes(), other.as_bytes(), "holds no certificate"),
        (one, b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nQQ==\n-----END ENCRYPTED PRIVATE KEY-----\n", "no unencrypted"),
        (one, b"secret", "client-key holds no"),
    ] {
        let error = with_identity(certificate, key).unwrap_err();
        assert!(error.contains(problem) && error.contains("in PEM: RSA with"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn an_alert_of_the_server_is_explained_also_on_an_open_connection() {
    for (alert, remedy) in [
        (AlertDescription::CertificateRequired, "check the client certificate of the kubeconfig"),
        (AlertDescription::HandshakeFailure, "let it speak TLS 1.2 or newer, and issue a certificate with"),
    ] {
        let error = io::Error::other(io::Error::other(rustls::Error::AlertReceived(alert)));
        assert!(Unreachable::is_alert(&error));
        let explained = Unreachable::new(&"https://api.example".parse().unwrap(), None, &error).to_string();
        assert!(explained.contains(&format!("TLS handshake ({alert:?}); {remedy}")), "{explained}");
    }
    assert!(!Unreachable::is_alert(&io::Error::other("reset")));
}
