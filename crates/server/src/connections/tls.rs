//! TLS by rustls: certificates that can be read again while the server runs.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use anyhow::{Context, ensure};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

/// Where certificates and keys are.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    /// The server's certificate, and those that it was signed by.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// By which clients' certificates are signed, if clients need any.
    pub(crate) client_authorities: Option<PathBuf>,
}

/// The way to encrypt connections.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    /// Replaced as a whole; the lock is held only to copy or to put the pointer, and connections keep what they began with.
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them cannot be read, or they do not fit together.
    pub(crate) fn read(files: TlsFiles) -> anyhow::Result<Self> {
        let config = RwLock::new(Arc::new(files.config()?));
        Ok(Self { files, config })
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// The same as for reading them first; what was in force stays.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        let config = Arc::new(self.files.config()?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// The files, for whoever looks whether they have changed.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        let TlsFiles { certificate, key, client_authorities } = &self.files;
        [Some(certificate), Some(key), client_authorities.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone().into()
    }
}

impl TlsFiles {
    fn config(&self) -> anyhow::Result<ServerConfig> {
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .with_context(|| format!("{} has no private key that can be read", self.key.display()))?;
        // It has assembler of its own and needs nothing but a C compiler to build.
        let provider = Arc::new(ring::default_provider());
        // Versions 1.2 and 1.3: the library has no older ones.
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match &self.client_authorities {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).with_context(|| format!("{}", path.display()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .context("the certificate and the private key do not fit together")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || -> Result<Vec<_>, _> { CertificateDer::pem_file_iter(path)?.collect() };
    let found = read().with_context(|| format!("{} has no certificate that can be read", path.display()))?;
    ensure!(!found.is_empty(), "{} has no certificate", path.display());
    Ok(found)
}
