//! PROXY protocol headers, as a proxy before us sends them and as a backend behind us reads them; by the `ppp` crate, so
//! that nothing of ours judges itself.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ppp::v2::{self, Builder, Command, Protocol, Version};

use super::{Peer, Wire};

/// A header of version 1.
pub fn v1(from: &str, to: &str) -> Vec<u8> {
    let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()).into_bytes()
}

/// A header of version 2, with a value nobody knows.
pub fn v2(from: &str, to: &str) -> Vec<u8> {
    let ends: (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let header = Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, ends);
    header.write_tlv(0xe5, b"\x01\x02").unwrap().build().unwrap()
}

/// What a backend was told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Told {
    pub version: u8,
    /// Empty where it was told of nobody.
    pub from: String,
    pub to: String,
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

impl Told {
    /// The value of a type.
    pub fn tlv(&self, kind: u8) -> Option<&[u8]> {
        self.tlvs.iter().find(|(found, _)| *found == kind).map(|(_, value)| &value[..])
    }
}

/// Reads a header of either version. `None` when the connection ends before.
pub async fn told(wire: &mut Wire) -> Option<Told> {
    let mut bytes = wire.until("\n").await?;
    if bytes.starts_with(b"PROXY ") {
        let line = String::from_utf8(bytes).unwrap();
        let header = ppp::v1::Header::try_from(line.as_str()).unwrap();
        let (from, to) = match header.addresses {
            ppp::v1::Addresses::Tcp4(a) => {
                ((a.source_address, a.source_port).into(), (a.destination_address, a.destination_port).into())
            }
            ppp::v1::Addresses::Tcp6(a) => {
                ((a.source_address, a.source_port).into(), (a.destination_address, a.destination_port).into())
            }
            ppp::v1::Addresses::Unknown => return Some(Told { version: 1, ..Told::default() }),
        };
        return Some(of(1, from, to, Vec::new()));
    }
    // The signature holds three ends of lines.
    bytes.extend(wire.exactly(16 - bytes.len()).await);
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    bytes.extend(wire.exactly(length).await);
    let header = v2::Header::try_from(&bytes[..]).unwrap();
    let tlvs = header.tlvs().map(|tlv| tlv.unwrap()).map(|tlv| (tlv.kind, tlv.value.into_owned())).collect();
    Some(match header.addresses {
        v2::Addresses::IPv4(a) => {
            let from = (a.source_address, a.source_port).into();
            of(2, from, (a.destination_address, a.destination_port).into(), tlvs)
        }
        v2::Addresses::IPv6(a) => {
            let from = (a.source_address, a.source_port).into();
            of(2, from, (a.destination_address, a.destination_port).into(), tlvs)
        }
        _ => Told { version: 2, tlvs, ..Told::default() },
    })
}

fn of(version: u8, from: SocketAddr, to: SocketAddr, tlvs: Vec<(u8, Vec<u8>)>) -> Told {
    Told { version, from: from.to_string(), to: to.to_string(), tlvs }
}

/// The headers that backends of a test were sent, in the order they came.
#[derive(Clone, Default)]
pub struct Register(Arc<Mutex<Vec<Told>>>);

impl Register {
    pub fn all(&self) -> Vec<Told> {
        self.0.lock().unwrap().clone()
    }

    /// The only one.
    pub fn one(&self) -> Told {
        let mut all = self.all();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn add(&self, told: Told) {
        self.0.lock().unwrap().push(told);
    }
}

/// A TCP backend that reads a header and then sends back what it gets.
pub async fn echo() -> (Peer, Register) {
    let register = Register::default();
    let seen = register.clone();
    let peer = Peer::serving(move |mut wire| {
        let seen = seen.clone();
        async move {
            let Some(told) = told(&mut wire).await else { return };
            seen.add(told);
            let early = wire.take_buffer();
            wire.send(early).await;
            let (mut read, mut write) = wire.stream.split();
            // It ends when either side does.
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    })
    .await;
    (peer, register)
}

/// An HTTP backend that reads a header and then answers each request with its path.
pub async fn http() -> (Peer, Register) {
    let register = Register::default();
    let seen = register.clone();
    let peer = Peer::serving(move |mut wire| {
        let seen = seen.clone();
        async move {
            let Some(told) = told(&mut wire).await else { return };
            seen.add(told);
            while let Some(request) = wire.message().await {
                let path = request.first_line().split(' ').nth(1).unwrap_or_default().to_owned();
                wire.send(super::peer::answer("200 OK", &path)).await;
            }
        }
    })
    .await;
    (peer, register)
}
