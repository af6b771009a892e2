//! Pure. Which Service listens on which address: one socket has one owner, and the oldest comes first.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::control::kube::objects::service::Service;
use crate::model::intent::{ListenerKey, Transport};
use crate::model::problem::Origin;

use super::Draft;
use super::annotations::Wishes;

/// How the names of those sockets begin that are kept for Ingresses.
pub(super) const DOOR: &str = "ingress.";

/// Keeps the sockets of Ingresses from Services, also while there is no Ingress.
pub(super) fn reserve_doors(draft: &mut Draft<'_>) {
    let spec = draft.spec;
    for (key, doors) in [("http", &spec.ingress.http), ("https", &spec.ingress.https)] {
        for door in doors {
            let origin = Origin::new(spec.name.clone(), format!("{DOOR}{key} ({door} in the file)"));
            take(draft, ListenerKey::tcp(*door), &origin);
        }
    }
}

/// The address that a Service gets for these ports, one address for all. Every port that is free there may be taken.
///
/// # Errors
/// The address it insists on is not one to hand out.
pub(super) fn address(
    draft: &Draft<'_>,
    service: &Service,
    wishes: &Wishes,
    ports: &[(Transport, u16)],
) -> Result<IpAddr, String> {
    let all = &draft.spec.services.addresses;
    if let Some(wanted) = wishes.address {
        return match all.contains(&wanted) {
            true => Ok(wanted),
            false => Err(format!("annotation sluice.dev/address: {wanted} is not handed out here; {}", on_offer(all))),
        };
    }
    // What it asked for, then what it has, so that others coming and going do not move it.
    let asked = service.spec.load_balancer_ip.as_deref().and_then(|text| text.parse().ok());
    let mut choices: Vec<IpAddr> = asked.into_iter().chain(service.shown_addresses()).collect();
    choices.retain(|address| all.contains(address));
    choices.extend(all);
    let first = choices.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let key = |address: &IpAddr, (transport, port): (Transport, u16)| ListenerKey {
        transport,
        address: SocketAddr::new(*address, port),
    };
    let is_free = |address: &IpAddr| ports.iter().all(|port| holder(draft, key(address, *port)).is_none());
    Ok(choices.into_iter().find(is_free).unwrap_or(first))
}

/// The addresses that may be chosen, in words.
pub(super) fn on_offer(all: &[IpAddr]) -> String {
    if all.is_empty() {
        return "the file lists none under services.addresses".to_owned();
    }
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    format!("there are {} (services.addresses in the file)", all.join(", "))
}

/// Who has this socket, or one that overlaps with it. TCP and UDP do not take each other's.
pub(super) fn holder<'d>(draft: &'d Draft<'_>, key: ListenerKey) -> Option<&'d Origin> {
    let port = key.address.port();
    let places = draft.places.get(&(key.transport, port))?;
    let is_taken_by =
        |ip: IpAddr| ip == key.address.ip() || ListenerKey { address: SocketAddr::new(ip, port), ..key }.overlaps(key);
    places.iter().find(|(ip, _)| is_taken_by(*ip)).map(|(_, origin)| origin)
}

/// Takes a socket. Port 0 is a different one each time.
pub(super) fn take(draft: &mut Draft<'_>, ListenerKey { transport, address }: ListenerKey, origin: &Origin) {
    if address.port() != 0 {
        draft.places.entry((transport, address.port())).or_default().push((address.ip(), origin.clone()));
    }
}
