//! A proxy to be attacked, and a client beside the attack.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use sluice::model::intent::{ClientLimits, Protocol};
use sluice::model::outcome::Outcome;

use crate::support::asked::{pool, route, web};
use crate::support::peer::{answer, ok};
use crate::support::tls::{Client, cert};
use crate::support::{Asked, Peer, Reply, Sluice, Wire, eventually};

/// What the time of a slow client is in these tests.
pub(crate) const SOON: Duration = Duration::from_millis(600);

/// A proxy with an https listener before one backend.
pub(crate) struct Site {
    pub(crate) sluice: Sluice,
    pub(crate) address: SocketAddr,
    pub(crate) peer: Peer,
}

impl Site {
    /// With the usual limits.
    pub(crate) async fn usual() -> Self {
        Self::with(Protocol::Https, ClientLimits::default()).await
    }

    /// With other limits.
    pub(crate) async fn with(protocol: Protocol, limits: ClientLimits) -> Self {
        let peer = Peer::http(|request| match request.first_line().split(' ').nth(1).unwrap() {
            "/hang" => Reply::Hang,
            "/large" => Reply::Send(answer("200 OK", &"x".repeat(1024 * 1024))),
            "/huge" => Reply::Send(answer("200 OK", &"x".repeat(8 * 1024 * 1024))),
            _ => ok("well"),
        })
        .await;
        Self::before(peer, protocol, limits).await
    }

    /// Before this backend.
    pub(crate) async fn before(peer: Peer, protocol: Protocol, limits: ClientLimits) -> Self {
        let mut site = pool(&[peer.address]);
        site.timeouts.response = Duration::from_secs(60);
        site.retries = 0;
        let mut asked =
            Asked::default().listener(web(), "web", protocol, vec![route("*", "/", "site")]).pool("site", site);
        if protocol == Protocol::Https {
            asked = asked.cert(web(), "a", cert(&["a.test"]));
        }
        let sluice = Sluice::start(asked.change_listener(web(), |listener| listener.limits.client = limits)).await;
        let address = sluice.address(web()).await;
        Self { sluice, address, peer }
    }

    /// Runs an attack. Meanwhile a client asks again and again on one connection, and always gets its answer.
    pub(crate) async fn under<T>(&self, attack: impl Future<Output = T>) -> T {
        let stream = Client::offering(&["http/1.1"]).connect(self.address, "a.test").await;
        let mut wire = Wire::new(stream);
        let over = Cell::new(false);
        let attack = async {
            let done = attack.await;
            over.set(true);
            done
        };
        let asking = async {
            // The last one begins after the attack at the earliest.
            let mut last = false;
            while !last {
                last = over.get();
                assert_eq!(wire.get("a.test", "/").await.text(), "well");
                tokio::task::yield_now().await;
            }
        };
        let (done, ()) = tokio::join!(attack, asking);
        assert_eq!(wire_after(self.address).await, "well", "a new client is served too");
        done
    }

    /// Waits until so many connections ended so.
    pub(crate) async fn ended(&self, outcome: Outcome, times: u64) {
        let listener = self.sluice.listener(web());
        eventually(outcome.label(), || (listener.ended(outcome) >= times).then_some(())).await;
        assert_eq!(listener.ended(outcome), times, "{}", outcome.label());
    }

    /// Connections and requests under way at the backend.
    pub(crate) fn under_way(&self) -> u64 {
        let snapshot = self.sluice.snapshots.current();
        snapshot.pools.values().map(|pool| pool.backends[0].state.active()).sum()
    }
}

async fn wire_after(address: SocketAddr) -> String {
    let stream = Client::offering(&["http/1.1"]).connect(address, "a.test").await;
    Wire::new(stream).get("a.test", "/").await.text().to_owned()
}
