//! Who holds a port: found in /proc, so that "address in use" can name the process.

use std::fs;
use std::net::SocketAddr;

/// Who holds a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Holder {
    /// This process itself.
    Ourselves,
    /// Another, as `name (pid N)`.
    Other(String),
}

/// The kernel's tables of sockets, and the state in which one of them takes what comes (proc(5)).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Table {
    /// Of TCP: those that listen.
    Tcp,
    /// Of UDP: those that are bound and not connected.
    Udp,
}

impl Table {
    fn files(self) -> [&'static str; 2] {
        match self {
            Self::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
            Self::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        }
    }

    fn state(self) -> &'static str {
        match self {
            Self::Tcp => "0A",
            Self::Udp => "07",
        }
    }
}

/// The process that has the port of `address`, be it there or at another address; others before ourselves. `None` when nobody does or when /proc does not let us see. Blocks for as long as a walk over /proc takes: not for a
/// data thread.
pub fn of(address: SocketAddr, table: Table) -> Option<Holder> {
    let inodes: Vec<String> = table
        .files()
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|text| listening_inodes(&text, table.state(), address.port()))
        .collect();
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let own = std::process::id();
    let other = pids.find(|pid| *pid != own && holds(*pid, &links)).map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Holder::Other(format!("{} (pid {pid})", name.trim()))
    });
    other.or_else(|| holds(own, &links).then_some(Holder::Ourselves))
}

/// Inodes of sockets in this state with this local port, from the text of a table.
fn listening_inodes(table: &str, wanted: &str, port: u16) -> Vec<String> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        let local_port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (state == wanted && local_port == port).then(|| inode.to_owned())
    };
    table.lines().skip(1).filter_map(line).collect()
}

fn holds(pid: u32, links: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut targets = descriptors.flatten().filter_map(|d| fs::read_link(d.path()).ok());
    targets.any(|target| links.iter().any(|link| target.as_os_str() == link.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0\n   \
            1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4\n";
        assert_eq!(listening_inodes(table, "0A", 8080), ["4711"]);
        assert!(listening_inodes(table, "0A", 80).is_empty());
    }

    #[test]
    fn finds_ourselves() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(of(address, Table::Tcp), Some(Holder::Ourselves));
        drop(socket);
        assert_ne!(of(address, Table::Tcp), Some(Holder::Ourselves));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(of(address, Table::Udp), Some(Holder::Ourselves));
        assert_eq!(of(address, Table::Tcp), None);
    }
}
