//! The authorities that this host trusts, read from where its distribution keeps them (or `SSL_CERT_FILE`,
//! `SSL_CERT_DIR`) when the first pool asks for them.

use rustls::pki_types::CertificateDer;
use tracing::debug;

/// Reads them; none where there are none. Blocks on files.
pub(super) fn of_system() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        debug!(%error, "a certificate of this host's authorities cannot be read");
    }
    found.certs
}
