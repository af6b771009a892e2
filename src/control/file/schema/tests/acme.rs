//! Certificates that are to be ordered.

use super::*;

/// A listener `web` with one certificate like this and two hosts and a wildcard on its routes.
fn with(certificate: &str) -> String {
    format!(
        "process: {{state_dir: state}}\npools: {{p: {{backends: [127.0.0.1:1]}}}}\nlisteners:\n  web:\n    \
         bind: 127.0.0.1:443\n    protocol: https\n    pool: p\n    \
         routes: [{{host: b.test, pool: p}}, {{host: a.test, pool: p}}, {{host: '*.c.test', pool: p}}]\n    \
         certificates: [{certificate}]\n"
    )
}

#[test]
fn an_order_arrives_as_it_is_written() {
    let all = loaded(&with(
        "{acme: {email: me@a.test, hosts: [Shop.example.test, www.shop.test], directory: staging, ca: a.crt, \
         challenge: tls-alpn-01}}",
    ));
    assert_eq!(all.process.state_dir.as_deref(), Some(Path::new("/etc/sluice/state")));
    let shown = all.fragment.to_string();
    for line in [
        "  certificate acme:shop.example.test,www.shop.test\n",
        "order acme:shop.example.test,www.shop.test  # file: listener web certificate 1\n",
        "  from https://acme-staging-v02.api.letsencrypt.org/directory email me@a.test roots 1 challenge tls-alpn-01\n",
    ] {
        assert!(shown.contains(line), "{line:?} is missing in\n{shown}");
    }
    assert!(all.fragment.certs.is_empty());
}

#[test]
fn what_is_left_out_is_the_usual_and_the_hosts_are_those_of_the_routes() {
    let usual = loaded(&with("{acme: {}}"));
    let bare = loaded(&with("{acme: }"));
    assert_eq!(usual.fragment, bare.fragment);
    let shown = usual.fragment.to_string();
    let expected = "order acme:a.test,b.test  # file: listener web certificate 1\n  \
                    from https://acme-v02.api.letsencrypt.org/directory\n";
    assert!(shown.ends_with(expected), "{shown}");
    assert_eq!(loaded(&with("{acme: {directory: production, hosts: [b.test, a.test]}}")).fragment, usual.fragment);
}

#[test]
fn listeners_with_the_same_hosts_share_an_order_and_must_agree() {
    let two = |other: &str| {
        format!(
            "{}  other: {{bind: 127.0.0.1:444, protocol: https, pool: p, certificates: [{{acme: {other}}}]}}\n",
            with("{acme: {hosts: a.test}}")
        )
    };
    assert_eq!(loaded(&two("{hosts: [a.test]}")).fragment.orders.len(), 1);
    assert_eq!(loaded(&two("{hosts: [b.test]}")).fragment.orders.len(), 2);
    let said = errors(&two("{hosts: a.test, directory: staging}"));
    let expected = "listener other certificate 1: file: listener web certificate 1 asks for a certificate for the same \
                    hosts in another way";
    assert!(said.len() == 1 && said[0].contains(expected), "{said:?}");
}

#[test]
fn mistakes_have_a_remedy() {
    let acme = |keys: &str| with(&format!("{{acme: {{{keys}}}}}"));
    let table = [
        (acme("x: 1"), "known here: email, hosts, directory, ca, challenge"),
        (acme("email: me"), "email: is not one e-mail address; write one like admin@example.test"),
        (acme("email: 'a@b.test, c@d.test'"), "is not one e-mail address"),
        (acme("hosts: []"), "hosts: names 0 hosts; write 1 to 100"),
        (acme("hosts: ['*.a.test']"), "a wildcard is proven by DNS alone, which is not served"),
        (acme("hosts: [192.0.2.1]"), "192.0.2.1 is not a DNS name of two labels or more"),
        (acme("hosts: [localhost]"), "localhost is not a DNS name of two labels or more"),
        (acme("hosts: ['a b']"), "has the character ' '"),
        (acme("directory: http://ca.test/"), "http://ca.test/ is not one; write production, staging, or the https://"),
        (acme("directory: https://"), "https:// is not one"),
        (acme("directory: 'https://ca.test/ x'"), "is not one"),
        (acme("ca: gone"), "/etc/sluice/gone cannot be read"),
        (acme("ca: a.key"), "there is no certificate in it; name the root of the directory's own certificate"),
        (acme("challenge: dns-01"), "dns-01 is not served by this version; write http-01 or tls-alpn-01"),
        (with("{acme: {}, cert: a.crt}"), "a certificate is either read or ordered"),
        (
            with("{acme: {}}").replace("a.test", "'*.a.test'").replace("b.test", "'*.b.test'"),
            "the routes of this listener name 0 hosts; add hosts: [shop.example.test]",
        ),
        (
            with("{acme: {}}").replace("{state_dir: state}", "{state_dir: none}"),
            "acme needs a place for its account and certificates; add process: {state_dir: /var/lib/sluice}",
        ),
    ];
    for (text, remedy) in &table {
        let said = errors(text);
        assert!(said.len() == 1 && said[0].contains(remedy), "{text}\n{said:?}\nnot {remedy}");
        assert!(said[0].starts_with("f.yaml:9:"), "{said:?}");
    }
}
