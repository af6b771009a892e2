//! Checks follow the snapshot and verdicts stay with their key.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::*;
use crate::model::compile::compile;
use crate::model::intent::{Backend, Intent, Pool, PoolName, Probe};
use crate::model::live::Live;
use crate::model::live::probe::Verdict;
use crate::model::problem::Origin;

fn intent(address: SocketAddr, weight: u16) -> Intent {
    let mut pool = Pool::new(Origin::new("test", "pool p"));
    pool.probe = Some(Probe { every: Duration::from_millis(20), ..Probe::default() });
    pool.backends = vec![Backend { weight, ..Backend::new(address) }];
    let mut intent = Intent::default();
    intent.pools.insert(PoolName::new("p"), Arc::new(pool));
    intent
}

async fn eventually(snapshots: &Snapshots, verdict: Verdict) {
    let found = || snapshots.current().pools[&PoolName::new("p")].backends[0].probe.as_ref().map(|p| p.verdict());
    tokio::time::timeout(Duration::from_secs(10), async {
        while found() != Some(verdict) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("never became {verdict:?}"));
}

#[tokio::test]
async fn a_backend_goes_down_stays_down_over_a_swap_and_comes_back() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (live, snapshots) = (Arc::new(Live::new(1)), Arc::new(Snapshots::default()));
    let publish = |weight| {
        let previous = snapshots.current();
        snapshots.publish(compile(&intent(address, weight), &previous, &live).0);
    };
    let (_trigger, drain) = drain::channel();
    let story = async {
        publish(1);
        eventually(&snapshots, Verdict::Up).await;
        drop(socket);
        eventually(&snapshots, Verdict::Down).await;
        publish(2);
        let probe = snapshots.current().pools[&PoolName::new("p")].backends[0].probe.clone().unwrap();
        assert_eq!(probe.verdict(), Verdict::Down, "a changed weight keeps the verdict");
        assert!(probe.reason().unwrap().contains("cannot connect"));
        let _again = TcpListener::bind(address).await.unwrap();
        eventually(&snapshots, Verdict::Up).await;
        assert_eq!(probe.reason(), None);
    };
    tokio::select! {
        () = follow(snapshots.clone(), live.clone(), drain) => unreachable!("the drain has not begun"),
        () = story => {}
    }
}
