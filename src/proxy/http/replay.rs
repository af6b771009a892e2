//! Pure. The head of a request, kept to be sent a second time.
//!
//! Nearly every request is kept and nearly none is sent again, so keeping must cost little: the fields are written into
//! one buffer that is used again and again, without a count on each, and are read back only when they are needed.

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Uri, Version};

/// Buffers that grew larger than this are not kept.
pub(super) const KEPT: usize = 16 * 1024;

/// What is needed to send a request again that has no body.
#[derive(Debug)]
pub(super) struct Replay {
    method: Method,
    uri: Uri,
    fields: Vec<u8>,
}

/// How far a request may be repeated that a backend may have seen without answering.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// Not at all: it may have been done.
    Nowhere,
    /// On a fresh connection to the same backend, when the one it was sent on had waited and was closed without a byte.
    Same,
    /// At another backend as well.
    Anywhere,
}

impl Reach {
    /// By the method. To ask twice is harmless where one only asks (RFC 9110 §9.2.1). PUT and DELETE are idempotent
    /// (§9.2.2), yet between the two somebody else may have written, and a second DELETE is answered with 404: they are
    /// repeated only in the race that every kept connection has (RFC 9112 §9.3.1), which says nothing of the backend.
    /// Others never are.
    pub(super) fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE => Self::Anywhere,
            Method::PUT | Method::DELETE => Self::Same,
            _ => Self::Nowhere,
        }
    }
}

impl Replay {
    /// Keeps a request's head in `buffer`.
    pub(super) fn of<B>(request: &Request<B>, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        for (name, value) in request.headers() {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            for part in [name, value] {
                // hyper's heads are far below 4 GiB.
                buffer.extend_from_slice(&(part.len() as u32).to_le_bytes());
                buffer.extend_from_slice(part);
            }
        }
        Self { method: request.method().clone(), uri: request.uri().clone(), fields: buffer }
    }

    /// The request again.
    pub(super) fn request<B: Default>(&self) -> Request<B> {
        let mut request = Request::new(B::default());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_11;
        let mut rest = &self.fields[..];
        while let (Some(name), Some(value)) = (part(&mut rest), part(&mut rest)) {
            // They came out of such a map, so they fit into one.
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                request.headers_mut().append(name, value);
            }
        }
        request
    }

    /// The buffer, for the next.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        if self.fields.capacity() > KEPT { Vec::new() } else { self.fields }
    }
}

fn part<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (part, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_what_went_in() {
        let request = Request::get("/x?y")
            .header("host", "a")
            .header("x-many", "1")
            .header("x-many", "2")
            .header("x-empty", "")
            .header("x-bytes", &b"\xff\t"[..])
            .body(())
            .unwrap();
        let replay = Replay::of(&request, vec![1, 2, 3]);
        for _ in 0..2 {
            let again: Request<()> = replay.request();
            assert_eq!((again.method(), again.uri()), (request.method(), request.uri()));
            assert_eq!(again.headers(), request.headers());
        }
        assert!(replay.into_buffer().capacity() > 0);
    }
}
