//! Certificates change while handshakes are made, and no client notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use crate::secure;
use crate::support::asked::web;
use crate::support::tls::{Client, Manner, cert, cert_with, showed};
use crate::support::{Peer, Sluice, Wire};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_handshakes_during_swaps_and_none_fails() {
    const CLIENTS: usize = 8;
    const EACH: usize = 40;
    let peer = Peer::named("one").await;
    let certs: Vec<_> = (0..4).map(|_| cert(&["a.test"])).collect();
    let rsa = cert_with(&["a.test"], &rcgen::PKCS_RSA_SHA256);
    let asked = |n: usize| match n % 3 {
        // One alone, beside one of another kind, and beside one of another name.
        0 => secure(&[("a", &certs[n % 4])], &peer),
        1 => secure(&[("a", &certs[n % 4]), ("rsa", &rsa)], &peer),
        _ => secure(&[("a", &certs[n % 4]), ("b", &certs[(n + 1) % 4])], &peer),
    };
    let sluice = Sluice::start_with(2, asked(0)).await;
    let address = sluice.address(web()).await;
    let known = Arc::new([certs.clone(), vec![rsa.clone()]].concat());
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let known = known.clone();
        clients.spawn(async move {
            let (mut seen, rsa_only) = (vec![false; known.len()], number % 4 == 3);
            for _ in 0..EACH {
                // A client that remembers nothing, so that every handshake is a full one. One that verifies RSA alone
                // is refused only while there is no such certificate.
                let client = Client::new(Manner { rsa_only, ..Manner::default() });
                let Ok(stream) = client.try_connect(address, "a.test").await else {
                    assert!(rsa_only, "a handshake failed");
                    continue;
                };
                let shown = known.iter().position(|cert| showed(&stream, cert)).expect("one of ours");
                seen[shown] = true;
                assert_eq!(Wire::new(stream).get("a.test", "/").await.text(), "one");
            }
            seen
        });
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut swaps = 0;
    let mut seen = vec![false; known.len()];
    while !done.load(Ordering::Relaxed) {
        swaps += 1;
        assert_eq!(sluice.publish(&asked(swaps).into()), []);
        tokio::select! {
            ended = clients.join_next() => match ended {
                Some(ended) => seen.iter_mut().zip(ended.unwrap()).for_each(|(all, one)| *all |= one),
                None => done.store(true, Ordering::Relaxed),
            },
            () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {}
        }
    }
    assert!(swaps >= 20, "{swaps} swaps in {} handshakes", CLIENTS * EACH);
    assert!(seen.iter().filter(|seen| **seen).count() >= 3, "the certificates did change: {seen:?}");
}
