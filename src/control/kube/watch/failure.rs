//! Pure. Why an API server's objects cannot be read, in words: what is wrong, and what would be right.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

use kube::core::Status;
use rustls::CertificateError;

use crate::control::kube::objects::Kind;
use crate::control::kube::store::Feed;

use super::ask::Wrong;
use super::version::Older;

/// How much of a server's own words is told.
const QUOTE: usize = 200;

/// An API server as an operator knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Server {
    /// Its URL.
    pub(super) url: String,
    /// Where URL and credentials were read, like `kubeconfig /etc/sluice/kubeconfig`.
    pub(super) access: String,
}

/// Why a feed fails.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// Nothing can be had from the server, whatever the kind.
    Server(String),
    /// The account may not read this, while it may read other things.
    Forbidden {
        /// Who we are to the server, if it said so.
        account: Option<String>,
        /// What may not be read, as roles name it.
        what: String,
    },
    /// Something is wrong with this kind alone.
    Kind(String),
}

impl Failure {
    /// What it means that something is wrong.
    pub(super) fn of<K: Kind>(wrong: &Wrong, feed: &Feed, server: &Server) -> Self {
        let place = feed.namespace.as_ref().map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
        let what = if K::GROUP.is_empty() { K::PLURAL.to_owned() } else { format!("{}.{}", K::PLURAL, K::GROUP) };
        let what = what + &place;
        let url = &server.url;
        match wrong {
            Wrong::Refused { status, .. } => refused(status, what, server),
            Wrong::Unreached(error) => Self::Server(format!("API server {url} {}", unreached(error, server))),
            Wrong::Silent(time) => Self::Server(format!(
                "API server {url} does not answer within {time:?}; see that it runs and is not overloaded, or look for a \
                 firewall"
            )),
            Wrong::Garbled(found) => Self::Kind(format!(
                "{what}: API server {url} answers with {found}; see that `server` in {} leads to an API server, past no \
                 proxy that changes answers",
                server.access
            )),
            Wrong::TooLarge(most) => {
                Self::Kind(format!("{what}: API server {url} answers with more than can be ({most}), so none is read"))
            }
            Wrong::Older(older) => Self::Kind(format!("{what}: API server {url} {}", in_the_past(older))),
            Wrong::Brief => Self::Kind(format!(
                "{what}: API server {url} ends each watch as soon as it begins, so changes are seen late; look for a \
                 proxy between that does not let long answers through"
            )),
        }
    }
}

/// What an older list means, to be read after the server's URL.
fn in_the_past(Older { version, seen, empties }: &Older) -> String {
    let what = if *empties { "an empty list that is older" } else { "a list that is older" };
    let cure = if *empties {
        "if all of them were deleted there, restart sluice"
    } else {
        "one that was set back to a backup is believed after five minutes"
    };
    format!("answers with {what} than what was seen (version {version} after {seen}), so it is not taken; {cure}")
}

/// What the server's own refusal means.
fn refused(status: &Status, what: String, server: &Server) -> Failure {
    let Server { url, access } = server;
    let said = quote(&status.message);
    match status.code {
        401 => Failure::Server(format!(
            "API server {url} does not accept our credentials (401): they are wrong or have expired; put a valid token \
             or client certificate into {access}"
        )),
        403 => Failure::Forbidden { account: account(&status.message), what },
        404 => Failure::Kind(format!(
            "{what}: API server {url} does not have them (404: {said}); Kubernetes 1.21 or newer is needed"
        )),
        code @ (400 | 429 | 500..) => Failure::Server(format!("API server {url} answers {code}: {said}")),
        code => Failure::Kind(format!("{what}: API server {url} answers {code}: {said}")),
    }
}

/// `User "system:serviceaccount:kube-system:sluice" cannot list resource …`
fn account(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("User \"")?;
    let (account, _) = rest.split_once('"')?;
    Some(quote(account))
}

/// Why there was no answer, to be read after the server's URL.
fn unreached(error: &kube::Error, server: &Server) -> String {
    let access = &server.access;
    let causes = causes(error);
    if let Some(error) = causes.iter().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return match error {
            rustls::Error::InvalidCertificate(reason) => untrusted(reason, access),
            rustls::Error::InvalidMessage(_) => {
                format!("does not speak TLS on that port ({error}); correct `server` in {access}")
            }
            _ => format!("breaks off TLS: {error}"),
        };
    }
    // What the layers above say is where it happened, not what.
    let is_layer = |cause: &dyn Error| cause.to_string().starts_with("client error (");
    let inner = causes.iter().find(|cause| !cause.is::<kube::Error>() && !is_layer(**cause));
    let text = chain(inner.copied().unwrap_or(error));
    if text.contains("tls handshake eof") {
        return format!("breaks the TLS handshake off; is that the right port? If not, correct `server` in {access}");
    }
    if text.contains("dns error") || text.contains("failed to lookup address") {
        return format!("cannot be found by that name ({text}); correct `server` in {access}, or this host's DNS");
    }
    // The innermost knows best.
    match causes.iter().rev().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => format!(
            "cannot be reached: nothing listens there (connection refused); start it, or correct `server` in {access}"
        ),
        Some(ErrorKind::TimedOut) => {
            format!("cannot be reached: no answer in time; correct `server` in {access}, or look for a firewall")
        }
        Some(kind @ (ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable)) => {
            format!("cannot be reached: {kind}; correct `server` in {access}, or this host's routes")
        }
        Some(
            ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::UnexpectedEof,
        ) => format!("broke the connection off ({text}); it may be restarting"),
        _ => format!("cannot be read: {text}"),
    }
}

fn untrusted(reason: &CertificateError, access: &str) -> String {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
        NotValidYetContext, UnknownIssuer,
    };
    let cure = match reason {
        BadSignature | UnknownIssuer => {
            format!("it was issued by another authority than the one in {access}; put the cluster's own there")
        }
        NotValidForName | NotValidForNameContext { .. } => {
            format!("use one of its names as `server` in {access}, or set tls-server-name there")
        }
        Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => {
            "renew it, or set this host's clock right".to_owned()
        }
        _ => format!("see that {access} names the right server"),
    };
    format!("shows a certificate that we cannot trust ({reason}): {cure}")
}

/// An error and all its causes. What an I/O error wraps is a cause too, which its `source` leaves out.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> Vec<&'e (dyn Error + 'static)> {
    let mut all = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        all.push(error);
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source());
    }
    all
}

/// An error and its causes in one line; a cause that repeats what was said is left out.
pub(in crate::control::kube) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// A server's words on one line of bounded length.
fn quote(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(QUOTE).collect()
}

/// Failures of several watches in one line: what ails all of them, else all that is forbidden, else the first.
pub(super) fn summary<'f>(failures: impl Iterator<Item = &'f Failure> + Clone) -> Option<String> {
    let server = failures.clone().find_map(|failure| match failure {
        Failure::Server(reason) => Some(reason.clone()),
        Failure::Forbidden { .. } | Failure::Kind(_) => None,
    });
    server.or_else(|| forbidden(failures.clone())).or_else(|| {
        failures.into_iter().find_map(|failure| match failure {
            Failure::Kind(reason) => Some(reason.clone()),
            Failure::Server(_) | Failure::Forbidden { .. } => None,
        })
    })
}

/// All that is forbidden, so that one look at the log is enough to mend the role.
fn forbidden<'f>(failures: impl Iterator<Item = &'f Failure>) -> Option<String> {
    let mut who = None;
    let mut all = Vec::new();
    for failure in failures {
        if let Failure::Forbidden { account, what } = failure {
            who = who.or(account.as_deref());
            all.push(what.as_str());
        }
    }
    if all.is_empty() {
        return None;
    }
    let who = who.unwrap_or("our account");
    Some(format!(
        "{who} may not read {} (403); give it the verbs get, list and watch there, as deploy/kubernetes/rights.yaml does",
        List(&all)
    ))
}

/// The first few, and how many more there are.
struct List<'l>(&'l [&'l str]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FEW: usize = 8;
        write!(f, "{}", self.0[..self.0.len().min(FEW)].join(", "))?;
        match self.0.len().saturating_sub(FEW) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests;
