//! Paths: one form decides the route and reaches the backend.

use sluice::model::path::{Dots, EncodedSlash, PathRules, Slashes};

use super::strict::Strict;
use crate::support::asked::{pool, route, web};
use crate::support::{Asked, Peer, Sluice, Wire};
use sluice::model::intent::Protocol;

/// `/admin` is another pool's.
fn guarded(open: &Strict, admin: &Peer) -> Asked {
    let routes = vec![route("*", "/", "open"), route("*", "/projects", "open"), route("*", "/admin", "admin")];
    Asked::default()
        .listener(web(), "web", Protocol::Http, routes)
        .pool("open", pool(&[open.peer.address]))
        .pool("admin", pool(&[admin.address]))
}

#[tokio::test]
async fn no_spelling_of_a_path_gets_past_its_route() {
    let (open, admin) = (Strict::start().await, Peer::named("guarded").await);
    let sluice = Sluice::start(guarded(&open, &admin)).await;
    let address = sluice.address(web()).await;
    for path in [
        "/admin",
        "/%61dmin",
        "/%61%64%6D%69%6e/x",
        "//admin",
        "///admin//x",
        "/admin/x%2Fy",
        "/admin/a%20b",
        "/admin#/x",
    ] {
        let mut client = Wire::to(address).await;
        assert_eq!(client.get("a", path).await.text(), "guarded", "{path}");
    }
    let mut tried = 0;
    for path in [
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x/.%2E/admin",
        "/./admin",
        "/x%2f..%2fadmin",
        "/x%2F%2e%2e%2Fadmin",
        "/x\\..\\admin",
        "/x%5c..%5cadmin",
        "/x/..;/admin",
        "/x/..;y=z/admin",
        "/x/..%3b/admin",
        "/x/%c0%ae%c0%ae/admin",
        "/x/%u002e%u002e/admin",
        "/..",
        "/x/..",
        "/\\admin",
        "/%5Cadmin",
        "/%2Fadmin",
        "/%2fadmin/x",
        "/admin%2Fx",
        "/admin%5Cx",
        "/admin;x",
        "/admin;x/y",
        "/admin%3Bx",
        "/;x/admin",
        "/admin%00",
        "/admin%0a",
        "/admin%0d%0aX:%20y",
        "/admin%7f",
        "/admin%",
        "/admin%2",
    ] {
        let mut client = Wire::to(address).await;
        let answer = client.get("a", path).await;
        assert_eq!(answer.status(), 400, "{path}");
        tried += 1;
    }
    assert!(tried > 30);
    assert_eq!(open.requests(), [""; 0]);
    assert!(admin.requests().iter().all(|request| request.first_line().starts_with("GET /admin")));
}

#[tokio::test]
async fn backends_get_the_form_by_which_was_decided_and_the_query_as_it_came() {
    let (open, admin) = (Strict::start().await, Peer::named("guarded").await);
    let sluice = Sluice::start(guarded(&open, &admin)).await;
    let mut client = Wire::to(sluice.address(web()).await).await;
    for (target, expected) in [
        ("/a//b?c=//d", "/a/b?c=//d"),
        ("/%7Euser/%41?%41=%2e%2e/../", "/~user/A?%41=%2e%2e/../"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/projects/group%2fname?x", "/projects/group%2Fname?x"),
        ("/@scope%2fname", "/@scope%2Fname"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/a%20b%25%3F", "/a%20b%25%3F"),
        ("/?", "/?"),
        // A fragment is no part of what is asked for, and never arrives.
        ("/a#/../admin", "/a"),
        ("http://a?x=1", "/?x=1"),
        ("http://a//x", "/x"),
    ] {
        let answer = client.get("a", target).await;
        assert_eq!(answer.text(), format!("GET {expected}"), "{target}");
    }
    assert_eq!(admin.connections(), 0);
}

#[tokio::test]
async fn a_listener_may_have_other_rules() {
    let (open, admin) =
        (Peer::http(|request| crate::support::peer::ok(request.first_line())).await, Peer::named("guarded").await);
    let routes = vec![route("*", "/", "open"), route("*", "/admin", "admin")];
    let asked = |paths: PathRules| {
        Asked::default()
            .listener(web(), "web", Protocol::Http, routes.clone())
            .pool("open", pool(&[open.address]))
            .pool("admin", pool(&[admin.address]))
            .change_listener(web(), |listener| listener.http.paths = paths)
    };
    let paths = PathRules { slashes: Slashes::Keep, dots: Dots::Resolve, encoded_slash: EncodedSlash::Refuse };
    let sluice = Sluice::start(asked(paths)).await;
    let address = sluice.address(web()).await;
    for (path, expected) in [
        ("/a//b", "GET /a//b HTTP/1.1"),
        ("/x/../y/./z", "GET /y/z HTTP/1.1"),
        ("/x/../admin", "guarded"),
        ("/a%5Cb", "GET /a%5Cb HTTP/1.1"),
    ] {
        let mut client = Wire::to(address).await;
        assert_eq!(client.get("a", path).await.text(), expected, "{path}");
    }
    for path in ["//admin", "/x//../../admin/../..", "/a%2Fb", "/../admin", "/x/..;/admin"] {
        let mut client = Wire::to(address).await;
        assert_eq!(client.get("a", path).await.status(), 400, "{path}");
    }
    // A listener that is changed is so for clients that are connected.
    let mut client = Wire::to(address).await;
    assert_eq!(client.get("a", "/a//b").await.text(), "GET /a//b HTTP/1.1");
    sluice.publish(&asked(PathRules::default()).into());
    assert_eq!(client.get("a", "/a//b").await.text(), "GET /a/b HTTP/1.1");
}
