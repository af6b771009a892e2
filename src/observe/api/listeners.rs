//! `/api/v1/listeners`: every address that is listened on, whether its socket is open, and what came by it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use super::Asker;
use crate::model::intent::Transport;
use crate::model::live::listener::Socket;
use crate::model::outcome::{Outcome, Refusal};
use crate::model::snapshot::{ListenerPlan, Snapshot};

/// The page.
#[derive(Debug, Serialize)]
pub struct Listeners<'s> {
    /// Of which snapshot it is.
    pub generation: u64,
    /// By name, then address.
    pub listeners: Vec<Listener<'s>>,
}

/// One address.
#[derive(Debug, Serialize)]
pub struct Listener<'s> {
    /// The name on metrics and in logs; several addresses may share it.
    pub name: &'s str,
    /// `tcp` or `udp`.
    pub transport: &'static str,
    /// The address as asked.
    pub address: SocketAddr,
    /// The address that is open; null while none is. It differs from `address` where port 0 was asked.
    pub bound: Option<SocketAddr>,
    /// Why it could not be opened; null when nothing is wrong.
    pub error: Option<String>,
    /// `tcp`, `udp`, `tls-passthrough`, `http` or `https`.
    pub protocol: String,
    /// How many routes were asked of it.
    pub routes: usize,
    /// Connections accepted; of UDP flows begun, and so below.
    pub connections: u64,
    /// Connections open now.
    pub active: u64,
    /// Connections closed before anything but a PROXY protocol header was read, and datagrams that would have begun a
    /// flow, by reason; all reasons are there.
    pub refused: BTreeMap<&'static str, u64>,
    /// Connections that ended, by how; all outcomes are there.
    pub ended: BTreeMap<&'static str, u64>,
    /// Payload bytes from clients.
    pub bytes_in: u64,
    /// Payload bytes to clients.
    pub bytes_out: u64,
    /// Who asked for it first.
    pub origin: Asker<'s>,
}

impl<'s> Listeners<'s> {
    /// The page of this snapshot.
    pub fn of(snapshot: &'s Snapshot) -> Self {
        let mut listeners: Vec<_> = snapshot.listeners.values().map(|plan| Listener::of(plan)).collect();
        listeners.sort_unstable_by_key(|l| (l.name, l.address, l.transport));
        Self { generation: snapshot.generation, listeners }
    }
}

impl<'s> Listener<'s> {
    fn of(plan: &'s ListenerPlan) -> Self {
        let state = &plan.state;
        let (bound, error) = match state.socket() {
            Socket::Closed => (None, None),
            Socket::Open(address) => (Some(address), None),
            Socket::Failed(why) => (None, Some(why.to_string())),
        };
        let (bytes_in, bytes_out) = state.bytes();
        Self {
            name: &plan.intent.name,
            transport: match plan.key.transport {
                Transport::Tcp => "tcp",
                Transport::Udp => "udp",
            },
            address: plan.key.address,
            bound,
            error,
            protocol: plan.intent.protocol.to_string(),
            routes: plan.intent.routes.len(),
            connections: state.accepted(),
            active: state.active(),
            refused: Refusal::ALL.iter().map(|why| (why.label(), state.refused(*why))).collect(),
            ended: Outcome::ALL.iter().map(|how| (how.label(), state.ended(*how))).collect(),
            bytes_in,
            bytes_out,
            origin: (&plan.intent.origin).into(),
        }
    }
}
