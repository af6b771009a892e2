//! 421: a request for a host that belongs to another certificate than the connection it came on.

use http_body_util::BodyExt;
use hyper::{Request, StatusCode};

use crate::support::asked::web;
use crate::support::tls::{Client, cert};
use crate::support::{Peer, Sluice, Wire, soon};
use crate::{full, h2, secure};

#[tokio::test]
async fn an_http1_connection_is_for_the_hosts_of_its_certificate() {
    let peer = Peer::named("one").await;
    let (ours, theirs) = (cert(&["a.test", "b.test"]), cert(&["c.test"]));
    let sluice = Sluice::start(secure(&[("ours", &ours), ("theirs", &theirs)], &peer)).await;
    let address = sluice.address(web()).await;
    let mut wire = Wire::new(Client::offering(&["http/1.1"]).connect(address, "a.test").await);
    for (host, status) in
        [("a.test", 200), ("b.test:443", 200), ("c.test", 421), ("C.test", 421), ("c.test", 421), ("b.test", 200)]
    {
        assert_eq!(wire.get(host, "/").await.status(), status, "{host}");
    }
    // Without a name the first certificate answers, and for its hosts the connection is.
    let mut wire = Wire::new(Client::offering(&["http/1.1"]).connect(address, "127.0.0.1").await);
    for (host, status) in [("127.0.0.1", 200), ("a.test", 200), ("c.test", 421)] {
        assert_eq!(wire.get(host, "/").await.status(), status, "{host}");
    }
    assert_eq!(sluice.answers("web", None, "421"), 4);
    assert_eq!(sluice.answers("web", Some("site"), "200"), 5);
    assert!(peer.requests().iter().all(|request| request.field("host") != Some("c.test")));
}

#[tokio::test]
async fn http2_requests_share_a_connection_within_a_certificate_alone() {
    let peer = Peer::named("one").await;
    let (ours, theirs) = (cert(&["a.test", "*.a.test"]), cert(&["x.a.test"]));
    let sluice = Sluice::start(secure(&[("ours", &ours), ("theirs", &theirs)], &peer)).await;
    let mut client = h2(&sluice).await;
    for (host, status) in [("a.test", 200), ("y.a.test", 200), ("x.a.test", 421), ("a.test", 200)] {
        let request = Request::get(format!("https://{host}/")).body(full("")).unwrap();
        let response = soon("an answer", client.send_request(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::from_u16(status).unwrap(), "{host}");
        soon("the body", response.into_body().collect()).await.unwrap();
    }
    assert_eq!(sluice.listener(web()).accepted(), 1, "421 ends no connection");
}
