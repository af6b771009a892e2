//! One request: check → decide → forward, redirect or refuse → record.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Request, Response, StatusCode, Uri, Version};

use super::answer::{Asker, request_id};
use super::body::{RequestBody, ResponseBody, Underway};
use super::fields::{Fields, Side};
use super::filter::{Filtering, Leads, redirect};
use super::forward::{Outgoing, Upgrade, forward};
use super::forwarded::{self, Hop};
use super::head::{self, Refusal};
use super::path;
use super::session::Session;
use crate::model::host::Host;
use crate::model::outcome::Outcome;
use crate::model::snapshot::Decision;

/// The most fields of a request.
const FIELDS: usize = 100;
const TOO_MANY: Refusal =
    Refusal { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason: "there are more than 100 header fields" };

/// Serves one request.
pub(super) async fn serve(session: &Rc<Session>, request: Request<Incoming>) -> Response<ResponseBody> {
    let underway = Underway::new(session);
    let (mut parts, incoming) = request.into_parts();
    let fields = Fields::of(&parts.headers, if session.trusted { Side::Proxy } else { Side::Client });
    if fields.says_close(&parts.headers) && incoming.is_end_stream() {
        session.asked_all();
    }
    let worker = &session.worker;
    let told_id = session.trusted.then(|| forwarded::id_of(&parts.headers)).flatten();
    let id = told_id.unwrap_or_else(|| request_id([worker.draw(), worker.draw()]));
    let asker = Asker { id, json: fields.json, client: session.client_of(&parts.headers) };
    let host = match checked_host(session, &parts, &fields) {
        Ok(host) => host,
        Err(refusal) => return own(refuse(session, &asker, refusal), underway),
    };
    let name = host.as_ref().map(Host::as_str);
    if let Err(refusal) = path::normalize(session, name, &mut parts.uri) {
        return own(refuse(session, &asker, refusal), underway);
    }
    let is_there = session.trusted && session.is_https(&parts.headers);
    let decided = worker.reader.read(|s| {
        let decision = s.decide(&session.key, name, parts.uri.path());
        if is_there { s.arrived(decision, name) } else { decision }
    });
    let (target, answer) = match decided {
        Decision::Forward { pool, target } => {
            let answer = match &target.filters {
                // In a box, so that requests without filters do not hold the room for them.
                Some(plan) => {
                    let filtering = Filtering { session, plan, asker: &asker, is_canary: Cell::default() };
                    let serving = filtering.serve(Leads::To(pool), parts, incoming, &fields, underway);
                    let answer = Box::pin(serving).await;
                    if let Some(canary) = plan.canary.as_ref().filter(|_| filtering.is_canary.get()) {
                        canary.answered(answer.status().as_u16());
                        return answer;
                    }
                    answer
                }
                None => {
                    let (mut request, upgrade) = prepare(session, parts, incoming, &fields);
                    // What a trusted proxy said has to be looked at; else it is told as the request is written.
                    if session.trusted {
                        tell(session, request.headers_mut(), &asker);
                    }
                    let untold = (!session.trusted).then(|| asker.id.clone());
                    let client = asker.client;
                    match forward(session, pool, Outgoing { request, upgrade, underway, client, untold }).await {
                        Ok(response) => response,
                        Err((status, reason, underway)) => own(asker.answer(status, reason), underway),
                    }
                }
            };
            target.serve.answered(answer.status().as_u16());
            return answer;
        }
        Decision::Redirect { target } => {
            let answer = redirect::answer(session, &asker, target.filters.as_deref(), name, &parts);
            (target, answer)
        }
        Decision::RedirectHttps { port, target } => {
            let answer = name.and_then(|name| asker.redirect(&location(name, port, &parts.uri)));
            let missing = || asker.answer(StatusCode::BAD_REQUEST, "Host is missing");
            (target, answer.unwrap_or_else(missing))
        }
        Decision::NoPool { target } => {
            (target, asker.answer(StatusCode::SERVICE_UNAVAILABLE, "no backend serves this"))
        }
        Decision::Challenge { text, unrouted } => {
            unrouted.answered(StatusCode::OK.as_u16());
            return own(asker.proof(&text), underway);
        }
        Decision::NoRoute { unrouted } => {
            unrouted.answered(StatusCode::NOT_FOUND.as_u16());
            return own(asker.answer(StatusCode::NOT_FOUND, "no route for this host and path"), underway);
        }
        Decision::NoListener => {
            return own(asker.answer(StatusCode::SERVICE_UNAVAILABLE, "this listener is closing"), underway);
        }
    };
    let answer = match &target.filters {
        Some(plan) => {
            let filtering = Filtering { session, plan, asker: &asker, is_canary: Cell::default() };
            Box::pin(filtering.serve(Leads::Answer(answer), parts, incoming, &fields, underway)).await
        }
        None => own(answer, underway),
    };
    target.serve.answered(answer.status().as_u16());
    answer
}

/// An answer made here, which holds what its request holds until it has ended.
pub(super) fn own(answer: Response<Bytes>, underway: Underway) -> Response<ResponseBody> {
    answer.map(|bytes| ResponseBody::own(Some(bytes), underway))
}

/// Refuses a request. A malformed one closes its connection: what follows on it cannot be trusted to be a request. One
/// for another connection's host (421) may be asked again there, and this one goes on.
fn refuse(session: &Session, asker: &Asker, refusal: Refusal) -> Response<Bytes> {
    let mut answer = asker.answer(refusal.status, refusal.reason);
    let is_malformed = refusal != head::MISDIRECTED;
    if is_malformed {
        session.outcome.set(Outcome::Malformed);
    }
    if is_malformed && !session.h2.get() {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let unrouted = session.worker.reader.read(|s| s.listeners.get(&session.key).map(|plan| plan.unrouted.clone()));
    if let Some(unrouted) = unrouted {
        unrouted.answered(refusal.status.as_u16());
    }
    answer
}

/// The host that a request is for, `None` only when HTTP/1.0 names none.
fn checked_host(session: &Session, parts: &Parts, fields: &Fields) -> Result<Option<Host>, Refusal> {
    if session.is_ambiguous() {
        return Err(head::AMBIGUOUS);
    }
    // Of HTTP/1 hyper takes no more either. Cookies may come in many fields, and become one.
    if session.h2.get() && parts.headers.len().saturating_sub(fields.cookies.saturating_sub(1)) > FIELDS {
        return Err(TOO_MANY);
    }
    let Some(authority) = head::check(parts, fields)? else { return Ok(None) };
    let mut last = session.host.borrow_mut();
    if let Some((known, host)) = &*last
        && **known == *authority
    {
        return Ok(Some(host.clone()));
    }
    let host = head::host_of(authority).and_then(|host| Host::parse(host).map_err(|_| head::BAD_HOST))?;
    if !session.may_ask(&host) {
        return Err(head::MISDIRECTED);
    }
    *last = Some((authority.into(), host.clone()));
    Ok(Some(host))
}

/// Where the same thing is found over https.
fn location(host: &str, port: u16, uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    match port {
        443 => format!("https://{open}{host}{close}{path}"),
        port => format!("https://{open}{host}{close}:{port}{path}"),
    }
}

/// The hop by which the requests of a connection come.
pub(super) fn hop(session: &Session) -> Hop<'_> {
    Hop { peer: &session.client, proto: &session.proto, port: &session.port }
}

/// Tells a backend who the client is, in the fields of its request.
pub(super) fn tell(session: &Session, headers: &mut HeaderMap, asker: &Asker) {
    if session.trusted {
        forwarded::tell_on(headers, hop(session), asker.client, &asker.id);
    } else {
        forwarded::tell(headers, hop(session), &asker.id);
    }
}

/// Makes the request for the backend of the client's, and takes the client's side of an upgrade if it asks for one. Who
/// the client is it does not tell yet.
pub(super) fn prepare(
    session: &Session,
    mut parts: Parts,
    incoming: Incoming,
    fields: &Fields,
) -> (Request<RequestBody>, Option<Upgrade>) {
    let body = RequestBody::new(incoming, session, &parts.headers);
    let wanted = fields.asks_upgrade(&parts.headers).filter(|_| body.is_none());
    let upgrade =
        parts.extensions.remove::<OnUpgrade>().zip(wanted).map(|(client, protocol)| Upgrade { client, protocol });
    let headers = &mut parts.headers;
    fields.clean_request(headers, upgrade.is_some());
    if fields.hosts == 0 {
        // HTTP/2 says it in :authority; HTTP/1.0 may not know it, and then the field is empty (RFC 9112 §3.2).
        let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
        headers.insert(header::HOST, HeaderValue::from_str(authority).unwrap_or_else(|_| HeaderValue::from_static("")));
    }
    if fields.cookies > 1 {
        join_cookies(headers);
    }
    if !body.is_none() && fields.lengths == 0 {
        // In the one spelling, too, if the client said so itself.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    for (name, value) in session.fields.iter().flat_map(|fields| fields.iter()) {
        headers.insert(name, value.clone());
    }
    if parts.uri.authority().is_some() {
        parts.uri = path::origin_form(&parts.uri);
    }
    parts.version = Version::HTTP_11;
    (Request::from_parts(parts, body), upgrade)
}

/// HTTP/2 may cut the cookies into several fields; HTTP/1 has one (RFC 9113 §8.2.3). Empty ones say nothing, and would
/// leave a space at an end of it, which no field has.
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let all = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let all: Vec<&[u8]> = all.filter(|cookie| !cookie.is_empty()).collect();
    match HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        Ok(joined) if !joined.is_empty() => headers.insert(header::COOKIE, joined),
        _ => headers.remove(header::COOKIE),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_become_one_field_without_space_at_its_ends() {
        for (cookies, expected) in [
            (&["a=1", "b=2"][..], Some("a=1; b=2")),
            (&["a=1", ""], Some("a=1")),
            (&["", "a=1"], Some("a=1")),
            (&["", ""], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(header::COOKIE, HeaderValue::from_static(cookie));
            }
            join_cookies(&mut headers);
            assert_eq!(headers.get(header::COOKIE).map(HeaderValue::as_bytes), expected.map(str::as_bytes));
        }
    }
}
