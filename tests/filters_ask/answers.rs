//! Coding of answers, and pages of our own.

use std::collections::BTreeMap;
use std::io::Read;

use sluice::model::intent::Filters;
use sluice::model::intent::filter::{BasicAuth, Coding, Compress, ErrorPage};
use sluice::model::secret::Secret;

use super::support::asked::web;
use super::support::peer::{answer, nobody};
use super::support::{Message, Peer, Reply, Wire};
use super::{filtered, serving};

fn compressing() -> Filters {
    let codings = vec![Coding::Zstd, Coding::Br, Coding::Gzip];
    let compress = Compress { codings, types: Compress::usual_types(), min_size: 100 };
    Filters { compress: Some(compress), ..Filters::default() }
}

/// A text that is worth it.
fn text() -> String {
    (0..20_000).map(|n| format!("line {n} of a page\n")).collect()
}

fn unpacked(answer: &Message) -> Vec<u8> {
    let mut plain = Vec::new();
    match answer.field("content-encoding") {
        Some("gzip") => drop(flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut plain).unwrap()),
        Some("br") => drop(brotli::Decompressor::new(&answer.body[..], 4096).read_to_end(&mut plain).unwrap()),
        Some("zstd") => plain = zstd::decode_all(&answer.body[..]).unwrap(),
        other => panic!("{other:?}"),
    }
    plain
}

async fn taking(client: &mut Wire, path: &str, codings: &str) -> Message {
    client.ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {codings}\r\n\r\n")).await
}

fn page(fields: &str, body: &str) -> Reply {
    Reply::Send(format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

#[tokio::test]
async fn what_the_client_takes_comes_smaller_and_is_the_same() {
    let peer = Peer::http(|_| {
        page("Content-Type: text/html; charset=utf-8\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\nVary: Origin", &text())
    })
    .await;
    let (_sluice, mut client) = serving(filtered(&[peer.address], compressing())).await;
    for (said, coding) in [("gzip", "gzip"), ("br;q=0.9, gzip;q=0.1", "br"), ("gzip, deflate, br, zstd", "zstd")] {
        let small = taking(&mut client, "/", said).await;
        assert_eq!(small.field("content-encoding"), Some(coding), "{said}");
        assert!(small.body.len() < text().len() / 4, "{coding}: {} bytes", small.body.len());
        assert!(unpacked(&small) == text().as_bytes(), "{coding}");
        assert_eq!((small.field("etag"), small.field("accept-ranges")), (Some("W/\"v1\""), None));
        assert_eq!((small.fields("vary"), small.field("content-length")), (vec!["Origin", "accept-encoding"], None));
    }
    let plain = taking(&mut client, "/", "identity, gzip;q=0").await;
    assert_eq!((plain.field("content-encoding"), plain.field("etag")), (None, Some("\"v1\"")));
    assert_eq!(plain.fields("vary"), ["Origin", "accept-encoding"]);
    assert_eq!(plain.text(), text());
    // A bomb of codings costs what a head costs.
    let bomb = format!("{}gzip", "a;q=0.1,".repeat(5000));
    assert_eq!(taking(&mut client, "/", &bomb).await.status(), 200);
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn what_must_not_be_touched_is_not() {
    let peer = Peer::http(|request| {
        let path = request.first_line().split(' ').nth(1).unwrap_or_default();
        match path {
            "/encoded" => page("Content-Type: text/plain\r\nContent-Encoding: gzip", &text()),
            "/no-transform" => page("Content-Type: text/plain\r\nCache-Control: public, no-transform", &text()),
            "/digest" => page("Content-Type: text/plain\r\nRepr-Digest: sha-256=:x:", &text()),
            "/image" => page("Content-Type: image/png", &text()),
            "/nameless" => page("X-A: 1", &text()),
            "/small" => page("Content-Type: text/plain", "small"),
            "/part" => Reply::Send(
                format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-199/1000\r\n\
                     Content-Length: 200\r\n\r\n{}",
                    "p".repeat(200)
                )
                .into_bytes(),
            ),
            "/304" => {
                Reply::Send(b"HTTP/1.1 304 Not Modified\r\nContent-Type: text/plain\r\nETag: \"x\"\r\n\r\n".to_vec())
            }
            "/204" => Reply::Send(b"HTTP/1.1 204 No Content\r\nContent-Type: text/plain\r\n\r\n".to_vec()),
            _ => Reply::Send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\n\r\n".to_vec()),
        }
    })
    .await;
    let (sluice, mut client) = serving(filtered(&[peer.address], compressing())).await;
    for path in ["/encoded", "/no-transform", "/digest", "/image", "/nameless", "/small", "/part", "/304", "/204"] {
        let same = taking(&mut client, path, "gzip, br, zstd").await;
        let coding = same.field("content-encoding");
        assert_eq!(coding, if path == "/encoded" { Some("gzip") } else { None }, "{path}");
        assert!(same.field("transfer-encoding").is_none(), "{path}");
        assert!(path != "/304" || same.field("etag") == Some("\"x\""));
    }
    client.send("HEAD /head HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").await;
    let head = client.head().await.unwrap();
    assert_eq!((head.field("content-length"), head.field("content-encoding")), (Some("5000"), None));
    assert_eq!(head.field("vary"), Some("accept-encoding"));
    let mut old = Wire::to(sluice.address(web()).await).await;
    old.send("GET /small HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").await;
    assert_eq!(old.message().await.unwrap().text(), "small");
}

#[tokio::test]
async fn events_come_as_they_happen() {
    let peer = Peer::serving(|mut wire| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        // Each event waits until the client has had the last: a coding that keeps any back would end here.
        while wire.until("next").await.is_some() {
            wire.send("d\r\ndata: tick\n\n\n\r\n").await;
        }
    })
    .await;
    let (sluice, _) = serving(filtered(&[peer.address], compressing())).await;
    for coding in ["gzip", "br", "zstd"] {
        let mut client = Wire::to(sluice.address(web()).await).await;
        let ask =
            format!("POST / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(ask).await;
        assert_eq!(client.head().await.unwrap().field("content-encoding"), Some(coding));
        let mut came = Vec::new();
        for n in 1..=3 {
            client.send("4\r\nnext\r\n").await;
            let wanted = "data: tick\n\n\n".repeat(n);
            while so_far(coding, &came) != wanted.as_bytes() {
                came.extend(client.chunk().await.expect("the event"));
            }
        }
    }
}

/// What of a stream that goes on can be unpacked by now.
fn so_far(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut reader: Box<dyn Read> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        _ => Box::new(zstd::Decoder::new(bytes).unwrap()),
    };
    let mut byte = [0];
    while let Ok(1) = reader.read(&mut byte) {
        plain.push(byte[0]);
    }
    plain
}

#[tokio::test]
async fn a_body_that_breaks_off_is_seen_to_in_any_coding() {
    let peer = Peer::http(|_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n";
        Reply::Last(format!("{head}{}", "x".repeat(5000)).into_bytes())
    })
    .await;
    let (sluice, _) = serving(filtered(&[peer.address], compressing())).await;
    for coding in ["gzip", "br", "zstd", "identity"] {
        let mut client = Wire::to(sluice.address(web()).await).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n")).await;
        if client.head().await.is_some() {
            let (rest, _) = client.rest().await;
            assert!(!rest.ends_with(b"0\r\n\r\n"), "{coding}");
        }
    }
}

fn pages(backends: bool) -> Filters {
    let page = |body: &'static str, backends| ErrorPage {
        content_type: "text/html".into(),
        body: bytes::Bytes::from_static(body.as_bytes()),
        backends,
    };
    let errors = BTreeMap::from([
        (401, page("<h1>who</h1>", false)),
        (404, page("<h1>lost</h1>", backends)),
        (503, page("<h1>sorry</h1>", backends)),
    ]);
    Filters { errors, ..Filters::default() }
}

#[tokio::test]
async fn our_own_errors_wear_their_page() {
    let auth =
        BasicAuth { realm: "x".into(), users: Secret::new(*b"a:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="), pass_on: true };
    let filters = Filters { basic_auth: Some(auth), ..pages(false) };
    let (_sluice, mut client) = serving(filtered(&[nobody().await], filters)).await;
    let who = client.get("a", "/").await;
    assert_eq!((who.status(), who.text(), who.field("content-type")), (401, "<h1>who</h1>", Some("text/html")));
    assert!(who.field("www-authenticate").is_some() && who.field("x-request-id").is_some());
    let sorry = client.ask("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpzZWNyZXQ=\r\n\r\n").await;
    assert_eq!((sorry.status(), sorry.text()), (503, "<h1>sorry</h1>"));
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = client.head().await.unwrap();
    assert_eq!((head.status(), head.field("content-length")), (401, Some("12")));
    assert_eq!(client.get("a", "/").await.status(), 401, "no body came with the head");
}

#[tokio::test]
async fn errors_of_backends_wear_it_where_that_is_asked() {
    let backend = |request: &Message| match request.first_line().split(' ').nth(1) {
        Some("/long") => Reply::Send(answer("404 Not Found", &"x".repeat(3_000_000))),
        Some("/gone") => Reply::Send(
            b"HTTP/1.1 404 Not Found\r\nContent-Encoding: gzip\r\nETag: \"x\"\r\nDigest: x\r\n\
              Repr-Digest: x\r\nContent-Digest: x\r\nContent-MD5: x\r\nX-Theirs: 1\r\nContent-Length: 3\r\n\r\nabc"
                .to_vec(),
        ),
        _ => Reply::Send(answer("500 Oops", "theirs")),
    };
    let peer = Peer::http(backend).await;
    let (sluice, mut client) = serving(filtered(&[peer.address], pages(true))).await;
    let gone = client.get("a", "/gone").await;
    assert_eq!((gone.status(), gone.text(), gone.field("x-theirs")), (404, "<h1>lost</h1>", Some("1")));
    for name in ["content-encoding", "etag", "digest", "repr-digest", "content-digest", "content-md5"] {
        assert_eq!(gone.field(name), None, "{name}");
    }
    assert_eq!(client.get("a", "/long").await.text(), "<h1>lost</h1>");
    assert_eq!(client.get("a", "/").await.text(), "theirs", "there is no page for it");
    assert_eq!(sluice.answers("web", Some("site"), "404"), 2);
    assert_eq!(sluice.publish(&filtered(&[peer.address], pages(false)).into()), []);
    assert_eq!(client.get("a", "/gone").await.text(), "abc");
}
