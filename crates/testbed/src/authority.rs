//! A certificate authority for servers and users that trust each other through it.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::error::BedError;

/// A certificate authority with its private key.
#[derive(Debug)]
pub struct Authority {
    name: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate that an [`Authority`] has issued, and its private key, both PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS 8.
    pub private_key: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Authority {
    /// Creates an authority with a new key. Its certificate has `name` as common name.
    pub fn create(name: &str) -> Result<Self, BedError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let created = KeyPair::generate().and_then(|key| CertifiedIssuer::self_signed(params, key));
        let issuer = created.map_err(BedError::failed(format_args!("create the certificate authority {name:?}")))?;
        Ok(Self { name: name.to_owned(), issuer })
    }

    /// The authority's own certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// The authority's private key, PEM: for a program that issues certificates itself.
    #[must_use]
    pub fn private_key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues a certificate for a server with these DNS names and IP addresses.
    pub fn server(&self, name: &str, addresses: &[&str]) -> Result<Issued, BedError> {
        let addresses: Vec<_> = addresses.iter().map(|&address| address.to_owned()).collect();
        self.issue(CertificateParams::new(addresses), name, None, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Issues a certificate for a user. Kubernetes takes the common name for the user's name, and the organisation for
    /// the user's group.
    pub fn user(&self, name: &str, group: Option<&str>) -> Result<Issued, BedError> {
        self.issue(CertificateParams::new([]), name, group, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        params: Result<CertificateParams, rcgen::Error>,
        name: &str,
        group: Option<&str>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Issued, BedError> {
        let issued = params.and_then(|mut params| {
            params.distinguished_name.push(DnType::CommonName, name);
            if let Some(group) = group {
                params.distinguished_name.push(DnType::OrganizationName, group);
            }
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
            params.extended_key_usages = vec![usage];
            params.use_authority_key_identifier_extension = true;
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &self.issuer)?;
            Ok(Issued { certificate: certificate.pem(), private_key: key.serialize_pem() })
        });
        issued.map_err(BedError::failed(format_args!("issue a certificate of {} for {name:?}", self.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issued_certificates_differ_and_debug_output_has_no_private_key() {
        let authority = Authority::create("a").unwrap();
        let server = authority.server("s", &["127.0.0.1", "localhost"]).unwrap();
        let user = authority.user("u", Some("system:masters")).unwrap();
        assert!(server.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        assert_ne!(server.certificate, user.certificate);
        assert!(user.private_key.contains("PRIVATE KEY") && !format!("{user:?}{authority:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn address_that_no_certificate_can_hold_is_refused_with_the_server_name() {
        let error = Authority::create("a").unwrap().server("s", &["ö"]).unwrap_err().to_string();
        assert!(error.starts_with("cannot issue a certificate of a for \"s\""), "{error}");
    }
}
