//! Pure. What a route asks to be done to its requests and answers on their way, beside sending them to a pool.
//!
//! One form for all who show it: `render` and the API print what `Serialize` makes of it. Secrets show as `hidden`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::{PoolName, Rate, SourceRules};
use crate::model::host::Host;
use crate::model::secret::Secret;

mod edits;
mod redirect;

pub use edits::{Coding, Compress, ErrorPage, FieldEdits, Hsts, Renames};
pub use redirect::{PathEdit, Redirect, Scheme};

/// All filters of one route. Each is there or not; the order they act in is fixed, see `proxy/http/filter.rs`.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, Serialize)]
pub struct Filters {
    /// Which clients may use the route; others get 403.
    #[serde(skip_serializing_if = "is_open", serialize_with = "ranges")]
    pub sources: SourceRules,
    /// A client of one of the allowed ranges need not say who it is (`basic_auth`, `forward_auth`), and one of another
    /// may pass if it does. Without ranges that are allowed it means nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub satisfy_any: bool,
    /// How many requests one asker may send; more get 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RequestRate>,
    /// The largest body of a request, in bytes; larger ones get 413.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<u64>,
    /// Which other origins' scripts may use the route (Fetch, CORS protocol).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Who may use the route, by name and password (RFC 7617).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Another server is asked whether a request may pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_auth: Option<ForwardAuth>,
    /// Some requests go to another pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Requests are sent to this pool as well; what it answers is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// The path that the backend sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite_path: Option<PathEdit>,
    /// The host that the backend sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite_host: Option<Host>,
    /// Fields of the request, after ours were added.
    #[serde(skip_serializing_if = "FieldEdits::is_empty")]
    pub request_headers: FieldEdits,
    /// Fields of the answer.
    #[serde(skip_serializing_if = "FieldEdits::is_empty")]
    pub response_headers: FieldEdits,
    /// What backends say of places, in the words of clients.
    #[serde(skip_serializing_if = "Renames::is_empty")]
    pub renames: Renames,
    /// Browsers are told to use https alone (RFC 6797); said over https only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
    /// Answers are compressed for clients that take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compress: Option<Compress>,
    /// Bodies of answers with these statuses, 400 to 599: ours, and those of backends where that is asked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<u16, ErrorPage>,
}

impl Filters {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The pools that are named beside the route's own, and by which filter.
    pub fn pools(&self) -> impl Iterator<Item = (&'static str, &PoolName)> {
        let asked = self.forward_auth.as_ref().map(|auth| ("forward_auth", &auth.pool));
        let canary = self.canary.as_ref().map(|canary| ("canary", &canary.pool));
        let mirror = self.mirror.as_ref().map(|mirror| ("mirror", &mirror.pool));
        asked.into_iter().chain(canary).chain(mirror)
    }
}

/// A limit on requests.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct RequestRate {
    /// How many in which time; `burst` lets so many more through at once.
    #[serde(serialize_with = "rate")]
    pub rate: Rate,
    /// Beyond the rate's own count, 0 to 1,000,000.
    pub burst: u32,
    /// What tells askers apart.
    pub key: RateKey,
    /// Clients of these ranges are not counted.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "nets")]
    pub except: Vec<IpNet>,
}

/// What tells askers apart.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RateKey {
    /// The client's address; an IPv6 client is its /64.
    Source,
    /// The value of this request field (lower-case name); requests without it are told apart by source.
    Header(Arc<str>),
}

/// Which other origins' scripts may use a route.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Cors {
    /// Origins as browsers send them (`https://app.example.test`), `https://*.example.test`, or `*` for any.
    pub origins: Vec<Arc<str>>,
    /// Methods that a preflight is granted.
    pub methods: Vec<Arc<str>>,
    /// Request fields that a preflight is granted, lower-case; empty: those it asks for.
    pub headers: Vec<Arc<str>>,
    /// Fields of the answer that scripts may read.
    pub expose: Vec<Arc<str>>,
    /// Whether cookies and credentials may be sent; never together with the origin `*`.
    pub credentials: bool,
    /// How long a preflight's answer may be kept.
    #[serde(serialize_with = "seconds")]
    pub max_age: Duration,
}

/// Names and passwords.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct BasicAuth {
    /// What the client's prompt says.
    pub realm: Arc<str>,
    /// Lines of `htpasswd`: `name:hash`; see `model/htpasswd.rs` for the hashes that are taken.
    pub users: Secret,
    /// Whether the backend is given the name and password as well.
    pub pass_on: bool,
}

/// A server that is asked about each request.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct ForwardAuth {
    /// Where it is asked.
    pub pool: PoolName,
    /// The host it is asked by, for its own routing; `None`: that of the request.
    pub host: Option<Arc<str>>,
    /// The path and query it is asked with, by GET.
    pub path: Arc<str>,
    /// Fields of its answer that the backend is given, lower-case; the client's own of these names are dropped.
    pub headers: Vec<Arc<str>>,
    /// Where clients that it answers with 401 are sent: `{url}` in it stands for the address they asked for and `{uri}`
    /// for the path and query of it, both percent-encoded; `{host}` and `{scheme}` for those they asked by. `None`: its
    /// answer is passed on.
    pub sign_in: Option<Arc<str>>,
    /// How long its answer may take.
    #[serde(serialize_with = "seconds")]
    pub timeout: Duration,
}

/// Requests that go to another pool.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Canary {
    /// Where they go.
    pub pool: PoolName,
    /// This field decides first: with the value given, or `always` and `never` where none is. Lower-case name.
    pub header: Option<(Arc<str>, Option<Arc<str>>)>,
    /// Then this cookie: `always` or `never`.
    pub cookie: Option<Arc<str>>,
    /// Of the rest so many in a thousand, 0 to 1000.
    pub permille: u16,
}

/// A pool that hears requests too.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Mirror {
    /// Where they go.
    pub pool: PoolName,
    /// So many in a thousand, 0 to 1000.
    pub permille: u16,
    /// Requests with a body larger than this, in bytes, are not sent: it is kept in memory meanwhile.
    pub max_body: u64,
}

fn is_open(sources: &SourceRules) -> bool {
    *sources == SourceRules::default()
}

fn ranges<S: Serializer>(sources: &SourceRules, to: S) -> Result<S::Ok, S::Error> {
    let SourceRules { allow, deny } = sources;
    let text = |ranges: &[IpNet]| ranges.iter().map(ToString::to_string).collect::<Vec<_>>();
    BTreeMap::from([("allow", text(allow)), ("deny", text(deny))]).serialize(to)
}

fn nets<S: Serializer>(nets: &[IpNet], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(nets.iter().map(ToString::to_string))
}

fn rate<S: Serializer>(rate: &Rate, to: S) -> Result<S::Ok, S::Error> {
    let Rate { count, per } = rate;
    to.collect_str(&format_args!("{count} in {per:?}"))
}

fn seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_backends_believe_show_no_value() {
        let pair = |name: &str, value: &str| (Arc::from(name), Arc::from(value));
        let request_headers = FieldEdits {
            remove: vec!["authorization".into()],
            set: vec![pair("authorization", "Bearer 123"), pair("x-team", "shop")],
            add: vec![pair("x-api-key", "123"), pair("cookie", "sid=123"), pair("x-vault-token", "123")],
        };
        let shown = serde_json::to_string(&Filters { request_headers, ..Filters::default() }).unwrap();
        assert!(!shown.contains("123"), "{shown}");
        assert!(shown.contains(r#""set":[["authorization","hidden"],["x-team","shop"]]"#), "{shown}");
    }

    #[test]
    fn what_is_shown_has_what_is_asked_and_no_secret() {
        assert!(Filters::default().is_empty());
        let filters = Filters {
            basic_auth: Some(BasicAuth { realm: "cellar".into(), users: Secret::new(*b"ann:$2y$05$x"), pass_on: true }),
            max_body: Some(7),
            ..Filters::default()
        };
        let shown = serde_json::to_string(&filters).unwrap();
        assert_eq!(shown, r#"{"max_body":7,"basic_auth":{"realm":"cellar","users":"hidden","pass_on":true}}"#);
    }
}
