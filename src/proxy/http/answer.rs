//! Answers that sluice makes itself: short, in plain text or JSON, with the request's id and no banner.

use std::net::IpAddr;

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// The field that carries the request's id.
pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// To whom an answer goes.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    /// The request's id.
    pub(super) id: HeaderValue,
    /// Whether JSON is preferred.
    pub(super) json: bool,
    /// The address of who asks: the peer's, or what a trusted proxy says.
    pub(super) client: IpAddr,
}

impl Asker {
    /// An answer with this status that says why. `reason` has no quotes or backslashes.
    pub(super) fn answer(&self, status: StatusCode, reason: &str) -> Response<Bytes> {
        let (body, content_type) = if self.json {
            let id = self.id.to_str().unwrap_or_default();
            let code = status.as_u16();
            (format!("{{\"status\":{code},\"error\":\"{reason}\",\"request_id\":\"{id}\"}}\n"), "application/json")
        } else {
            (format!("{} {reason}\n", status.as_u16()), "text/plain; charset=utf-8")
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_REQUEST_ID.clone(), self.id.clone());
        response
    }

    /// The proof that a certificate authority asked for (RFC 8555 §8.3).
    pub(super) fn proof(&self, text: &str) -> Response<Bytes> {
        let mut response = self.answer(StatusCode::OK, "");
        *response.body_mut() = Bytes::copy_from_slice(text.as_bytes());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        response
    }

    /// A redirect to `location`; `None` when that cannot be written in a header.
    pub(super) fn redirect(&self, location: &str) -> Option<Response<Bytes>> {
        let location = HeaderValue::from_str(location).ok()?;
        let mut response = self.answer(StatusCode::PERMANENT_REDIRECT, "this is served over https");
        response.headers_mut().remove(header::CACHE_CONTROL);
        response.headers_mut().insert(header::LOCATION, location);
        Some(response)
    }
}

/// An id of 128 bits of chance, in hexadecimal.
pub(super) fn request_id(draws: [u64; 2]) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let [high, low] = draws;
    let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    let mut text = [[0; 2]; 16];
    for (pair, byte) in text.iter_mut().zip(bytes) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    let text = text.as_flattened();
    HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal() {
        let id = request_id([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
        assert_eq!(id, "0123456789abcdeffedcba9876543210");
    }
}
