//! Heads that are too much: too many fields, too long lines, in both versions.

use sluice::model::intent::{ClientLimits, Protocol};
use sluice::net::h2_frames::GOAWAY;

use crate::raw::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, Raw, field, get};
use crate::site::Site;
use crate::support::Wire;

#[tokio::test]
async fn too_much_of_a_head_is_refused_by_its_own_status() {
    let site = Site::with(Protocol::Http, ClientLimits::default()).await;
    let fields = |count: usize| "X-A: b\r\n".repeat(count);
    for (what, request, statuses) in [
        ("100 fields", format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n", fields(99)), &[200][..]),
        ("101 fields", format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n", fields(100)), &[431]),
        ("50,000 fields", format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n", fields(50_000)), &[431]),
        ("a long field", format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-A: {}\r\n\r\n", "b".repeat(70_000)), &[431]),
        ("a long target", format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "a".repeat(20_000)), &[414]),
        ("a longer one", format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "a".repeat(200_000)), &[414, 431]),
    ] {
        let mut wire = Wire::to(site.address).await;
        // It may be refused before all of it is sent.
        let _ = wire.try_send(&request).await;
        if let Some(answer) = wire.message().await {
            assert!(statuses.contains(&answer.status()), "{what}: {}", answer.status());
        } else {
            // A reset can overtake the answer to what was not read to its end.
            assert!(request.len() > 100_000, "{what}: no answer");
        }
    }
    assert_eq!(site.peer.requests().len(), 1, "the first one alone came through");
}

/// What the stream of a head of this size came to: its status in the body's words, or nothing.
async fn asked(site: &Site, head: &[u8]) -> Option<String> {
    let mut raw = Raw::connect(site.address, &[]).await;
    let stream = raw.stream();
    let mut pieces = head.chunks(16 * 1024).peekable();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let end = if kind == HEADERS { END_STREAM } else { 0 };
        raw.frame(kind, last | end, stream, piece).await.ok()?;
        kind = CONTINUATION;
    }
    let wanted = |kind: u8| matches!(kind, DATA | RST_STREAM | GOAWAY);
    loop {
        let (head, body) = raw.until(|head| wanted(head.kind) || head.flags & END_STREAM != 0).await?;
        match head.kind {
            DATA => return Some(String::from_utf8(body).unwrap()),
            HEADERS => return Some("a head alone".into()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn too_much_of_an_http2_head_is_refused_too() {
    let site = Site::usual().await;
    let with = |name: &str, value: &str, count: usize| [get("/"), field(name, value).repeat(count)].concat();
    site.under(async {
        assert_eq!(asked(&site, &with("x-a", "b", 100)).await.as_deref(), Some("well"));
        assert_eq!(asked(&site, &with("cookie", "a=b", 500)).await.as_deref(), Some("well"));
        let refused = asked(&site, &with("x-a", "b", 101)).await.unwrap();
        assert!(refused.starts_with("431 "), "{refused}");
        // h2 answers what is over its bound by itself, without a body, or ends the connection.
        for head in [with("x-a", &"b".repeat(1000), 99), with("x-a", "b", 30_000)] {
            let came = asked(&site, &head).await;
            assert!(came.as_deref().is_none_or(|came| came == "a head alone"), "{came:?}");
        }
    })
    .await;
}
