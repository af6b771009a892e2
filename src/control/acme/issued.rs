//! Pure. A certificate that was issued, as the text that is kept of it: its key, then its chain.

use std::sync::Arc;

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::plan::Validity;
use crate::control::pem;
use crate::model::host::HostPattern;
use crate::model::intent::{Cert, Order};

/// A certificate that an order ended in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Issued {
    /// What is served.
    pub(super) cert: Arc<Cert>,
    /// From when to when.
    pub(super) validity: Validity,
}

impl Issued {
    /// Reads the text, and whether it is what the order asks for.
    ///
    /// # Errors
    /// What is wrong with it, in words that show nothing of the key.
    pub(super) fn parse(text: &[u8], order: &Order) -> Result<Self, String> {
        let cert = pem::parse(text, text, &order.origin).map_err(|error| error.to_string())?;
        let names = |host| cert.names.contains(&HostPattern::Exact(host));
        if let Some(missing) = order.hosts.iter().find(|host| !names((*host).clone())) {
            return Err(format!("the certificate is not for {missing}"));
        }
        let leaf = cert.chain.first().map(|leaf| X509Certificate::from_der(leaf));
        let Some(Ok((_, leaf))) = leaf else { return Err("the leaf is not X.509".to_owned()) };
        let (not_before, not_after) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        Ok(Self { cert: Arc::new(cert), validity: Validity { not_before, not_after } })
    }
}
