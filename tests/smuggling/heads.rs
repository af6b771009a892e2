//! HTTP/1 heads and bodies.

use sluice::model::outcome::Outcome;

use super::strict::Strict;
use crate::support::asked::web;
use crate::support::{Asked, Sluice, Wire};

/// What is hidden in bodies: it must never come to be a request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
/// Comes after each.
pub(crate) const BEHIND: &str = "GET /behind HTTP/1.1\r\nHost: a\r\n\r\n";

/// What must become of a request.
pub(crate) enum Fate {
    /// An answer 4xx, nothing at the backend, and the connection ends.
    Refused,
    /// The backend sees exactly this and then what is behind.
    Served(&'static str),
    /// Its head is good and its body is not: no whole request at the backend, and the connection ends.
    Cut,
}
use Fate::{Cut, Refused, Served};

/// A `POST /v` with these lines of fields and this body.
fn post(fields: &str, body: &str) -> String {
    format!("POST /v HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}")
}

/// One whose length leads into the hidden request, if it is believed.
fn by_length(field: &str) -> String {
    let body = format!("0\r\n\r\n{HIDDEN}");
    post(&format!("Content-Length: {}\r\n{field}", body.len()), &body)
}

/// One with a chunked body under this coding.
fn by_coding(field: &str) -> String {
    post(field, "2\r\nok\r\n0\r\n\r\n")
}

/// One whose chunks are these.
fn chunked(chunks: &str) -> String {
    post("Transfer-Encoding: chunked", chunks)
}

pub(crate) fn vectors() -> Vec<(String, Fate)> {
    let mut all = Vec::new();
    // Both framings, in either order and in other spellings.
    for field in [
        "Transfer-Encoding: chunked",
        "transfer-encoding: CHUNKED",
        "Transfer-Encoding:chunked",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: chunked\t",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: \x0cchunked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "\tTransfer-Encoding: chunked",
        "X: x\r\n Transfer-Encoding: chunked",
        "X: x\nTransfer-Encoding: chunked",
        "X: x\rTransfer-Encoding: chunked",
        "Transfer-Encoding\r\n: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\n chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:",
        "Transfer-\0Encoding: chunked",
        "Transfer-Encoding\u{a0}: chunked",
    ] {
        all.push((by_length(field), Refused));
    }
    let reversed = format!("Transfer-Encoding: chunked\r\nContent-Length: {}", 5 + HIDDEN.len());
    all.push((post(&reversed, &format!("0\r\n\r\n{HIDDEN}")), Refused));
    all.push((
        post("Content-Length: 4\r\nTransfer-Encoding: chunked", &format!("24\r\n{HIDDEN}\r\n0\r\n\r\n")),
        Refused,
    ));
    // Aliases of framing fields are no framing fields, and never arrive.
    let served = "POST /v 0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a";
    for field in ["Transfer_Encoding: chunked", "Transfer.Encoding: chunked", "Content_Length: 3", "Content.Length: 3"]
    {
        all.push((by_length(field), Served(served)));
    }
    // Codings alone.
    for field in ["Transfer-Encoding: chunked", "Transfer-Encoding: Chunked", "Transfer-Encoding:\tchunked \t"] {
        all.push((by_coding(field), Served("POST /v ok")));
    }
    for field in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked-not",
    ] {
        all.push((by_coding(field), Refused));
    }
    all.push((by_coding("Transfer-Encoding: chunked").replace("HTTP/1.1", "HTTP/1.0"), Refused));
    // Lengths.
    for length in [
        "+2",
        "-2",
        "2 2",
        "2,2",
        "2, 3",
        "0x2",
        "2.",
        "2e0",
        "\"2\"",
        "",
        "18446744073709551618",
        "2\0",
        "\x0c2",
        "2\r\n 0",
        "2\r\nContent-Length: 2",
        "2\r\nContent-Length: 3",
        "2\r\ncontent-length:2",
        "２",
    ] {
        all.push((post(&format!("Content-Length: {length}"), "ok"), Refused));
    }
    all.push((post("Content-Length : 2", "ok"), Refused));
    all.push((post("Content-Length: 2", "ok"), Served("POST /v ok")));
    all.push((post("Content-Length:\t2 ", "ok"), Served("POST /v ok")));
    all.push((post("Content-Length: 002", "ok"), Served("POST /v ok")));
    // Chunks.
    all.push((chunked("2;a=b;c=\"d\"\r\nok\r\n0;x\r\n\r\n"), Served("POST /v ok")));
    all.push((chunked("02\r\nok\r\n000\r\n\r\n"), Served("POST /v ok")));
    let announced = "Transfer-Encoding: chunked\r\nTrailer: X-Sum, Host, Content-Length";
    all.push((post(announced, "2\r\nok\r\n0\r\nX-Sum: 7\r\nHost: b\r\n\r\n"), Served("POST /v ok [x-sum: 7]")));
    let forged = "Content-Length: 9\r\nTransfer-Encoding: x\r\nHost: b\r\nAuthorization: x\r\nX_Forwarded_For: 6.6.6.6";
    let announced = "Transfer-Encoding: chunked\r\nTrailer: Content-Length, Transfer-Encoding, Host, Authorization";
    all.push((post(announced, &format!("2\r\nok\r\n0\r\n{forged}\r\n\r\n")), Served("POST /v ok")));
    for chunks in [
        "2;a\nb\r\nok\r\n0\r\n\r\n",
        "2\nok\r\n0\r\n\r\n",
        "2\r\nok\n0\r\n\r\n",
        "2\r\nokay\r\n0\r\n\r\n",
        "3\r\nok\r\n0\r\n\r\n",
        "+2\r\nok\r\n0\r\n\r\n",
        "-2\r\nok\r\n0\r\n\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        " 2\r\nok\r\n0\r\n\r\n",
        "\r\n2\r\nok\r\n0\r\n\r\n",
        "2 2\r\nok\r\n0\r\n\r\n",
        "g\r\nok\r\n0\r\n\r\n",
        "10000000000000002\r\nok\r\n0\r\n\r\n",
        "fffffffffffffffffff2\r\nok\r\n0\r\n\r\n",
        ";\r\nok\r\n0\r\n\r\n",
        "2\r\r\nok\r\n0\r\n\r\n",
        "2\r\nok\r\n0\r\nX: a\0b\r\n\r\n",
        "2\r\nok\r\n0\r\nX : b\r\n\r\n",
        // hyper would go on to the next empty line, and what stands before it would be lost.
        "2\r\nok\r\n0\r\nX: y\n\r\n",
        "2\r\nok\r\n0\r\nX: y\n\n",
        "2\r\nok\r\n0\r\n\n",
        "2\r\nok\r\n0\r\nX: y\r\n\n",
    ] {
        all.push((chunked(chunks), Cut));
    }
    // Bodies that look like requests, where few expect a body.
    let get = format!("GET /v HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len());
    all.push((get, Served("GET /v GET /hidden HTTP/1.1\r\nHost: a")));
    all.push((
        format!(
            "GET /v HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{HIDDEN}\r\n0\r\n\r\n",
            HIDDEN.len()
        ),
        Served("GET /v GET /hidden HTTP/1.1\r\nHost: a"),
    ));
    // Fields that Connection may not take away.
    for named in ["Content-Length", "close-not, content-length", "Host"] {
        all.push((post(&format!("Connection: {named}\r\nContent-Length: 2"), "ok"), Served("POST /v ok")));
    }
    all.push((by_coding("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked"), Served("POST /v ok")));
    all.push((
        post(
            "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 2",
            "ok",
        ),
        Served("POST /v ok"),
    ));
    // Request lines and hosts.
    for head in [
        "GET /v HTTP/1.1\nHost: a\r\n\r\n",
        "GET /v HTTP/1.1\r\nHost: a\n\r\n",
        "GET /v HTTP/1.1\r\nHost: a\r\n\n",
        "GET  /v HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\t/v\tHTTP/1.1\r\nHost: a\r\n\r\n",
        " GET /v HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /v HTTP/1.1\rHost: a\r\n\r\n",
        "GET /v HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET /v HTTP/01.1\r\nHost: a\r\n\r\n",
        "GET /v http/1.1\r\nHost: a\r\n\r\n",
        "GET /v\r\nHost: a\r\n\r\n",
        "GET /v HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET /v HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET /v HTTP/1.1\r\nHost: a\0\r\n\r\n",
        "GET /v HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /v HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET /v HTTP/1.1\r\nX: y\r\n\r\n",
        "GET http://b/v HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a@b/v HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET /v\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "G(T /v HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "TRACE /v HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        all.push((head.to_owned(), Refused));
    }
    all.push(("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), Refused));
    all.push(("\r\nGET /v HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Served("GET /v")));
    all.push(("GET http://A/v HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Served("GET /v")));
    all.push(("GET http://a#v HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Served("GET /")));
    all
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_not_forwarded_and_nothing_is_multiplied() {
    let backend = Strict::start().await;
    let sluice = Sluice::start(Asked::site(&[backend.peer.address])).await;
    let address = sluice.address(web()).await;
    let mut beside = Wire::to(address).await;
    let vectors = vectors();
    assert!(vectors.len() >= 100);
    for (bytes, fate) in &vectors {
        let mut client = Wire::to(address).await;
        assert_eq!(client.get("a", "/before").await.text(), "GET /before", "{bytes:?}");
        client.send(format!("{bytes}{BEHIND}")).await;
        let answer = client.message().await;
        match fate {
            Served(request) => {
                let answer = answer.unwrap_or_else(|| panic!("no answer to {bytes:?}"));
                assert_eq!((answer.status(), answer.text()), (200, *request), "{bytes:?}");
                let behind = client.message().await.unwrap_or_else(|| panic!("no answer behind {bytes:?}"));
                assert_eq!(behind.text(), "GET /behind", "{bytes:?}");
            }
            Refused | Cut => {
                let status = answer.map(|answer| answer.status());
                let fits = match fate {
                    Refused => status.is_some_and(|status| (400..500).contains(&status)),
                    _ => status.is_none_or(|status| status >= 400),
                };
                assert!(fits, "{status:?} to {bytes:?}");
                assert_eq!(client.rest().await.0, b"", "the connection goes on after {bytes:?}");
            }
        }
        assert_eq!(beside.get("a", "/beside").await.text(), "GET /beside", "beside {bytes:?}");
        let expected: &[&str] = match fate {
            Served(request) => &["GET /before", request, "GET /behind", "GET /beside"],
            Refused | Cut => &["GET /before", "GET /beside"],
        };
        assert_eq!(backend.requests(), expected, "{bytes:?}");
    }
    assert!(sluice.listener(web()).ended(Outcome::Malformed) > 0);
}

/// HTTP/2 in the clear begins a connection, or does not begin.
#[tokio::test]
async fn the_first_words_of_http2_count_only_as_the_first() {
    let backend = Strict::start().await;
    let sluice = Sluice::start(Asked::site(&[backend.peer.address])).await;
    let address = sluice.address(web()).await;
    for before in
        ["\r\n", "\n", "POST /v HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n\n\r\n", "GET / HTTP/9\r\n\r\n"]
    {
        let mut client = Wire::to(address).await;
        let _ = client.try_send(format!("{before}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).await;
        let answer = client.message().await.unwrap_or_else(|| panic!("no answer behind {before:?}"));
        assert_eq!(answer.status(), 400, "behind {before:?}");
        assert_eq!(client.rest().await.0, b"", "behind {before:?}");
    }
    assert_eq!(backend.requests(), [""; 0]);
}

/// The same bytes in two pieces, cut anywhere.
#[tokio::test]
async fn a_head_in_pieces_means_what_it_means_whole() {
    let backend = Strict::start().await;
    let sluice = Sluice::start(Asked::site(&[backend.peer.address])).await;
    let address = sluice.address(web()).await;
    for (bytes, ok) in [
        (by_length("Transfer-Encoding: chunked"), false),
        ("GET /v HTTP/1.1\r\nHost: a\nX: y\r\n\r\n".to_owned(), false),
        (by_coding("Transfer-Encoding: chunked"), true),
        (chunked(&format!("2\r\nok\r\n0\r\nX: y\n\r\n{BEHIND}")), false),
    ] {
        for at in (1..bytes.len()).step_by(7) {
            let mut client = Wire::to(address).await;
            client.send(&bytes[..at]).await;
            // What is refused may be so before its end came.
            let _ = client.try_send(&bytes[at..]).await;
            let answer = client.message().await.unwrap_or_else(|| panic!("no answer to {bytes:?} cut at {at}"));
            assert_eq!(answer.status() == 200, ok, "{bytes:?} cut at {at}");
        }
    }
    assert!(backend.requests().iter().all(|request| request == "POST /v ok"));
}
