//! Pure. Every annotation of ingress-nginx v1.x, and what becomes of it here. `docs/ingress-nginx.md` says the same, and
//! a test holds the two together.
//!
//! One verdict stands for the annotation as it is usually written; what a value makes of it is said where it is read. An
//! ignored guard must not open what was closed: what guards and cannot be honoured refuses its Ingress.

use std::fmt;

/// What becomes of an annotation.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Verdict {
    /// It does what it did.
    Honoured,
    /// It does what it did, but for a difference.
    Differs,
    /// It does nothing, and nothing is lost by that.
    Safe,
    /// It does nothing, and somebody may miss it.
    Unsafe,
    /// It guards and cannot be honoured, so the Ingress is not served.
    Refused,
}

impl Verdict {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Differs => "honoured_with_a_difference",
            Self::Safe => "ignored_safe",
            Self::Unsafe => "ignored_unsafe",
            Self::Refused => "refused",
        }
    }

    /// Whether whoever wrote it must do something.
    pub fn is_trouble(self) -> bool {
        self >= Self::Unsafe
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Honoured => "honoured",
            Self::Differs => "honoured with a difference",
            Self::Safe => "ignored, safe",
            Self::Unsafe => "ignored, NOT safe",
            Self::Refused => "refused",
        })
    }
}

/// One annotation.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name behind `nginx.ingress.kubernetes.io/`.
    pub name: &'static str,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Which difference, or why it is safe or not; of what is honoured, what it asks for.
    pub why: &'static str,
    /// A value that cannot be read refuses the Ingress.
    pub guards: bool,
}

const fn entry(name: &'static str, verdict: Verdict, why: &'static str) -> Entry {
    Entry { name, verdict, why, guards: false }
}

const fn honoured(name: &'static str, why: &'static str) -> Entry {
    entry(name, Verdict::Honoured, why)
}

const fn differs(name: &'static str, why: &'static str) -> Entry {
    entry(name, Verdict::Differs, why)
}

const fn safe(name: &'static str, why: &'static str) -> Entry {
    entry(name, Verdict::Safe, why)
}

const fn risky(name: &'static str, why: &'static str) -> Entry {
    entry(name, Verdict::Unsafe, why)
}

const fn refused(name: &'static str, why: &'static str) -> Entry {
    Entry { guards: true, ..entry(name, Verdict::Refused, why) }
}

const fn guard(entry: Entry) -> Entry {
    Entry { guards: true, ..entry }
}

const STREAMS: &str = "bodies stream through in small buffers here, and nothing is written to disk";
const NO_TRACES: &str = "no traces are written; requests carry X-Request-Id";
const KEPT_OPEN: &str = "connections to who is asked are kept open and shared anyway";
const NO_WAF: &str = "there is no ModSecurity here";
const GONE: &str = "later versions of ingress-nginx do not know it either";
const CERTS: &str = "client certificates are asked for by listeners of the file, not by Ingresses; write such a listener \
    with client_auth, or take it off";
const SNIPPET: &str = "snippets are never read as configuration; one that holds nothing but directives about answers, \
    logs, buffers and times is left out, any other refuses the Ingress, for it may be a guard";
const OTHER_SET: &str = "the statuses that ask for another backend are those, and failures to connect always do; never \
    for what is not safe to repeat";

/// All of them, by name.
pub const TABLE: &[Entry] = &[
    honoured("affinity", "cookie: clients keep their backend by a cookie"),
    differs("affinity-canary-behavior", "a canary is not sticky: each request is drawn anew, as with legacy"),
    differs("affinity-mode", "clients keep their backend as long as it is there, as with persistent"),
    guard(honoured("allowlist-source-range", "only these sources; others get 403")),
    honoured("app-root", "/ is answered with a redirect to this path"),
    differs("auth-always-set-cookie", "cookies of who is asked are always passed on, whatever the backend answers"),
    safe("auth-cache-duration", "each request is asked about anew, so that nobody passes on an old answer"),
    safe("auth-cache-key", "each request is asked about anew, so that nobody passes on an old answer"),
    safe("auth-keepalive", KEPT_OPEN),
    safe("auth-keepalive-requests", KEPT_OPEN),
    safe("auth-keepalive-share-vars", KEPT_OPEN),
    safe("auth-keepalive-timeout", KEPT_OPEN),
    guard(differs("auth-method", "GET is what is asked by; any other refuses the Ingress")),
    refused("auth-proxy-set-headers", "ConfigMaps are not read, and who is asked may go by these fields"),
    guard(honoured("auth-realm", "what the prompt for the password says")),
    safe("auth-request-redirect", "X-Auth-Request-Redirect is the address that was asked for"),
    guard(honoured(
        "auth-response-headers",
        "fields of the answer that the backend is given; the client's own are dropped",
    )),
    guard(honoured("auth-secret", "the Secret of the same namespace that says who may pass")),
    guard(honoured("auth-secret-type", "auth-file or auth-map")),
    guard(honoured(
        "auth-signin",
        "where clients are sent that get 401; $host, $scheme, $request_uri and \
        $escaped_request_uri are known, others refuse the Ingress",
    )),
    guard(honoured("auth-signin-redirect-param", "the parameter that says where they wanted to go, rd if absent")),
    refused("auth-snippet", SNIPPET),
    refused("auth-tls-error-page", CERTS),
    refused("auth-tls-match-cn", CERTS),
    refused("auth-tls-pass-certificate-to-upstream", CERTS),
    refused("auth-tls-secret", CERTS),
    refused("auth-tls-verify-client", CERTS),
    refused("auth-tls-verify-depth", CERTS),
    guard(differs("auth-type", "basic; digest refuses the Ingress, for its hashes are as good as passwords")),
    guard(differs(
        "auth-url",
        "who is asked is a Service of the cluster: by its own name, of another namespace if that \
        Service has sluice.dev/shared, or as an Ingress here leads to it by this host and path without guards",
    )),
    guard(differs("backend-protocol", "HTTP, HTTPS, GRPC and GRPCS; AUTO_HTTP is HTTP; FCGI refuses the Ingress")),
    differs(
        "canary",
        "for the same hosts and paths of an Ingress of the same namespace; it has no annotations of its own \
        beside canary-*",
    ),
    honoured("canary-by-cookie", "always and never"),
    honoured("canary-by-header", "always and never"),
    safe("canary-by-header-pattern", "requests with this field stay with the main Service"),
    honoured("canary-by-header-value", "this value alone"),
    differs("canary-weight", "in thousandths"),
    honoured("canary-weight-total", "what the weight is a part of, 100 if absent"),
    safe("client-body-buffer-size", STREAMS),
    guard(refused("configuration-snippet", SNIPPET)),
    safe("connection-proxy-header", "Connection is for one hop; upgrades go through anyway"),
    differs("cors-allow-credentials", "not with the origin *, with which no browser takes it either"),
    honoured("cors-allow-headers", "as with nginx if absent"),
    honoured("cors-allow-methods", "as with nginx if absent"),
    honoured("cors-allow-origin", "* if absent"),
    honoured("cors-expose-headers", "none if absent"),
    honoured("cors-max-age", "1728000 seconds if absent"),
    risky("custom-headers", "ConfigMaps are not read; write the fields with sluice.dev/response-headers"),
    risky("custom-http-errors", "backends' own error pages are passed on, and may tell more than yours"),
    differs("default-backend", "its pods stand in when the Service has none that is available"),
    guard(honoured("denylist-source-range", "never these sources; they get 403")),
    safe("disable-proxy-intercept-errors", "backends' error pages are never replaced"),
    safe("enable-access-log", "there is no access log yet"),
    honoured("enable-cors", "which other origins' scripts may use it; the preflight is answered here"),
    guard(differs(
        "enable-global-auth",
        "ConfigMaps are not read, so there is no global one: false is safe, true refuses \
        the Ingress; write auth-url",
    )),
    risky("enable-modsecurity", NO_WAF),
    safe("enable-opentelemetry", NO_TRACES),
    safe("enable-opentracing", NO_TRACES),
    risky("enable-owasp-core-rules", NO_WAF),
    safe("enable-rewrite-log", "it is for debugging"),
    safe("enable-influxdb", GONE),
    safe("fastcgi-index", "it means nothing without FCGI, which refuses the Ingress"),
    safe("fastcgi-params-configmap", "it means nothing without FCGI, which refuses the Ingress"),
    differs("force-ssl-redirect", "only http is redirected; without a certificate of its host https answers nobody"),
    honoured("from-to-www-redirect", "www.NAME leads to NAME, or the other way"),
    risky("global-rate-limit", "there is no counter that several instances share; use limit-rps or limit-rpm"),
    risky("global-rate-limit-ignored-cidrs", "it means nothing without global-rate-limit"),
    risky("global-rate-limit-key", "it means nothing without global-rate-limit"),
    risky("global-rate-limit-window", "it means nothing without global-rate-limit"),
    safe("http2-push-preload", "browsers have given push up"),
    safe("influxdb-host", GONE),
    safe("influxdb-measurement", GONE),
    safe("influxdb-port", GONE),
    safe("influxdb-server-name", GONE),
    guard(honoured("limit-allowlist", "sources that are not counted")),
    guard(honoured("limit-burst-multiplier", "5 if absent")),
    risky(
        "limit-connections",
        "connections are counted by listeners alone, of all Ingresses together; more than limit-rps \
        or limit-rpm allow get 429",
    ),
    risky("limit-rate", "answers are not slowed down; what a backend sends is sent"),
    risky("limit-rate-after", "answers are not slowed down; what a backend sends is sent"),
    guard(differs(
        "limit-rpm",
        "what is too much gets 429, not 503; of it and limit-rps the stricter of each is taken",
    )),
    guard(differs("limit-rps", "what is too much gets 429, not 503; an IPv6 client is its /64")),
    guard(honoured("limit-whitelist", "sources that are not counted")),
    differs("load-balance", "round_robin; ewma is the less busy of two drawn"),
    safe("mirror-host", "the mirror gets the Host that the backend gets"),
    differs("mirror-request-body", "off: requests with a body are not mirrored; on: those up to 256 KiB are"),
    differs(
        "mirror-target",
        "a Service of the cluster by its own name, with $request_uri or nothing behind it; others are \
        not mirrored to",
    ),
    refused("modsecurity-snippet", NO_WAF),
    risky("modsecurity-transaction-id", NO_WAF),
    safe("opentelemetry-operation-name", NO_TRACES),
    safe("opentelemetry-trust-incoming-span", NO_TRACES),
    safe("opentracing-trust-incoming-span", NO_TRACES),
    honoured("permanent-redirect", "all requests are sent to this address; $host, $scheme and $request_uri are known"),
    honoured("permanent-redirect-code", "301 if absent"),
    honoured("preserve-trailing-slash", "redirects keep the path as it was asked for"),
    guard(honoured("proxy-body-size", "larger bodies get 413; unlike with nginx there is no limit if absent")),
    safe("proxy-buffer-size", STREAMS),
    safe("proxy-buffering", STREAMS),
    safe("proxy-buffers-number", STREAMS),
    honoured("proxy-connect-timeout", "1s if absent"),
    honoured("proxy-cookie-domain", "one pair, or off"),
    honoured("proxy-cookie-path", "one pair, or off"),
    safe("proxy-http-version", "HTTP/1.1 is spoken, which backends of 1.0 answer as well"),
    safe("proxy-max-temp-file-size", STREAMS),
    differs("proxy-next-upstream", OTHER_SET),
    safe("proxy-next-upstream-timeout", "the timeouts of each try bound the whole"),
    honoured("proxy-next-upstream-tries", "the first one counted; at most 11 here"),
    differs(
        "proxy-read-timeout",
        "until the head of the answer comes, and how long upgraded connections may be silent",
    ),
    honoured("proxy-redirect-from", "what a Location of the backend begins with; default and off change nothing"),
    honoured("proxy-redirect-to", "what is put there"),
    safe("proxy-request-buffering", STREAMS),
    safe("proxy-send-timeout", "a backend that takes nothing is given up by the other timeouts"),
    safe("proxy-ssl-ciphers", "TLS 1.2 and 1.3 with strong suites alone"),
    guard(differs(
        "proxy-ssl-name",
        "the name that is asked for, and that the certificate must be for if it is verified",
    )),
    safe("proxy-ssl-protocols", "TLS 1.2 and 1.3 with strong suites alone"),
    guard(honoured("proxy-ssl-secret", "a Secret of the same namespace: authorities (ca.crt), certificate and key")),
    safe("proxy-ssl-server-name", "a name is sent if proxy-ssl-name gives one"),
    guard(differs(
        "proxy-ssl-verify",
        "by the authorities of proxy-ssl-secret; without proxy-ssl-name the certificate must \
        be for the pod's address",
    )),
    safe("proxy-ssl-verify-depth", "chains are checked to their end"),
    guard(differs(
        "rewrite-target",
        "$1 to $9 are known, other variables and a query refuse the Ingress; expressions of \
        Rust's kind, without look-around",
    )),
    guard(differs("satisfy", "any: an allowed source, or a password or the word of who is asked")),
    differs("server-alias", "names alone, no expressions"),
    guard(refused("server-snippet", SNIPPET)),
    safe("service-upstream", "pods or nodes are dialled one by one; a Service's address is not reached from outside"),
    differs("session-cookie-change-on-failure", "as with true: who cannot be served there is given another"),
    safe("session-cookie-conditional-samesite-none", "the browsers it is for are gone"),
    safe("session-cookie-domain", "the cookie is for the host that gave it"),
    honoured("session-cookie-expires", "how long it lasts, in seconds; sent as Max-Age"),
    honoured("session-cookie-max-age", "how long it lasts, in seconds"),
    honoured("session-cookie-name", "INGRESSCOOKIE if absent"),
    safe("session-cookie-partitioned", "the cookie is not partitioned"),
    safe("session-cookie-path", "the cookie is for /; each Ingress has its own value in it"),
    honoured("session-cookie-samesite", "Lax if absent"),
    differs("session-cookie-secure", "true: over https alone; else as it was given"),
    safe("ssl-ciphers", "TLS 1.2 and 1.3 with strong suites alone"),
    refused("ssl-passthrough", "the address of Ingresses ends TLS; write a tls-passthrough listener in the file"),
    safe("ssl-prefer-server-ciphers", "TLS 1.2 and 1.3 with strong suites alone"),
    honoured("ssl-redirect", "true if absent, for hosts with tls"),
    risky("stream-snippet", "snippets are never read; TCP and UDP ports are Services of type LoadBalancer here"),
    honoured("temporal-redirect", "all requests are sent to this address"),
    honoured("temporal-redirect-code", "302 if absent"),
    differs(
        "upstream-hash-by",
        "$request_uri (its path alone), $uri, $remote_addr, $host, $http_NAME and $cookie_NAME; \
        others are by source",
    ),
    safe("upstream-hash-by-subset", "each key has one backend"),
    safe("upstream-hash-by-subset-size", "each key has one backend"),
    honoured("upstream-vhost", "the Host that the backend gets; names alone, no variables"),
    differs("use-port-in-redirects", "a port that is not 443 is always in them"),
    differs(
        "use-regex",
        "paths are expressions, from the start, whatever their case; of Rust's kind, without look-around",
    ),
    guard(honoured("whitelist-source-range", "only these sources; others get 403")),
    honoured("x-forwarded-prefix", "X-Forwarded-Prefix, beside rewrite-target; without groups"),
];

/// The entry of a name.
pub fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name)
}
