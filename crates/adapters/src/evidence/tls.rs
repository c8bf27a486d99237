//! Secure connections to sources: the system's authorities or a file of ours, perhaps with a certificate of our own.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::http::ClientCertificate;

/// A configuration that trusts the authorities in `ca_file`, or those of this machine.
pub(super) fn config(
    ca_file: Option<&Path>,
    client: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>, String> {
    let roots = match ca_file {
        Some(path) => from_file(path)?,
        None => of_the_machine()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(ClientCertificate { certificate, key }) => {
            let unreadable = |why| format!("can not read the private key in {}: {why}", key.display());
            let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable)?;
            let unusable =
                |why| format!("the client certificate {} does not fit: {why}", certificate.display());
            builder.with_client_auth_cert(certificates(certificate)?, private).map_err(unusable)?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |why| format!("can not read certificates from {}: {why}", path.display());
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect();
    let all = all.map_err(unreadable)?;
    if all.is_empty() { Err(format!("there is no certificate in {}", path.display())) } else { Ok(all) }
}

fn from_file(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let unusable = |why| format!("a certificate in {} can not be used: {why}", path.display());
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(roots)
}

fn of_the_machine() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err("this machine has no certificate authorities; install them, or name a CA file".to_owned());
    }
    Ok(roots)
}
