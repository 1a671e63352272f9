//! TLS by rustls, with certificates that can be reloaded while the server runs.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ClientConfig, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject},
        },
        server::{VerifierBuilderError, WebPkiClientVerifier},
    },
};

/// The paths of the PEM files for TLS.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    /// The server's certificate, followed by the certificates of its issuers.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The authorities that sign client certificates; `None` if clients need no certificate.
    pub(crate) client_authorities: Option<PathBuf>,
}

/// The TLS configuration in use.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    /// Replaced as a whole on reload; the lock is held only to clone or replace the pointer. Connections keep the
    /// configuration that they started with.
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// If a file cannot be read, or certificate and key do not match.
    pub(crate) fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let config = RwLock::new(Arc::new(files.config()?));
        Ok(Self { files, config })
    }

    /// Reloads the files.
    ///
    /// # Errors
    /// As for [`Tls::read`]; the old configuration then stays in use.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let config = Arc::new(self.files.config()?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone().into()
    }
}

/// Why TLS cannot be configured from its files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file of certificates cannot be read.
    #[error("{} has no certificate that can be read", path.display())]
    Certificates { path: PathBuf, source: pem::Error },
    /// A file of certificates has none.
    #[error("{} has no certificate", path.display())]
    NoCertificate { path: PathBuf },
    /// The file of the private key cannot be read, or has none.
    #[error("{} has no private key that can be read", path.display())]
    PrivateKey { path: PathBuf, source: pem::Error },
    /// A certificate among the authorities is invalid.
    #[error("{}", path.display())]
    Authority { path: PathBuf, source: rustls::Error },
    /// Clients cannot be verified by the authorities.
    #[error(transparent)]
    Verifier(#[from] VerifierBuilderError),
    /// The cryptography has no version of TLS in common with the library.
    #[error(transparent)]
    Versions(rustls::Error),
    /// The certificate is for another private key.
    #[error("the certificate and the private key do not fit together")]
    Mismatch(#[source] rustls::Error),
}

impl TlsFiles {
    fn config(&self) -> Result<ServerConfig, TlsError> {
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|source| TlsError::PrivateKey { path: self.key.clone(), source })?;
        // ring brings its own assembly code and needs only a C compiler to build.
        let provider = Arc::new(ring::default_provider());
        // TLS 1.2 and 1.3: the library has no older versions.
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Versions)?;
        let builder = match &self.client_authorities {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(authorities(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build()?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Mismatch)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// The configuration of a client that trusts the authorities in the PEM file at `path`.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn tls_client_config(path: &Path) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Versions)?;
    Ok(builder.with_root_certificates(authorities(path)?).with_no_client_auth())
}

/// The authorities in a PEM file.
fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|source| TlsError::Authority { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = || -> Result<Vec<_>, pem::Error> { CertificateDer::pem_file_iter(path)?.collect() };
    let found = read().map_err(|source| TlsError::Certificates { path: path.to_owned(), source })?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(found)
}
