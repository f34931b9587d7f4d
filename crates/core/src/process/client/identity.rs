//! The client certificate of a kubeconfig.

use std::sync::Arc;

use k8s_openapi::ByteString;
use kube::Config;
use kube::config::AuthInfo;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use serde_json::Value;

use crate::start_error::StartError;

/// Takes the client certificate and its key out of the configuration, if it has any.
///
/// kube would do this, but through a check of rustls that refuses certificates of X.509 version 1, such as `openssl
/// x509 -req` makes without extensions. Servers take them. To be removed when rustls skips its check for them; there is
/// no issue upstream.
pub(super) fn take(
    config: &mut Config,
    provider: &CryptoProvider,
) -> Result<Option<Arc<dyn ResolvesClientCert>>, StartError> {
    let auth = &mut config.auth_info;
    let refused = |cause: String| StartError::because(ATTEMPT, REMEDY)(cause);
    let certificate = pem(auth, "client-certificate").map_err(refused)?;
    let key = pem(auth, "client-key").map_err(refused)?;
    (auth.client_certificate, auth.client_certificate_data) = (None, None);
    (auth.client_key, auth.client_key_data) = (None, None);
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => resolver(&certificate, &key, provider).map(Some).map_err(refused),
        (Some(_), None) => Err(refused("there is no client-key".to_owned())),
        (None, Some(_)) => Err(refused("there is a client-key without client-certificate".to_owned())),
    }
}

const ATTEMPT: &str = "cannot use the client certificate of the kubeconfig";
const REMEDY: &str = "give a certificate and its unencrypted key in PEM: RSA with 2048 to 4096 bits, ECDSA on P-256 or \
                      P-384, or Ed25519";

/// The field's data, or the content of the file that it names.
fn pem(auth: &AuthInfo, field: &str) -> Result<Option<Vec<u8>>, String> {
    let fields = serde_json::to_value(auth).unwrap_or_default();
    let (data, file) = (fields.get(format!("{field}-data")), fields.get(field).and_then(Value::as_str));
    match (data, file) {
        (Some(data), _) => serde_json::from_value::<ByteString>(data.clone())
            .map(|data| Some(data.0))
            .map_err(|_| format!("{field}-data is not base64")),
        (None, Some(file)) => {
            std::fs::read(file).map(Some).map_err(|error| format!("cannot read {field} {file}: {error}"))
        }
        (None, None) => Ok(None),
    }
}

fn resolver(certificate: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<Arc<dyn ResolvesClientCert>, String> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| "client-certificate is not PEM".to_owned())?;
    if chain.is_empty() {
        return Err("client-certificate holds no certificate".to_owned());
    }
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| "client-key holds no unencrypted key in PEM".to_owned())?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| format!("client-key: {error}"))?;
    // rustls cannot read all certificates. But each holds its public key, at whose end is the key itself.
    let public = key.public_key();
    let end = public.as_ref().and_then(|public| public.last_chunk::<32>());
    let holds =
        |end: &[u8; 32]| chain.first().is_some_and(|certificate| certificate.windows(32).any(|part| part == end));
    if end.is_some_and(|end| !holds(end)) {
        return Err("client-key is not the key of client-certificate".to_owned());
    }
    Ok(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
}
