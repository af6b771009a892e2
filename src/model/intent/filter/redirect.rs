//! Pure. Other places: another path for the backend, and another address for the client. Who makes it of a request is
//! `proxy/http/filter/`.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::model::host::Host;
use crate::model::intent::PoolName;

/// Another path.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathEdit {
    /// This one, whatever was asked for; the query stays.
    Whole(Arc<str>),
    /// In place of the route's own prefix; what follows it stays. `/` takes it away.
    Prefix(Arc<str>),
    /// Where the expression is found first, this instead; `$1` to `$9` and `${name}` stand for its groups.
    Regex {
        /// The expression.
        find: Arc<str>,
        /// What is put there.
        put: Arc<str>,
    },
}

/// Where clients are sent instead of to a backend. What is not said stays as it was asked; so does the query.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Redirect {
    /// By which scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// To which host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// To which port; if scheme or host are said and this is not, the usual one of the scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// To which path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathEdit>,
    /// To this very address, in place of all above: `{scheme}`, `{host}` and `{uri}` (path and query) stand for those of
    /// the request. It begins with a scheme or `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Arc<str>>,
    /// The status: 301, 302, 303, 307 or 308.
    pub code: u16,
    /// Where those go who came over https already, as a trusted proxy says, if it leads there alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
}

impl Redirect {
    /// Whether one who asked for this host over https would be sent to where he is. The port does not tell: that of a
    /// proxy in front is not known here.
    pub fn is_met(&self, host: Option<&str>) -> bool {
        let same_host = self.host.as_ref().is_none_or(|to| Some(to.as_str()) == host);
        self.scheme == Some(Scheme::Https) && self.path.is_none() && self.to.is_none() && same_host
    }
}

impl Default for Redirect {
    /// To the same place, for good.
    fn default() -> Self {
        Self { scheme: None, host: None, port: None, path: None, to: None, code: 308, pool: None }
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port, path, to, code, pool } = self;
        write!(f, "redirect {code}")?;
        if let Some(scheme) = scheme {
            write!(f, " scheme {scheme}")?;
        }
        if let Some(host) = host {
            write!(f, " host {host}")?;
        }
        if let Some(port) = port {
            write!(f, " port {port}")?;
        }
        match path {
            None => {}
            Some(PathEdit::Whole(path)) => write!(f, " path = {path}")?,
            Some(PathEdit::Prefix(path)) => write!(f, " path {path}")?,
            Some(PathEdit::Regex { find, put }) => write!(f, " path ~ {find} {put}")?,
        }
        if let Some(to) = to {
            write!(f, " to {to}")?;
        }
        pool.iter().try_for_each(|pool| write!(f, " or pool {pool}"))
    }
}

/// A scheme of the web.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// In the clear.
    Http,
    /// In TLS.
    Https,
}

impl Scheme {
    /// The port that need not be named.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}
