//! HTTP/2 requests that would be something else in HTTP/1.

use sluice::model::intent::Protocol;

use super::frames::{End, Frames};
use super::strict::Strict;
use crate::support::asked::{pool, route, web};
use crate::support::tls::{Client, cert};
use crate::support::{Asked, Sluice, Wire};

/// A field of a head, as it is sent.
pub(crate) type Field = (&'static str, &'static [u8]);

const HIDDEN: &[u8] = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

pub(crate) enum Fate {
    /// 4xx or a reset, and no whole request at the backend.
    Refused,
    /// The backend sees exactly this.
    Served(&'static str),
}
use Fate::{Refused, Served};

/// A request and what must become of it.
pub(crate) struct Vector {
    pub(crate) fields: Vec<Field>,
    pub(crate) body: Vec<&'static [u8]>,
    pub(crate) trailers: Vec<Field>,
    fate: Fate,
}

/// A `POST /v` with these fields beside the usual pseudo ones; one of their names takes its place.
fn post(fields: &[Field]) -> Vec<Field> {
    let usual: [Field; 4] = [(":method", b"POST"), (":scheme", b"https"), (":authority", b"a.test"), (":path", b"/v")];
    let named = |name: &str| fields.iter().any(|(other, _)| *other == name);
    let mut all: Vec<Field> = usual.into_iter().filter(|(name, _)| !named(name)).collect();
    // Pseudo-fields come first.
    all.extend(fields.iter().filter(|(name, _)| name.starts_with(':')));
    all.extend(fields.iter().filter(|(name, _)| !name.starts_with(':')));
    // What is empty here stands for a field that is left out.
    all.retain(|(name, value)| !(name.starts_with(':') && value == b"-"));
    all
}

pub(crate) fn vectors() -> Vec<Vector> {
    let mut all = Vec::new();
    let mut add = |fields: Vec<Field>, body: &[&'static [u8]], fate| {
        all.push(Vector { fields, body: body.to_vec(), trailers: Vec::new(), fate });
    };
    // Line ends and zeros, wherever they could end a line of HTTP/1.
    let injected: [&[Field]; 21] = [
        &[("x", b"a\r\ntransfer-encoding: chunked")],
        &[("x", b"a\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n")],
        &[("x", b"a\nb: c")],
        &[("x", b"a\rb: c")],
        &[("x", b"a\0b")],
        &[("x: y\r\nz", b"a")],
        &[("x:y", b"a")],
        &[("x y", b"a")],
        &[("x\n", b"a")],
        &[("", b"a")],
        &[("X-Upper", b"a")],
        &[("transfer-encoding ", b"chunked")],
        &[(":path", b"/v HTTP/1.1\r\nHost: b\r\n\r\n")],
        &[(":path", b"/v x")],
        &[(":path", b"/v\t")],
        &[(":path", b"/v\0")],
        &[(":method", b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\nPOST")],
        &[(":method", b"GET /hidden")],
        &[(":authority", b"a.test\r\nx: y")],
        &[(":authority", b"a.test x")],
        &[(":scheme", b"https\r\nx: y")],
    ];
    injected.iter().for_each(|fields| add(post(fields), &[b"ok"], Refused));
    // Fields that belong to a connection of HTTP/1.
    let hop: [&[Field]; 10] = [
        &[("transfer-encoding", b"chunked")],
        &[("transfer-encoding", b"identity")],
        &[("connection", b"close")],
        &[("connection", b"content-length"), ("content-length", b"2")],
        &[("keep-alive", b"timeout=5")],
        &[("proxy-connection", b"keep-alive")],
        &[("upgrade", b"h2c")],
        &[("upgrade", b"websocket"), ("connection", b"upgrade")],
        &[("te", b"gzip")],
        &[("te", b"trailers, chunked")],
    ];
    hop.iter().for_each(|fields| add(post(fields), &[b"ok"], Refused));
    // Pseudo-fields.
    let pseudo: [&[Field]; 13] = [
        &[(":path", b"")],
        &[(":path", b"v")],
        &[(":path", b"*")],
        &[(":method", b"OPTIONS"), (":path", b"*")],
        &[(":path", b"/v"), (":path", b"/hidden")],
        &[(":unknown", b"x")],
        &[(":status", b"200")],
        &[(":authority", b"a.test"), ("host", b"b.test")],
        &[(":authority", b"a.test"), ("host", b"a.test"), ("host", b"a.test")],
        &[(":authority", b"u@a.test")],
        &[(":authority", b"-")],
        &[(":path", b"-")],
        &[(":scheme", b"ftp")],
    ];
    pseudo.iter().for_each(|fields| add(post(fields), &[b"ok"], Refused));
    add(vec![(":method", b"CONNECT"), (":authority", b"a.test:80")], &[b"ok"], Refused);
    add(
        vec![("x", b"y"), (":method", b"GET"), (":scheme", b"https"), (":authority", b"a.test"), (":path", b"/v")],
        &[],
        Refused,
    );
    // Lengths that are none, or do not agree with what comes.
    for length in ["+2", "-2", "2,2", "2 2", "0x2", "2.0", "", "18446744073709551618", "1", "0", "3"] {
        add(post(&[("content-length", length.as_bytes())]), &[b"ok"], Refused);
    }
    add(post(&[("content-length", b"2"), ("content-length", b"3")]), &[b"ok"], Refused);
    add(post(&[("content-length", b"5")]), &[b"0\r\n\r\n", HIDDEN], Refused);
    add(post(&[("content-length", b"2")]), &[], Refused);
    // What has one meaning.
    add(post(&[("content-length", b"2")]), &[b"ok"], Served("POST /v ok"));
    add(post(&[]), &[b"0\r\n\r\n", HIDDEN], Served("POST /v 0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a"));
    add(post(&[("transfer_encoding", b"chunked"), ("content_length", b"9")]), &[b"ok"], Served("POST /v ok"));
    add(post(&[("cookie", b"a=1"), ("cookie", b"b=2"), ("te", b"trailers")]), &[b"ok"], Served("POST /v ok"));
    add(post(&[(":authority", b"-"), ("host", b"a.test")]), &[b"ok"], Served("POST /v ok"));
    add(post(&[("expect", b"100-continue")]), &[b"ok"], Served("POST /v ok"));
    let mut trailers = |trailers: Vec<Field>, fate| {
        let announced: Field = ("trailer", b"x-sum, content-length, host, x_forwarded_for");
        all.push(Vector { fields: post(&[announced]), body: vec![b"ok"], trailers, fate });
    };
    trailers(vec![("x-sum", b"7")], Served("POST /v ok [x-sum: 7]"));
    trailers(vec![("content-length", b"9"), ("host", b"b"), ("x_forwarded_for", b"6.6.6.6")], Served("POST /v ok"));
    trailers(vec![("transfer-encoding", b"chunked")], Refused);
    // h2 leaves pseudo-fields out of trailers.
    trailers(vec![(":path", b"/hidden")], Served("POST /v ok"));
    trailers(vec![("x", b"a\r\nb")], Refused);
    all
}

#[tokio::test]
async fn nothing_becomes_something_else_on_its_way_to_http_1() {
    let backend = Strict::start().await;
    let asked = Asked::default()
        .listener(web(), "web", Protocol::Https, vec![route("*", "/", "site")])
        .pool("site", pool(&[backend.peer.address]))
        .cert(web(), "own", cert(&["a.test"]));
    let sluice = Sluice::start(asked).await;
    let address = sluice.address(web()).await;
    let mut beside = Wire::new(Client::offering(&[]).connect(address, "a.test").await);
    let vectors = vectors();
    assert!(vectors.len() >= 60);
    for Vector { fields, body, trailers, fate } in &vectors {
        let all = fields.iter().chain(trailers);
        let shown: Vec<_> = all.map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v))).collect();
        let mut client = Frames::to(address).await;
        let usual = post(&[(":method", b"GET"), (":path", b"/before")]);
        let id = client.ask(&usual, &[], &[]).await;
        assert_eq!(client.end(id).await, End::Answered(200, "GET /before".to_owned()));
        let id = client.ask(fields, body, trailers).await;
        let end = client.end(id).await;
        let mut expected = vec!["GET /before"];
        match fate {
            Served(request) => {
                assert_eq!(end, End::Answered(200, (*request).to_owned()), "{shown:?}");
                expected.push(request);
            }
            Refused => {
                let fits = match &end {
                    End::Answered(status, _) => (400..500).contains(status),
                    End::Reset(status) => status.is_none(),
                    End::Gone => true,
                };
                assert!(fits, "{end:?} to {shown:?}");
            }
        }
        if end != End::Gone {
            let id = client.ask(&post(&[(":method", b"GET"), (":path", b"/behind")]), &[], &[]).await;
            assert_eq!(client.end(id).await, End::Answered(200, "GET /behind".to_owned()), "behind {shown:?}");
            expected.push("GET /behind");
        }
        assert_eq!(beside.get("a.test", "/beside").await.text(), "GET /beside", "beside {shown:?}");
        expected.push("GET /beside");
        assert_eq!(backend.requests(), expected, "{shown:?} {trailers:?}");
    }
}
