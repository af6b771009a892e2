//! Requests that are begun and broken off, by the client or by a rule that it breaks.

use sluice::model::outcome::Outcome;
use sluice::net::h2_frames::{ENHANCE_YOUR_CALM, GOAWAY};

use crate::raw::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PRIORITY, RST_STREAM, Raw, WINDOW_UPDATE, frame, get, request,
};
use crate::site::Site;
use crate::support::eventually;

/// How many requests may be broken off at most: twice the budget, and what flows in within a minute.
const BOUND: usize = 2 * 200 + 60 * 10;

/// How a stream that was opened is brought to its end.
type Break = fn(u32) -> Vec<u8>;

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

/// A stream that depends on itself, which we must reset (RFC 9113 §5.3.1).
fn depend_on_itself(stream: u32) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[1]].concat())
}

/// A window that overflows, which we must reset as well (§6.9.1).
fn overflow(stream: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]).repeat(2)
}

/// Opens streams and breaks each off once it was taken, until the connection ends. How many, and what was said.
async fn one_by_one(site: &Site, broken: Break) -> (usize, Option<u32>) {
    let mut raw = Raw::connect(site.address, &[]).await;
    for begun in 0..2 * BOUND {
        let opened = raw.request(0, &request("POST", "/hang")).await;
        let Ok(stream) = opened else { return (begun, raw.ended().await) };
        if !raw.settled().await || raw.bytes(&broken(stream)).await.is_err() {
            return (begun, raw.ended().await);
        }
    }
    (2 * BOUND, None)
}

#[tokio::test]
async fn requests_broken_off_one_by_one_end_their_connection() {
    let site = Site::usual().await;
    let all: [(&str, Break); 3] = [("reset", reset), ("depends on itself", depend_on_itself), ("overflow", overflow)];
    for (number, (name, broken)) in all.into_iter().enumerate() {
        let before = site.peer.connections();
        let (begun, code) = site.under(one_by_one(&site, broken)).await;
        assert!((150..BOUND).contains(&begun), "{name}: {begun} were begun");
        assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{name}: {code:?}");
        site.ended(Outcome::Flood, number as u64 + 1).await;
        let reached = site.peer.connections() - before;
        assert!(reached < BOUND, "{name}: {reached} came to the backend");
        eventually("the backend to be let go of", || (site.under_way() == 0).then_some(())).await;
    }
}

/// CVE-2023-44487: all at once, so that nobody sees a stream before it is gone.
#[tokio::test]
async fn requests_broken_off_in_masses_end_their_connection() {
    let site = Site::usual().await;
    let code = site
        .under(async {
            let mut raw = Raw::connect(site.address, &[]).await;
            let mut bytes = Vec::new();
            for stream in (1..20_000).step_by(2) {
                bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &get("/hang")));
                bytes.extend(reset(stream));
            }
            // It may end before all is sent.
            let _ = raw.bytes(&bytes).await;
            raw.ended().await
        })
        .await;
    assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{code:?}");
    site.ended(Outcome::Flood, 1).await;
    assert!(site.peer.connections() < BOUND, "{} came to the backend", site.peer.connections());
    eventually("the backend to be let go of", || (site.under_way() == 0).then_some(())).await;
}

/// A frame on a stream that its client has ended is that client's fault alone.
#[tokio::test]
async fn data_after_the_end_of_a_stream_harms_nobody() {
    let site = Site::usual().await;
    site.under(async {
        let mut raw = Raw::connect(site.address, &[]).await;
        for _ in 0..100 {
            let Ok(stream) = raw.request(END_STREAM, &get("/")).await else { break };
            if raw.frame(DATA, 0, stream, b"more").await.is_err() {
                break;
            }
        }
        let _ = raw.frame(GOAWAY, 0, 0, &[0; 8]).await;
        raw.ended().await;
    })
    .await;
}

/// Who leaves a page resets much; who also gets answers may go on for ever.
#[tokio::test]
async fn a_client_that_changes_its_mind_is_no_attacker() {
    let site = Site::usual().await;
    let mut raw = Raw::connect(site.address, &[]).await;
    for _ in 0..300 {
        let stream = raw.request(END_STREAM, &get("/hang")).await.unwrap();
        raw.bytes(&reset(stream)).await.unwrap();
        let stream = raw.request(END_STREAM, &get("/")).await.unwrap();
        let end = |head: &sluice::net::h2_frames::Head| head.stream == stream && head.flags & END_STREAM != 0;
        raw.until(end).await.expect("its answer");
    }
    assert_eq!(site.sluice.listener(crate::support::asked::web()).ended(Outcome::Flood), 0);
}
