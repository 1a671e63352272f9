//! Decides which listeners a server has and who may use each, before anything is loaded. A configuration that opens
//! the server to other machines must say so.

use std::{fmt::Display, io, net::IpAddr, path::PathBuf, sync::Arc};

use tokio::net::TcpListener;

use crate::{
    access::{Access, AdminAccess, HostRule, KeySource, KeysError, Rules},
    connections::{Tls, TlsError, TlsFiles},
    options::{AccessOptions, TlsOptions},
    routes::admin::{self, Keyless},
    service::reload::WatchedFiles,
};

/// The listeners' access rules and encryption, with the administration listener.
pub(crate) struct Listeners {
    /// The keys and access rules.
    pub(crate) access: Access,
    /// The certificates for TLS; `None` for plain HTTP.
    pub(crate) tls: Option<Arc<Tls>>,
    /// The administration listener, if there is one, and who may use it.
    pub(crate) admin: Option<(TcpListener, AdminAccess)>,
}

impl Listeners {
    /// Reads keys and certificates and binds the administration port, for a main port at `address`. Keys may also be
    /// in the configuration file. Also returns the files, to be watched for changes since.
    ///
    /// # Errors
    /// When a file of keys or certificates is invalid, the port cannot be bound, or a listener would be open to other
    /// machines without keys and without `--insecure-no-auth`.
    pub(crate) async fn open(
        (options, tls): (&AccessOptions, &TlsOptions),
        (configuration, address): (Option<PathBuf>, IpAddr),
    ) -> Result<(Self, WatchedFiles), ListenError> {
        // Before they are read, so that no change is missed.
        let files = [&configuration, &options.keys_file, &tls.tls_cert, &tls.tls_key, &tls.tls_client_ca];
        let watched = WatchedFiles::new(files.into_iter().flatten().cloned().collect());
        let local = address.to_canonical().is_loopback();
        let source = KeySource { configuration, keys_file: options.keys_file.clone() };
        let hosts = HostRule { allowed: options.allowed_hosts.clone(), always: local };
        let rules = Rules {
            hosts,
            figures_on_main: options.metrics_on_main,
            wrong_keys_per_minute: options.wrong_keys_per_minute,
        };
        let access = Access::read(source, rules)?;
        if !local && access.keys().is_empty() && !options.insecure_no_auth {
            return Err(ListenError::OpenToAll(address));
        }
        if !local && access.keys().is_empty() {
            tracing::warn!(%address, "anybody who reaches this address may use the server: it has no keys");
        }
        let files = match (&tls.tls_cert, &tls.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_authorities: tls.tls_client_ca.clone(),
            }),
            _ => None,
        };
        let tls = files.map(Tls::read).transpose()?.map(Arc::new);
        // The option is for a server without keys: where there are some, it opens nothing.
        let open = options.insecure_no_auth && access.keys().is_empty();
        let keyless = if open { Keyless::Allowed } else { Keyless::Refused };
        let admin = match &options.admin_address {
            None => None,
            Some(address) => Some(admin_listener(address, &access, keyless).await?),
        };
        Ok((Self { access, tls, admin }, watched))
    }
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// TLS cannot be configured.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened on. One that is in use may be free soon. `option` can choose another.
    // The cause is in the text, since the advice follows it, and so is no source, which would repeat it.
    #[error("cannot listen on {address}: {error}{}", advice(error, option))]
    Address { address: String, option: &'static str, error: io::Error },
    /// The main listener would be open to other machines.
    #[error(
        "{0} can be reached from other machines and there are no keys: make one with `gavel key new` and give its \
         entry by --keys-file, or say --insecure-no-auth"
    )]
    OpenToAll(IpAddr),
    /// The administration listener would be open to other machines, and no key has permission to use it.
    #[error("{0} can be reached from other machines and no key is for administration (admin = true)")]
    NoAdminKey(String),
}

impl ListenError {
    /// The error for an `address` that cannot be listened on, and for which `option` can choose another.
    pub(crate) fn address(address: impl Display, option: &'static str, error: io::Error) -> Self {
        Self::Address { address: address.to_string(), option, error }
    }
}

/// What to do about an error of listening; empty where another port would not help.
fn advice(error: &io::Error, option: &str) -> String {
    if error.kind() == io::ErrorKind::AddrInUse {
        format!("; choose another with {option}")
    } else {
        String::new()
    }
}

async fn admin_listener(
    address: &str,
    access: &Access,
    keyless: Keyless,
) -> Result<(TcpListener, AdminAccess), ListenError> {
    let address = admin::address_of(address);
    let failed =
        |error| ListenError::address(format_args!("{address} for administration"), "--admin-address", error);
    let listener = TcpListener::bind(&address).await.map_err(failed)?;
    let taken = listener.local_addr().map_err(failed)?;
    let allowed = admin::access_at(taken.ip(), keyless);
    if allowed == AdminAccess::Keyed {
        if !access.keys().has_admin() {
            return Err(ListenError::NoAdminKey(address));
        }
        access.require_admin();
    }
    tracing::info!(address = %taken, "the listener for administration is open");
    Ok((listener, allowed))
}
