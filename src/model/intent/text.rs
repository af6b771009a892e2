//! Pure. An intent as text: what `sluice render` prints and golden tests compare. One thing a line, sorted, no secrets.
//! Here stand its order, certificates and orders; what is longer has a room of its own.

use std::fmt;

use self::listener::write_listener;
use self::pool::write_pool;
use super::{Cert, CertName, Intent, Order, Staple};

mod listener;
mod pool;
mod words;

// Values are taken apart whole, without `..`: a field that is added cannot be forgotten here.

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listeners, pools, certs, orders } = self;
        listeners.iter().try_for_each(|(key, listener)| write_listener(f, *key, listener))?;
        pools.iter().try_for_each(|(name, pool)| write_pool(f, name.as_str(), pool))?;
        certs.iter().try_for_each(|(name, cert)| write_cert(f, name, cert))?;
        orders.values().try_for_each(|order| write_order(f, order))
    }
}

fn write_cert(f: &mut fmt::Formatter<'_>, name: &CertName, cert: &Cert) -> fmt::Result {
    // The chain and the key are never shown; when it ends is no part of what was asked.
    let Cert { names, chain: _, key: _, not_before: _, not_after: _, must_staple: _, staple, origin } = cert;
    write!(f, "certificate {name}  # {origin}\n  names")?;
    for host in names {
        write!(f, " {host}")?;
    }
    writeln!(f)?;
    match staple {
        None => Ok(()),
        Some(Staple::Good { .. }) => writeln!(f, "  ocsp"),
        Some(Staple::Unusable(_)) => writeln!(f, "  ocsp unusable"),
    }
}

fn write_order(f: &mut fmt::Formatter<'_>, order: &Order) -> fmt::Result {
    let Order { hosts: _, directory, email, roots, challenge, origin } = order;
    write!(f, "order {}  # {origin}\n  from {directory}", order.name())?;
    if let Some(email) = email {
        write!(f, " email {email}")?;
    }
    if !roots.is_empty() {
        write!(f, " roots {}", roots.len())?;
    }
    if let Some(challenge) = challenge {
        write!(f, " challenge {challenge}")?;
    }
    writeln!(f)
}
