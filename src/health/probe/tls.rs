//! The TLS of a check, which takes any certificate.
//!
//! There is no name to check one against: a backend is dialled by its address, and what a pod shows is signed by nobody
//! whom this host knows, or has run out last year. A check asks whether somebody answers there, not who it is, and tells
//! nobody anything that is not public; so a certificate that is wrong is no reason to take a backend out.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use hyper::http::uri::Authority;
use rustls::Error;
use rustls::client::{ClientConfig, Resumption};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Stream;
use crate::model::speech::any::TakeAny;

static CONFIG: LazyLock<Result<Arc<ClientConfig>, Error>> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakeAny::new(schemes)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Each check is a whole one.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
});

/// Shakes hands. The SNI is `host`, if it is given and a name.
pub(super) async fn shake_hands(
    stream: Stream,
    address: SocketAddr,
    host: Option<&str>,
) -> Result<TlsStream<Stream>, String> {
    let config = CONFIG.as_ref().map_err(|error| format!("TLS cannot be spoken: {error}"))?;
    let handshake = TlsConnector::from(config.clone()).connect(name(address, host), stream);
    handshake.await.map_err(|error| format!("the TLS handshake failed: {error}"))
}

/// An address is no name, and none is sent for it.
fn name(address: SocketAddr, host: Option<&str>) -> ServerName<'static> {
    let named = host.and_then(|host| host.parse::<Authority>().ok());
    let named = named.and_then(|authority| ServerName::try_from(authority.host().to_owned()).ok());
    named.unwrap_or_else(|| ServerName::from(address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_is_sent() {
        let address = "192.0.2.1:443".parse().unwrap();
        let cases = [
            (None, "192.0.2.1"),
            (Some("shop.example.test"), "shop.example.test"),
            (Some("shop.example.test:8443"), "shop.example.test"),
            (Some("198.51.100.1"), "198.51.100.1"),
            (Some("not a name"), "192.0.2.1"),
        ];
        for (host, expected) in cases {
            assert_eq!(name(address, host).to_str(), expected);
        }
    }
}
