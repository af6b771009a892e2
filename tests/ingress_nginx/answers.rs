//! What clients get.

use super::support::{Peer, Reply};
use super::{Lab, whole};

#[tokio::test]
async fn scripts_of_other_origins_are_granted_as_with_nginx() {
    let preflight = "OPTIONS / HTTP/1.1\r\nHost: a.test\r\nOrigin: https://app.test\r\n\
        Access-Control-Request-Method: PUT\r\n\r\n";
    let lab = Lab::of(&whole(&[("enable-cors", "true")])).await.quiet();
    let granted = lab.client().await.ask(preflight).await;
    assert_eq!(granted.status(), 204);
    for (field, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, PUT, POST, DELETE, PATCH, OPTIONS"),
        ("access-control-max-age", "1728000"),
    ] {
        assert_eq!(granted.field(field), Some(value));
    }
    assert!(granted.field("access-control-allow-headers").unwrap().contains("authorization"));
    assert_eq!(lab.web.requests().len(), 0);
    let named = [
        ("enable-cors", "true"),
        ("cors-allow-origin", "https://app.test, https://*.more.test"),
        ("cors-allow-methods", "GET, PUT"),
        ("cors-allow-headers", "X-One"),
        ("cors-expose-headers", "X-Two"),
        ("cors-allow-credentials", "true"),
        ("cors-max-age", "600"),
    ];
    let lab = Lab::of(&whole(&named)).await.quiet();
    let granted = lab.client().await.ask(preflight).await;
    for (field, value) in [
        ("access-control-allow-origin", "https://app.test"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "x-one"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
    ] {
        assert_eq!(granted.field(field), Some(value));
    }
    let answer = lab.with_field("Origin: https://x.more.test").await;
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://x.more.test"));
    assert_eq!(answer.field("access-control-expose-headers"), Some("X-Two"));
    assert_eq!(lab.with_field("Origin: https://evil.test").await.field("access-control-allow-origin"), None);
    let lab = Lab::of(&whole(&[&named[..5], &[("cors-allow-credentials", "false")]].concat())).await.quiet();
    assert_eq!(lab.client().await.ask(preflight).await.field("access-control-allow-credentials"), None);
    let lab = Lab::of(&whole(&[("enable-cors", "false"), ("cors-max-age", "5")])).await.quiet();
    assert_eq!(lab.client().await.ask(preflight).await.text(), "web");
}

#[tokio::test]
async fn what_backends_say_of_places_is_said_in_the_words_of_clients() {
    let says = || {
        Peer::http(|_| {
            let head = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://inner.test/x\r\n\
                Set-Cookie: a=1; Domain=inner.test; Path=/one/x\r\n\r\n";
            Reply::Send(head.as_bytes().to_vec())
        })
    };
    let renamed = [
        ("proxy-cookie-domain", "inner.test a.test"),
        ("proxy-cookie-path", "/one/ /"),
        ("proxy-redirect-from", "http://inner.test/"),
        ("proxy-redirect-to", "https://a.test/"),
    ];
    let lab = Lab::with(&whole(&renamed), says().await, says().await).await.quiet();
    let answer = lab.get("a.test", "/").await;
    assert_eq!(answer.field("location"), Some("https://a.test/x"));
    assert_eq!(answer.field("set-cookie"), Some("a=1; Domain=a.test; Path=/x"));
    let off = [("proxy-cookie-domain", "off"), ("proxy-cookie-path", "off"), ("proxy-redirect-from", "off")];
    let lab = Lab::with(&whole(&off), says().await, says().await).await.quiet();
    let answer = lab.get("a.test", "/").await;
    assert_eq!(answer.field("location"), Some("http://inner.test/x"));
    assert_eq!(answer.field("set-cookie"), Some("a=1; Domain=inner.test; Path=/one/x"));
}
