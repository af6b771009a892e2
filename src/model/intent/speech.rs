//! Pure. What was asked to be spoken to the backends of a pool: the version of HTTP, and TLS or none.

use std::fmt;
use std::sync::Arc;

use crate::model::secret::Secret;

/// What is spoken to the backends of a pool, where HTTP is spoken to them at all. The default is HTTP/1.1 in the clear.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Speech {
    /// HTTP/2 and nothing else; without TLS by prior knowledge (RFC 9113 §3.3). Otherwise HTTP/1.1.
    pub http2: bool,
    /// How it is sealed; `None`: in the clear.
    pub tls: Option<Arc<BackendTls>>,
}

/// TLS to backends.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BackendTls {
    /// How it is found out that the backend is who it should be.
    pub verify: Verify,
    /// The name that the backend is asked for (SNI) and that its certificate must be for; `None`: none is sent, and the
    /// certificate must be for the backend's IP address.
    pub name: Option<Arc<str>>,
    /// What is shown to backends that want to know who asks.
    pub identity: Option<Identity>,
}

/// Whose word on a backend's certificate is taken.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Verify {
    /// Nobody's: any certificate is taken, so that who sits between can read along.
    None,
    /// Those whom this host trusts.
    #[default]
    System,
    /// These authorities, as DER; each is believed for itself too.
    By(Vec<Arc<[u8]>>),
}

/// A certificate of ours and its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The chain as DER, the leaf first.
    pub chain: Vec<Arc<[u8]>>,
    /// The leaf's key as DER.
    pub key: Secret,
}

impl Speech {
    /// HTTP/1.1 in the clear.
    pub const PLAIN: Self = Self { http2: false, tls: None };
    /// HTTP/2 in the clear.
    pub const H2C: Self = Self { http2: true, tls: None };

    /// HTTP/1.1 over TLS that takes any certificate: what a cluster asks for that says no more than "https". Pods are
    /// dialled by address, and show what nobody outside has signed.
    pub fn https_unverified() -> Self {
        Self { http2: false, tls: Some(Arc::new(BackendTls { verify: Verify::None, ..BackendTls::default() })) }
    }

    /// Its name: `http`, `https`, `h2c` or `h2`.
    pub fn name(&self) -> &'static str {
        match (self.http2, &self.tls) {
            (false, None) => "http",
            (false, Some(_)) => "https",
            (true, None) => "h2c",
            (true, Some(_)) => "h2",
        }
    }
}

impl Verify {
    /// Its name: `none`, `system` or `ca`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::System => "system",
            Self::By(_) => "ca",
        }
    }
}

impl fmt::Display for Speech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { http2: _, tls } = self;
        f.write_str(self.name())?;
        let Some(tls) = tls else { return Ok(()) };
        let BackendTls { verify, name, identity } = &**tls;
        write!(f, " verify {}", verify.name())?;
        if let Some(name) = name {
            write!(f, " name {name}")?;
        }
        // The chain and the key are never shown.
        if identity.is_some() { f.write_str(" client certificate") } else { Ok(()) }
    }
}
