//! Frames that carry nothing, in masses.

use sluice::model::outcome::Outcome;
use sluice::net::h2_frames::{ENHANCE_YOUR_CALM, GOAWAY, SETTINGS};

use crate::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, Raw, WINDOW_UPDATE, field, frame,
    get, request,
};
use crate::site::Site;
use crate::support::asked::web;

/// What a budget of control lets through at most: twice what it holds, and what flows in within a minute.
const BOUND: usize = 2 * 1000 + 60 * 50;

/// Sends a frame again and again, until the connection ends; how often it could, and how it ended.
async fn flood(site: &Site, flood: &[u8]) -> (usize, Option<u32>) {
    let mut raw = Raw::connect(site.address, &[]).await;
    // Streams that some frames are about: one idle, one half open.
    let open = raw.request(0, &request("POST", "/hang")).await.unwrap();
    assert_eq!(open, 1);
    // Sent by the hundred, so that a bound on how often is one on how much was read.
    let many = flood.repeat(100);
    let mut sent = 0;
    while sent < 100_000 && raw.bytes(&many).await.is_ok() {
        sent += 100;
        tokio::task::yield_now().await;
    }
    (sent, raw.ended().await)
}

#[tokio::test]
async fn control_frames_in_masses_end_their_connection() {
    let floods = [
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
        ("PRIORITY", frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE of nothing much", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("WINDOW_UPDATE of a stream", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("RST_STREAM", frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])),
        ("unknown", frame(0xee, 0, 0, b"?")),
        ("empty DATA", frame(DATA, 0, 1, &[])),
    ];
    let site = Site::usual().await;
    for (number, (name, bytes)) in floods.iter().enumerate() {
        let (sent, code) = site.under(flood(&site, bytes)).await;
        assert!(sent < 100_000, "{name}: it went on for ever");
        // A reset overtakes the farewell where more was sent than read.
        assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{name}: {code:?}");
        site.ended(Outcome::Flood, number as u64 + 1).await;
    }
}

/// One at a time: the answers show how many were read, and nothing is in the way of the farewell.
#[tokio::test]
async fn no_more_pings_are_answered_than_the_budget_holds() {
    let site = Site::usual().await;
    let mut raw = Raw::connect(site.address, &[]).await;
    let (mut pongs, mut code) = (0, None);
    let ping = frame(PING, 0, 0, &[0; 8]);
    for _ in 0..BOUND {
        if raw.bytes(&ping).await.is_err() {
            break;
        }
        match raw.until(|head| head.kind == PING || head.kind == GOAWAY).await {
            Some((head, payload)) if head.kind == GOAWAY => {
                code = Some(u32::from(payload[7]));
                break;
            }
            Some(_) => pongs += 1,
            None => break,
        }
    }
    assert!((900..BOUND).contains(&pongs), "{pongs}");
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
    site.ended(Outcome::Flood, 1).await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let site = Site::usual().await;
    // Empty ones (CVE-2024-27316 and its like), and such as carry a field each.
    for (number, payload) in [Vec::new(), field("x-more", &"y".repeat(1000))].iter().enumerate() {
        let sent = site
            .under(async {
                let mut raw = Raw::connect(site.address, &[]).await;
                let stream = raw.stream();
                raw.frame(HEADERS, END_STREAM, stream, &get("/")).await.unwrap();
                let mut sent = 0;
                while sent < 10_000 && raw.frame(CONTINUATION, 0, stream, payload).await.is_ok() {
                    sent += 1;
                    tokio::task::yield_now().await;
                }
                let code = raw.ended().await;
                assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{code:?}");
                sent
            })
            .await;
        assert!(sent < 10_000, "it went on for ever");
        site.ended(Outcome::Flood, number as u64 + 1).await;
    }
    let paths: Vec<_> = site.peer.requests().iter().map(|request| request.fields("x-more").len()).collect();
    assert!(paths.iter().all(|more| *more == 0), "the head came to nobody");
}

/// A few bytes that stand for megabytes (RFC 7541 §7.3).
#[tokio::test]
async fn a_bomb_of_packed_fields_does_not_unfold() {
    let site = Site::usual().await;
    site.under(async {
        let mut raw = Raw::connect(site.address, &[]).await;
        let stream = raw.stream();
        let mut head = get("/bomb");
        // One field of 4,000 bytes into the table, and then its number, again and again: 60 MB.
        head.push(0x40);
        head.extend(crate::raw::string("x-bomb"));
        head.extend(crate::raw::string(&"b".repeat(3900)));
        head.extend(vec![0xbe; 12_000]);
        raw.frame(HEADERS, END_STREAM | END_HEADERS, stream, &head).await.unwrap();
        // It is refused, or its connection ended.
        let code = raw.ended().await;
        assert_eq!(code, Some(ENHANCE_YOUR_CALM));
    })
    .await;
    assert!(site.peer.requests().iter().all(|request| !request.first_line().contains("bomb")));
    assert_eq!(site.sluice.listener(web()).ended(Outcome::Flood), 1);
}
