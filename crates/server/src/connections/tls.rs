//! TLS by rustls, with certificates that can be reloaded while the server runs.

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
    pub(crate) fn read(files: TlsFiles) -> anyhow::Result<Self> {
        let config = RwLock::new(Arc::new(files.config()?));
        Ok(Self { files, config })
    }

    /// Reloads the files.
    ///
    /// # Errors
    /// As for [`Tls::read`]; the old configuration then stays in use.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        let config = Arc::new(self.files.config()?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// The paths of the files, which are watched for changes.
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
        // ring brings its own assembly code and needs only a C compiler to build.
        let provider = Arc::new(ring::default_provider());
        // TLS 1.2 and 1.3: the library has no older versions.
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
