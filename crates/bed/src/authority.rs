//! The certificates and keys of one control plane.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::BedError;

/// Signs for one control plane, for as long as that runs.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
pub(crate) struct Signed {
    /// The certificate, PEM.
    pub(crate) certificate: String,
    /// Its private key, PEM.
    pub(crate) key: String,
    der: (CertificateDer<'static>, Vec<u8>),
}

/// The key pair that service accounts' tokens are signed with.
pub(crate) struct TokenKey {
    /// The private half, PEM.
    pub(crate) private: String,
    /// The public half, PEM.
    pub(crate) public: String,
}

impl Authority {
    /// A new one, which nobody else trusts.
    pub(crate) fn new() -> Result<Self, BedError> {
        let refused = refused("the authority");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "tidegate-bed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(&refused)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(&refused)?;
        Ok(Self { issuer })
    }

    /// Its own certificate, PEM.
    pub(crate) fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// For the API server, on loopback and at the first address of the services' range.
    pub(crate) fn server(&self, service: Ipv4Addr) -> Result<Signed, BedError> {
        let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let mut params =
            CertificateParams::new(names.map(str::to_owned).to_vec()).map_err(refused("the API server"))?;
        for address in [Ipv4Addr::LOCALHOST, service] {
            params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(address)));
        }
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth, "kube-apiserver")
    }

    /// For a user of the API, in at most one group.
    pub(crate) fn client(&self, user: &str, group: Option<&str>) -> Result<Signed, BedError> {
        let mut params = CertificateParams::default();
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth, user)
    }

    /// What a client needs that trusts this authority alone, and shows `identity` if there is one.
    pub(crate) fn trust(&self, identity: Option<&Signed>) -> Result<Arc<ClientConfig>, BedError> {
        let refused =
            |why: rustls::Error| BedError::Certificate { whose: "a client".to_owned(), why: why.to_string() };
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).map_err(refused)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(Signed { der: (certificate, key), .. }) => builder
                .with_client_auth_cert(
                    vec![certificate.clone()],
                    PrivatePkcs8KeyDer::from(key.clone()).into(),
                )
                .map_err(refused)?,
        };
        Ok(Arc::new(config))
    }

    /// What a server needs that shows this identity, and asks its clients for none.
    pub(crate) fn serve(&self, identity: &Signed) -> Result<Arc<ServerConfig>, BedError> {
        let refused =
            |why: rustls::Error| BedError::Certificate { whose: "a server".to_owned(), why: why.to_string() };
        let (certificate, key) = &identity.der;
        let chain = vec![certificate.clone(), self.issuer.der().clone()];
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_no_client_auth()
            .with_single_cert(chain, PrivatePkcs8KeyDer::from(key.clone()).into())
            .map_err(refused)?;
        Ok(Arc::new(config))
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
        name: &str,
    ) -> Result<Signed, BedError> {
        let refused = refused(name);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().map_err(&refused)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(&refused)?;
        Ok(Signed {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: (certificate.der().clone(), key.serialize_der()),
        })
    }
}

impl TokenKey {
    /// A new pair.
    pub(crate) fn new() -> Result<Self, BedError> {
        let pair = KeyPair::generate().map_err(refused("the service accounts"))?;
        Ok(Self { private: pair.serialize_pem(), public: pair.public_key_pem() })
    }
}

/// What a kubeconfig's `…-data` fields hold.
pub(crate) fn data(pem: &str) -> String {
    STANDARD.encode(pem)
}

fn refused(whose: &str) -> impl Fn(rcgen::Error) -> BedError {
    let whose = whose.to_owned();
    move |why| BedError::Certificate { whose: whose.clone(), why: why.to_string() }
}
