//! One check of one backend: a connection, or a question and its answer. Bounded in time by the probe's timeout, in
//! what is read by [`bounded`].

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::model::intent::{Probe, ProbeKind, ProxyVersion};
use crate::net::proxy_protocol::{self, Version};
use crate::net::socket::{self, Unreached};

mod bounded;
mod grpc;
mod http;
mod tls;

use bounded::Bounded;

/// What is checked.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The backend.
    pub address: SocketAddr,
    /// The PROXY protocol header that the backend takes; a check begins with one that says that it is the proxy's own.
    /// Another port than the backend's own is not expected to take any, as with HAProxy.
    pub send_proxy: Option<ProxyVersion>,
}

/// Why a check failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// What was found, for a person to read.
    pub reason: String,
    /// What that says of the machine.
    pub found: Found,
}

/// What a check says of the machine, whatever it says of the backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// It is there.
    Somebody,
    /// Nobody answered at all.
    Silence,
    /// It could not be reached from here.
    NoWay,
    /// Nothing, not even of the backend: the check itself failed for want of something here.
    Nothing,
}

/// A connection that a check speaks on.
type Stream = Bounded<TcpStream>;

/// Checks once, within the probe's timeout.
///
/// # Errors
/// What was found instead of what the probe wants.
pub async fn check(target: &Target, probe: &Probe) -> Result<(), Failure> {
    let deadline = Instant::now() + probe.timeout;
    let port = match &probe.kind {
        ProbeKind::Tcp => None,
        ProbeKind::Http { port, .. } | ProbeKind::Grpc { port, .. } => *port,
    };
    let own = target.address.port();
    let address = SocketAddr::new(target.address.ip(), port.unwrap_or(own));
    let greeting = target.send_proxy.filter(|_| address.port() == own);
    let stream = socket::dial(address, probe.timeout).await.map_err(|error| Failure {
        reason: format!("cannot connect: {}", socket::describe(&error)),
        found: match Unreached::of(&error) {
            Unreached::Silent => Found::Silence,
            Unreached::Refused => Found::Somebody,
            Unreached::NoWay => Found::NoWay,
            Unreached::Ours => Found::Nothing,
        },
    })?;
    let answer = timeout_at(deadline, ask(address, probe, greeting, stream)).await;
    let failed = match answer {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(reason)) => reason,
        Err(_) => format!("{} was not answered within {:?}", question(&probe.kind), probe.timeout),
    };
    Err(Failure { reason: failed, found: Found::Somebody })
}

async fn ask(
    address: SocketAddr,
    probe: &Probe,
    greeting: Option<ProxyVersion>,
    stream: TcpStream,
) -> Result<(), String> {
    let mut stream = Bounded::new(stream);
    if let Some(version) = greeting {
        greet(&mut stream, version).await?;
    }
    match &probe.kind {
        ProbeKind::Tcp => Ok(()),
        ProbeKind::Grpc { service, .. } => grpc::check(stream, address, service).await,
        ProbeKind::Http { path, host, tls: false, .. } => http::check(stream, address, path, host.as_deref()).await,
        ProbeKind::Http { path, host, tls: true, .. } => {
            let stream = tls::shake_hands(stream, address, host.as_deref()).await?;
            http::check(stream, address, path, host.as_deref()).await
        }
    }
}

/// What a check asks, for its reason.
fn question(kind: &ProbeKind) -> String {
    match kind {
        ProbeKind::Tcp => "a connection".into(),
        ProbeKind::Http { path, .. } => format!("GET {path}"),
        ProbeKind::Grpc { .. } => grpc::METHOD.into(),
    }
}

/// Says that this connection is the proxy's own.
async fn greet(stream: &mut Stream, version: ProxyVersion) -> Result<(), String> {
    use tokio::io::AsyncWriteExt;
    let version = match version {
        ProxyVersion::V1 => Version::V1,
        ProxyVersion::V2 => Version::V2,
    };
    let sent = stream.write_all(proxy_protocol::local(version)).await;
    sent.map_err(|error| format!("did not take a PROXY header: {error}"))
}

#[cfg(test)]
mod tests;
