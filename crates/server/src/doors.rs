//! Which doors a server has and who may come through each: decided before anything is loaded, and refused when it would let in
//! whoever should not be.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use tokio::net::TcpListener;

use crate::{
    access::{Access, AdminDoor, HostRule, KeySource, Rules},
    admin,
    command::{AccessOptions, TlsOptions},
    connections::{Tls, TlsFiles},
    exit::Fatal,
};

/// What is decided about the doors.
pub(crate) struct Doors {
    /// Who may ask.
    pub(crate) access: Access,
    /// How connections are encrypted, if they are.
    pub(crate) tls: Option<Arc<Tls>>,
    /// The door for administration, if there is one, and who may come through.
    pub(crate) admin: Option<(TcpListener, AdminDoor)>,
}

impl Doors {
    /// Reads keys and certificates and takes the port for administration, beside a main port at `address`. Keys may stand in the
    /// configuration file too.
    ///
    /// # Errors
    /// When a file cannot be taken, the port is not to be had, or a door would be open to other machines that nobody has said to
    /// open.
    pub(crate) async fn open(
        (options, tls): (&AccessOptions, &TlsOptions),
        (configuration, address): (Option<PathBuf>, IpAddr),
    ) -> Result<Self, Fatal> {
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
            return Err(Fatal::from(anyhow::anyhow!(
                "{address} can be reached from other machines and there are no keys: make one with `gavel key new` and give its \
                 entry by --keys-file, or say --insecure-no-auth"
            )));
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
        let admin = match &options.admin_address {
            None => None,
            Some(address) => Some(admin_door(address, (&access, options.insecure_no_auth)).await?),
        };
        Ok(Self { access, tls, admin })
    }
}

async fn admin_door(
    address: &str,
    (access, open): (&Access, bool),
) -> Result<(TcpListener, AdminDoor), Fatal> {
    let address = admin::address_of(address);
    let failed = |error| Fatal::port(format_args!("{address} for administration"), error);
    let listener = TcpListener::bind(&address).await.map_err(failed)?;
    let taken = listener.local_addr().map_err(failed)?;
    let door = admin::door_at(taken.ip(), open);
    if door == AdminDoor::Keyed && !access.keys().has_admin() {
        return Err(Fatal::from(anyhow::anyhow!(
            "{address} can be reached from other machines and no key is for administration (admin = true)"
        )));
    }
    tracing::info!(address = %taken, "the door for administration is open");
    Ok((listener, door))
}
