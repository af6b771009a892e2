//! How a certificate authority is spoken with: HTTP/1.1 over TLS, every answer bounded in time and size, and what its
//! failures say of when to come again.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use httpdate::HttpDate;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{HeaderMap, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes.
const LARGEST: usize = 1 << 20;

/// What was seen of the authority in the course of one order.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Sight>);

#[derive(Clone, Copy, Debug, Default)]
struct Sight {
    was_reached: bool,
    retry_after: Option<Duration>,
}

impl Seen {
    /// Whether it answered anything.
    pub(super) fn was_reached(&self) -> bool {
        self.sight().was_reached
    }

    /// How long it asked us to stay away, when it last refused something.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.sight().retry_after
    }

    fn sight(&self) -> Sight {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, is_refusal: bool, headers: &HeaderMap) {
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| wait(value.to_str().ok()?, SystemTime::now()));
        let mut sight = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sight = Sight { was_reached: true, retry_after: retry_after.filter(|_| is_refusal) };
    }
}

/// What `Retry-After` means (RFC 9110 §10.2.3): seconds, or a time.
fn wait(value: &str, now: SystemTime) -> Option<Duration> {
    match value.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => SystemTime::from(HttpDate::from_str(value.trim()).ok()?).duration_since(now).ok(),
    }
}

/// An HTTP client for one authority.
#[derive(Debug)]
pub(super) struct Client {
    http: HyperClient<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    seen: Arc<Seen>,
}

impl Client {
    /// One that trusts these roots, in DER, or what the system trusts where there are none; it tells `seen`. Reads the
    /// system's roots from the disk.
    ///
    /// # Errors
    /// Why the roots are of no use.
    pub(super) fn new(roots: &[Arc<[u8]>], seen: Arc<Seen>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = if roots.is_empty() {
            HttpsConnectorBuilder::new().with_provider_and_platform_verifier(provider).map_err(|error| {
                format!(
                    "what this host trusts cannot be read: {error}; install the package ca-certificates, or name ca"
                )
            })?
        } else {
            let mut store = RootCertStore::empty();
            for root in roots {
                let root = CertificateDer::from(root.to_vec());
                store.add(root).map_err(|error| format!("ca is of no use: {error}; name the root of the directory"))?;
            }
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(store)
                .with_no_client_auth();
            HttpsConnectorBuilder::new().with_tls_config(config)
        };
        let connector = builder.https_only().enable_http1().build();
        Ok(Self { http: HyperClient::builder(TokioExecutor::new()).build(connector), seen })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asked = request.uri().clone();
        let response = self.http.request(request);
        let seen = self.seen.clone();
        Box::pin(async move {
            let read = async {
                let response = response.await.map_err(|error| chain(&error))?;
                let (parts, body) = response.into_parts();
                let is_refusal = parts.status.is_client_error() || parts.status.is_server_error();
                seen.answered(is_refusal, &parts.headers);
                if is_refusal && !is_json(&parts.headers) {
                    // Not the authority's own words, but of something before it.
                    return Err(format!("answered {}", parts.status));
                }
                let body = Limited::new(body, LARGEST).collect().await.map_err(|error| error.to_string())?;
                Ok(BytesResponse { parts, body: Box::new(body.to_bytes()) })
            };
            let answer = timeout(ANSWER, read).await.unwrap_or_else(|_| Err(format!("no answer within {ANSWER:?}")));
            answer.map_err(|reason| Error::Other(io::Error::other(format!("{asked}: {reason}")).into()))
        })
    }
}

/// Whether the body is JSON, as problems are (RFC 7807).
fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.contains("json"))
}

/// An error and what it came from: the first alone says that something failed, the last says what.
fn chain(error: &hyper_util::client::legacy::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Some quote their source themselves.
        let more = error.to_string();
        if !words.contains(&more) {
            let _ = write!(words, ": {more}");
        }
        source = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_of_seconds_or_a_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 60);
        assert_eq!(wait("120", now), Some(Duration::from_secs(120)));
        assert_eq!(wait(" Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(wait("Sat, 05 Nov 1994 08:49:37 GMT", now), None, "over already");
        for odd in ["", "soon", "-1", "1.5", "99999999999999999999999"] {
            assert_eq!(wait(odd, now), None, "{odd}");
        }
    }

    #[test]
    fn only_a_refusal_makes_us_wait() {
        let headers: HeaderMap = [(RETRY_AFTER, "7".parse().unwrap())].into_iter().collect();
        let seen = Seen::default();
        assert!(!seen.was_reached());
        seen.answered(false, &headers);
        assert_eq!((seen.was_reached(), seen.retry_after()), (true, None));
        seen.answered(true, &headers);
        assert_eq!(seen.retry_after(), Some(Duration::from_secs(7)));
        seen.answered(true, &HeaderMap::new());
        assert_eq!(seen.retry_after(), None, "the last one counts");
    }
}
