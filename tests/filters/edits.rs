//! What backends see: another path, another host, other fields.

use std::sync::Arc;

use sluice::model::host::Host;
use sluice::model::intent::Filters;
use sluice::model::intent::filter::{FieldEdits, PathEdit};

use crate::support::asked::{route, web};
use crate::support::{Asked, Peer, Reply, Sluice, Wire};
use crate::{filtered, started};

fn edits(remove: &[&str], set: &[(&str, &str)], add: &[(&str, &str)]) -> FieldEdits {
    let pairs = |all: &[(&str, &str)]| all.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
    FieldEdits { remove: remove.iter().map(|n| (*n).into()).collect(), set: pairs(set), add: pairs(add) }
}

#[tokio::test]
async fn a_prefix_is_taken_away_and_the_backend_is_told() {
    let peer = Peer::named("app").await;
    let filters = Filters { rewrite_path: Some(PathEdit::Prefix("/".into())), ..Filters::default() };
    let asked = Asked::site(&[peer.address]).change_listener(web(), |listener| {
        listener.routes = vec![route("*", "/app", "site")];
        listener.routes[0].filters = Some(Arc::new(filters));
    });
    let sluice = Sluice::start(asked).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for asked in ["/app/x?y=/app/z", "/app", "/app//evil.test/"] {
        assert_eq!(client.get("a.test", asked).await.status(), 200, "{asked}");
    }
    let seen: Vec<_> = peer.requests().iter().map(|request| request.first_line().to_owned()).collect();
    assert_eq!(seen, ["GET /x?y=/app/z HTTP/1.1", "GET / HTTP/1.1", "GET /evil.test/ HTTP/1.1"]);
    assert!(peer.requests().iter().all(|request| request.field("x-forwarded-prefix") == Some("/app")));
}

#[tokio::test]
async fn a_path_that_may_not_be_forwarded_is_refused_after_its_edit_too() {
    let peer = Peer::named("app").await;
    let edit = PathEdit::Regex { find: "^/v1/(.)x(.*)".into(), put: "/$1$2".into() };
    let (sluice, mut client) = started(&peer, Filters { rewrite_path: Some(edit), ..Filters::default() }).await;
    assert_eq!(client.get("a.test", "/v1/.x./etc").await.status(), 400);
    assert_eq!(client.get("a.test", "/v1/axb?q").await.status(), 200);
    assert_eq!(client.get("a.test", "/v2/axb").await.status(), 200, "what the expression does not find stays");
    let seen: Vec<_> = peer.requests().iter().map(|request| request.first_line().to_owned()).collect();
    assert_eq!(seen, ["GET /ab?q HTTP/1.1", "GET /v2/axb HTTP/1.1"]);
    assert_eq!(sluice.answers("web", Some("site"), "400"), 1);
}

#[tokio::test]
async fn a_host_is_rewritten_and_the_one_asked_for_is_told() {
    let peer = Peer::named("app").await;
    let filters = Filters { rewrite_host: Some(Host::parse("inner.test").unwrap()), ..Filters::default() };
    let (_sluice, mut client) = started(&peer, filters).await;
    client.get("outer.test:81", "/").await;
    let seen = peer.request();
    assert_eq!((seen.field("host"), seen.field("x-forwarded-host")), (Some("inner.test"), Some("outer.test:81")));
}

#[tokio::test]
async fn fields_are_removed_set_and_added_on_both_ways() {
    let peer = Peer::http(|_| {
        Reply::Send(
            b"HTTP/1.1 200 OK\r\nServer: secret/1.0\r\nX-Kept: 1\r\nSet-Cookie: a=1\r\nContent-Length: 2\r\n\r\nok"
                .to_vec(),
        )
    })
    .await;
    let filters = Filters {
        request_headers: edits(&["cookie"], &[("x-team", "shop"), ("x-forwarded-proto", "https")], &[("x-many", "2")]),
        response_headers: edits(&["server"], &[("x-frame-options", "DENY")], &[("set-cookie", "b=2")]),
        ..Filters::default()
    };
    let (_sluice, mut client) = started(&peer, filters).await;
    let answer = client
        .ask("GET / HTTP/1.1\r\nHost: a\r\nCookie: s=1\r\nX-Team: mine\r\nX-Team: theirs\r\nX-Many: 1\r\n\r\n")
        .await;
    let seen = peer.request();
    assert_eq!((seen.fields("cookie").len(), seen.field("x-team")), (0, Some("shop")));
    assert_eq!((seen.fields("x-many"), seen.field("x-forwarded-proto")), (vec!["1", "2"], Some("https")));
    assert_eq!((answer.fields("server").len(), answer.field("x-kept")), (0, Some("1")));
    assert_eq!((answer.field("x-frame-options"), answer.fields("set-cookie")), (Some("DENY"), vec!["a=1", "b=2"]));
    assert_eq!(answer.text(), "ok");
}

#[tokio::test]
async fn a_swap_changes_the_edits_under_a_connection_that_is_open() {
    let peer = Peer::named("app").await;
    let team = |name| Filters { request_headers: edits(&[], &[("x-team", name)], &[]), ..Filters::default() };
    let (sluice, mut client) = started(&peer, team("one")).await;
    client.get("a", "/").await;
    sluice.publish(&filtered(&peer, team("two")).into());
    client.get("a", "/").await;
    sluice.publish(&Asked::site(&[peer.address]).into());
    client.get("a", "/").await;
    let seen: Vec<_> = peer.requests().iter().map(|request| request.field("x-team").map(str::to_owned)).collect();
    assert_eq!(seen, [Some("one".to_owned()), Some("two".to_owned()), None]);
    assert_eq!(sluice.listener(web()).accepted(), 1);
}

#[tokio::test]
async fn a_filter_that_cannot_be_had_closes_its_route() {
    let peer = Peer::named("app").await;
    let (sluice, mut client) = started(&peer, Filters { max_body: Some(9), ..Filters::default() }).await;
    assert_eq!(client.get("a", "/").await.status(), 200);
    let edit = PathEdit::Regex { find: "(".into(), put: "/".into() };
    let problems = sluice.publish(&filtered(&peer, Filters { rewrite_path: Some(edit), ..Filters::default() }).into());
    assert!(problems[0].reason.contains("until then the route answers 503"), "{problems:?}");
    assert_eq!((client.get("a", "/").await.status(), peer.requests().len()), (503, 1));
}
