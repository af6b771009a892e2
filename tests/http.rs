//! HTTP through a whole proxy: what backends and clients really see on their wires.

mod support;

use support::asked::web;
use support::{Asked, Peer, Sluice, Wire};

#[tokio::test]
async fn one_connection_serves_many_requests_on_both_sides() {
    let peer = Peer::named("one").await;
    let sluice = Sluice::start(Asked::site(&[peer.address])).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for _ in 0..20 {
        let answer = client.get("shop.test", "/").await;
        assert_eq!((answer.status(), answer.text()), (200, "one"));
    }
    assert_eq!(peer.connections(), 1);
    assert_eq!(sluice.answers("web", Some("site"), "200"), 20);
    assert_eq!(sluice.pool("site").durations().count(), 20);
}
