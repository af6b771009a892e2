//! What clients send comes into the log as text, if at all: no line of theirs, no colour, no bell.

use crate::process::Process;
use crate::raw::{END_STREAM, Raw, field, get};
use crate::support::{Peer, Wire};

#[tokio::test]
async fn nothing_that_clients_send_forges_a_line_of_the_log() {
    let peer = Peer::named("one").await;
    let process = Process::start(peer.address, "trace,hyper=off,h2=off,mio=off,rustls=info").await;
    let forged = "\r\nFORGED \x1b[31m\x07line";
    for request in [
        format!("GET /{forged} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        "GET /\nFORGED HTTP/1.1\nHost: a.test\n\n".to_owned(),
        "GET /\x1b[31mFORGED HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a.test\x1b[31m\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: a\x1b[31m\rFORGED\x07\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a.test\r\nX\x1b[31m: b\r\n\r\n".to_owned(),
        "\x1b[31m\x07\r\nFORGED\r\n\r\n".to_owned(),
        "GET /%0d%0aFORGED%1b%5b31m HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(),
    ] {
        for address in [process.http, process.https] {
            let mut wire = Wire::to(address).await;
            let _ = wire.try_send(&request).await;
            let _ = wire.finish_quietly().await;
            wire.end().await;
        }
    }
    for head in [
        [get("/"), field("x-a", forged)].concat(),
        get(&format!("/{forged}")),
        [get("/"), field(forged, "a")].concat(),
        [field(":authority", forged), get("/")].concat(),
    ] {
        let mut raw = Raw::connect(process.https, &[]).await;
        raw.request(END_STREAM, &head).await.unwrap();
        raw.settled().await;
    }
    let written = process.written();
    let text = String::from_utf8_lossy(&written);
    assert!(text.contains("tls"), "the log is written: {text}");
    assert!(!written.iter().any(|byte| *byte < 0x20 && *byte != b'\n'), "bytes of control: {text}");
    assert!(!text.lines().any(|line| line.trim_start().starts_with("FORGED")), "{text}");
}
