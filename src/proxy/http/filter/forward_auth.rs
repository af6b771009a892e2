//! Another server is asked whether a request may pass: `auth_request` of nginx, ForwardAuth of Traefik.
//!
//! Theory: it is asked with GET and the fields of the request, without the body, and told what was asked for in both
//! manners of naming that, so that Authelia, oauth2-proxy and their like work as they are. 2xx lets the request pass,
//! with what it sets of the named fields; those of the client by these names never go on, whatever the answer. 3xx and
//! 4xx are the client's answer, or 401 sends it to the sign-in page. All else is a failure, and then nothing passes.
//!
//! A request that is asked about carries a mark, and one that carries the mark is not asked about: a server that leads
//! back to its own route is told so instead of being asked for ever.

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use tokio::time::timeout;

use super::Filtering;
use crate::model::intent::filter::ForwardAuth;
use crate::proxy::http::body::{RequestBody, ResponseBody, Underway};
use crate::proxy::http::exchange::join_cookies;
use crate::proxy::http::fields::Fields;
use crate::proxy::http::forward::{Outgoing, forward};
use crate::proxy::http::forwarded::{self, Hop};

/// Marks a request that asks about another.
static MARK: HeaderName = HeaderName::from_static("x-sluice-asks");
/// Of an answer that lets pass so much is read so that its connection can be used again, in bytes.
const SKIPPED: usize = 16 * 1024;

/// Fields of the request that are about its body, about what the client has of the answer, or about this hop.
static NOT_ASKED: [HeaderName; 17] = [
    header::CONNECTION,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What a server that let a request pass gives along.
#[derive(Debug, Default)]
pub(super) struct Granted {
    /// For the backend, instead of what the client sent by these names.
    fields: HeaderMap,
    /// For the client: a session that was prolonged.
    cookies: Vec<HeaderValue>,
}

/// Why a request may not pass.
pub(super) enum Denied {
    /// Our own answer.
    Own(Response<bytes::Bytes>),
    /// The server's.
    Theirs(Box<Response<ResponseBody>>),
}

/// Asks; gives what is given along, or the answer to a request that may not pass.
pub(super) async fn ask(filtering: &Filtering<'_>, parts: &mut Parts, fields: &Fields) -> Result<Granted, Denied> {
    let Some(asked) = &filtering.plan.asked.forward_auth else { return Ok(Granted::default()) };
    let own = |status, reason| Err(Denied::Own(filtering.asker.answer(status, reason)));
    let is_loop = || own(StatusCode::LOOP_DETECTED, "the server that is asked leads back here");
    if parts.headers.contains_key(&MARK) {
        return is_loop();
    }
    let session = filtering.session;
    let Some(pool) = session.worker.reader.read(|snapshot| snapshot.pools.get(&asked.pool).cloned()) else {
        return own(StatusCode::SERVICE_UNAVAILABLE, "there is nobody to ask whether this may pass");
    };
    let Some((request, url)) = question(filtering, asked, parts, fields) else {
        return own(StatusCode::SERVICE_UNAVAILABLE, "it cannot be asked whether this may pass");
    };
    // Beside the client's own, so that a question which fails is no request that the client broke off.
    let aside = session.aside();
    let client = filtering.asker.client;
    let outgoing = Outgoing { request, upgrade: None, underway: Underway::new(&aside), client, untold: None };
    let Ok(Ok(answer)) = timeout(asked.timeout, forward(&aside, pool, outgoing)).await else {
        return own(StatusCode::SERVICE_UNAVAILABLE, "nobody says whether this may pass");
    };
    let cookies: Vec<HeaderValue> = answer.headers().get_all(header::SET_COOKIE).iter().cloned().collect();
    match answer.status() {
        status if status.is_success() => {}
        StatusCode::UNAUTHORIZED => return Err(to_sign_in(filtering, asked, &url, cookies, answer)),
        status if status.is_redirection() || status.is_client_error() => return Err(Denied::Theirs(answer.into())),
        StatusCode::LOOP_DETECTED => return is_loop(),
        _ => return own(StatusCode::SERVICE_UNAVAILABLE, "the server that says whether this may pass failed"),
    }
    take_away(asked, &mut parts.headers);
    let mut granted = Granted { fields: HeaderMap::new(), cookies };
    let (head, body) = answer.into_parts();
    for name in asked.headers.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()) {
        for value in head.headers.get_all(&name) {
            granted.fields.append(name.clone(), value.clone());
        }
    }
    // What is left of it is of no interest; that it is read whole is, and only a little.
    let _ = timeout(asked.timeout, body.skip(SKIPPED)).await;
    Ok(granted)
}

impl Granted {
    /// Puts the fields into the request for the backend. `Connection` of the client has had its say by now, so that it
    /// cannot take them away.
    pub(super) fn give(&mut self, request: &mut Request<RequestBody>) {
        request.headers_mut().extend(std::mem::take(&mut self.fields));
    }

    /// Puts the cookies into the answer for the client.
    pub(super) fn tell(self, answer: &mut Response<ResponseBody>) {
        for cookie in self.cookies {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
}

/// Drops what the client sent by the names of granted fields, in any spelling that a backend could take for them.
pub(in crate::proxy::http) fn take_away(asked: &ForwardAuth, headers: &mut HeaderMap) {
    let wrong = |name: &HeaderName| asked.headers.iter().any(|granted| is_spelling(name.as_str(), granted));
    let wrong: Vec<HeaderName> = headers.keys().filter(|name| wrong(name)).cloned().collect();
    for name in wrong {
        headers.remove(name);
    }
}

fn is_spelling(name: &str, of: &str) -> bool {
    let hyphen = |b: u8| if matches!(b, b'_' | b'.') { b'-' } else { b };
    name.len() == of.len() && name.bytes().map(hyphen).eq(of.bytes().map(hyphen))
}

/// Whether a field tells the server what is asked for, and so is ours alone.
fn is_told(name: &str) -> bool {
    const TOLD: [&str; 5] =
        ["x-auth-request-redirect", "x-original-method", "x-original-uri", "x-original-url", "x-sluice-asks"];
    TOLD.iter().any(|told| is_spelling(name, told))
}

fn host(parts: &Parts) -> Option<HeaderValue> {
    let authority = || HeaderValue::from_str(parts.uri.authority()?.as_str()).ok();
    parts.headers.get(header::HOST).cloned().or_else(authority)
}

fn path(parts: &Parts) -> &str {
    parts.uri.path_and_query().map_or("/", |path| path.as_str())
}

/// What the server is asked, and the address that the client asked for. `None` when that cannot be written.
fn question(
    filtering: &Filtering<'_>,
    asked: &ForwardAuth,
    parts: &Parts,
    fields: &Fields,
) -> Option<(Request<RequestBody>, String)> {
    let session = filtering.session;
    let mut headers = parts.headers.clone();
    fields.clean_request(&mut headers, false);
    if fields.cookies > 1 {
        // As the backend gets them: the two must not read different sessions.
        join_cookies(&mut headers);
    }
    for name in &NOT_ASKED {
        headers.remove(name);
    }
    let ours: Vec<HeaderName> = headers.keys().filter(|name| is_told(name.as_str())).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
    let host = host(parts).unwrap_or_else(|| HeaderValue::from_static(""));
    headers.insert(header::HOST, host.clone());
    let hop = Hop { peer: &session.client, proto: &session.proto, port: &session.port };
    if session.trusted {
        forwarded::tell_on(&mut headers, hop, filtering.asker.client, &filtering.asker.id);
    } else {
        forwarded::tell(&mut headers, hop, &filtering.asker.id);
    }
    for (name, value) in session.fields.iter().flat_map(|fields| fields.iter()) {
        headers.insert(name, value.clone());
    }
    // How the client spoke a trusted proxy knows; what it asked of, and so what it may do, is what we route by.
    let proto = if session.is_https(&parts.headers) { "https" } else { "http" };
    let url = format!("{proto}://{}{}", host.to_str().ok()?, path(parts));
    let value = |text: &str| HeaderValue::from_str(text).ok();
    let (method, uri) = (value(parts.method.as_str())?, value(path(parts))?);
    let told = [
        ("x-auth-request-redirect", uri.clone()),
        ("x-forwarded-host", host),
        ("x-forwarded-method", method.clone()),
        ("x-forwarded-uri", uri.clone()),
        ("x-original-method", method),
        ("x-original-uri", uri),
        ("x-original-url", value(&url)?),
    ];
    for (name, value) in told {
        headers.insert(name, value);
    }
    headers.insert(&MARK, HeaderValue::from_static("1"));
    if let Some(by) = &asked.host {
        headers.insert(header::HOST, value(by)?);
    }
    let mut request = Request::new(RequestBody::default());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = asked.path.parse::<Uri>().ok()?;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    Some((request, url))
}

/// Where a client without a session is sent; without such a place it gets the server's own answer.
fn to_sign_in(
    filtering: &Filtering<'_>,
    asked: &ForwardAuth,
    url: &str,
    cookies: Vec<HeaderValue>,
    answer: Response<ResponseBody>,
) -> Denied {
    let Some(sign_in) = &asked.sign_in else { return Denied::Theirs(answer.into()) };
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (host, uri) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut page = sign_in.to_string();
    // The host was checked and holds no brace; what is encoded holds none either.
    for (word, value) in [("{scheme}", scheme), ("{host}", host), ("{uri}", &encoded(uri)), ("{url}", &encoded(url))] {
        if page.contains(word) {
            page = page.replace(word, value);
        }
    }
    let Ok(location) = HeaderValue::from_str(&page) else {
        return Denied::Theirs(answer.into());
    };
    let mut answer = filtering.asker.answer(StatusCode::FOUND, "sign in first");
    answer.headers_mut().insert(header::LOCATION, location);
    for cookie in cookies {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Denied::Own(answer)
}

/// Percent-encoded as a value in a query (RFC 3986 §2.3: all but the unreserved).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_a_query_cannot_leave_it() {
        assert_eq!(encoded("https://a.test/x?y=1&z=ü#"), "https%3A%2F%2Fa.test%2Fx%3Fy%3D1%26z%3D%C3%BC%23");
    }

    #[test]
    fn spellings_of_granted_names_are_known() {
        for name in ["remote-user", "remote_user", "remote.user"] {
            assert!(is_spelling(name, "remote-user"), "{name}");
        }
        assert!(!is_spelling("remote-users", "remote-user") && !is_spelling("remoteuser", "remote-user"));
        assert!(is_told("x_original-uri") && !is_told("x-original"));
    }
}
