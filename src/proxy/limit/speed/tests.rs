//! Rates are kept, whatever the sizes and the number of those that share one.

use std::future::poll_fn;

use super::*;
use crate::model::intent::ListenerKey;
use crate::model::live::Live;

const SECONDS: u64 = 5;

fn limits(own: u64, all: u64) -> Limits {
    Limits { connection_bandwidth: NonZeroU64::new(own), bandwidth: NonZeroU64::new(all), ..Limits::default() }
}

fn listener() -> Arc<ListenerState> {
    Live::new(1).listener(&ListenerKey::tcp("127.0.0.1:0".parse().unwrap()))
}

/// Sends in pieces of this size for some seconds: how many bytes went, and how often it waited.
async fn send(speed: &Rc<Speed>, from: Side, piece: usize) -> (u64, u64) {
    let (mut pace, end) = (speed.pace(), Instant::now() + Duration::from_secs(SECONDS));
    let (mut sent, mut waited) = (0, 0);
    loop {
        let mut turns = 0;
        let allowance = poll_fn(|cx| {
            turns += 1;
            pace.allowance(from, cx)
        });
        let Ok(allowed) = tokio::time::timeout_at(end, allowance).await else { return (sent, waited) };
        assert!(allowed > 0);
        waited += u64::from(turns > 1);
        let bytes = piece.min(allowed);
        pace.spent(from, bytes);
        sent += bytes as u64;
    }
}

fn is_near(sent: u64, rate: u64) -> bool {
    let expected = rate * SECONDS;
    sent.abs_diff(expected) * 100 <= expected * 5
}

#[tokio::test(start_paused = true)]
async fn one_connection_keeps_to_its_rate_in_each_direction() {
    for rate in [20_000, 1_000_000, 100_000_000, 2_000_000_000] {
        // Small pieces where they do not make millions.
        for piece in [if rate <= 1_000_000 { 100 } else { 16_384 }, 65_536, usize::MAX] {
            let speed = Speed::at(Instant::now(), &limits(rate, 0), &listener()).unwrap();
            let (up, down) = tokio::join!(send(&speed, Side::Client, piece), send(&speed, Side::Backend, piece));
            assert!(is_near(up.0, rate) && is_near(down.0, rate), "{rate} {piece}: {up:?} {down:?}");
            // Never so often as once a piece: a turn is worth some milliseconds.
            assert!(up.1 <= SECONDS * 1000 / 18 + SECONDS * rate / MOST, "{rate} {piece}: waited {} times", up.1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_connections_keep_to_the_listener_s_rate_together() {
    let (state, epoch) = (listener(), Instant::now());
    let speeds: Vec<_> = (0..40).map(|_| Speed::at(epoch, &limits(0, 1_000_000), &state).unwrap()).collect();
    let all = futures_util::future::join_all(speeds.iter().map(|speed| send(speed, Side::Backend, 65_536))).await;
    let sent: u64 = all.iter().map(|(sent, _)| sent).sum();
    assert!(is_near(sent, 1_000_000), "{sent}");
    let (least, most) = (all.iter().map(|a| a.0).min().unwrap(), all.iter().map(|a| a.0).max().unwrap());
    assert!(most - least <= 60_000, "{least} to {most}: each has its turn");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_held_by_the_tighter_of_both() {
    for (own, all) in [(100_000, 1_000_000), (1_000_000, 100_000)] {
        let speed = Speed::at(Instant::now(), &limits(own, all), &listener()).unwrap();
        let (sent, _) = send(&speed, Side::Client, usize::MAX).await;
        assert!(is_near(sent, 100_000), "{sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_over_an_allowance_is_paid_for() {
    let speed = Speed::at(Instant::now(), &limits(1_000_000, 0), &listener()).unwrap();
    let (mut pace, begun) = (speed.pace(), Instant::now());
    for _ in 0..10 {
        poll_fn(|cx| pace.allowance(Side::Backend, cx)).await;
        pace.spent(Side::Backend, 200_000);
    }
    poll_fn(|cx| pace.allowance(Side::Backend, cx)).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1850) && took <= Duration::from_millis(2050), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_connection_leaves_the_others_have() {
    let (state, epoch) = (listener(), Instant::now());
    let asked = limits(0, 1000);
    let speed = Speed::at(epoch, &asked, &state).unwrap();
    // A hundred that ask and send nothing would have paid for minutes.
    for _ in 0..100 {
        let mut pace = speed.pace();
        let _ = futures_util::poll!(poll_fn(|cx| pace.allowance(Side::Client, cx)));
    }
    let mut pace = speed.pace();
    poll_fn(|cx| pace.allowance(Side::Client, cx)).await;
    assert!(epoch.elapsed() <= Duration::from_secs(2), "{:?}", epoch.elapsed());
    assert!(Speed::at(epoch, &Limits::default(), &state).is_none());
}

#[tokio::test(start_paused = true)]
async fn who_holds_connections_and_sends_nothing_slows_nobody_down() {
    let (state, epoch) = (listener(), Instant::now());
    let speed = Speed::at(epoch, &limits(0, 10_000_000), &state).unwrap();
    let mut idle = Vec::new();
    for _ in 0..500 {
        let mut pace = speed.pace();
        for side in [Side::Client, Side::Backend] {
            let _ = futures_util::poll!(poll_fn(|cx| pace.allowance(side, cx)));
        }
        idle.push(pace);
    }
    let mut pace = speed.pace();
    poll_fn(|cx| pace.allowance(Side::Client, cx)).await;
    assert!(epoch.elapsed() <= Duration::from_millis(100), "{:?}", epoch.elapsed());
}
