//! Where the admin port is, and the opening of it.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Who may speak to the unix socket: its owner and its group.
const MODE: u32 = 0o660;

/// Where the admin port is: `127.0.0.1:9650`, `[::1]:0`, `unix:/run/sluice.sock`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// A TCP port; 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A unix socket at this path.
    Unix(PathBuf),
}

/// A text that is not an address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("admin address {0:?} is not one; write it like 127.0.0.1:9650, [::1]:9650 or unix:/run/sluice.sock")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix("unix:") {
            Some(path) if Path::new(path).is_absolute() => Ok(Self::Unix(path.into())),
            Some(_) => Err(AddressError(text.to_owned())),
            None => text.parse().map(Self::Tcp).map_err(|_| AddressError(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why the admin port is not open.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Others than this host could reach it.
    #[error(
        "admin address {0} can be reached from outside this host, and there is no token to guard it with; \
         use 127.0.0.1, [::1] or unix:PATH"
    )]
    OffLoopback(SocketAddr),
    /// Something else has the port or the socket.
    #[error("admin address {0} is in use; stop what listens there, or choose another address")]
    InUse(Address),
    /// What is at the path is not a socket and stays.
    #[error("admin address {0}: there is a file at this path that is not a socket; remove it, or choose another path")]
    NotASocket(Address),
    /// Anything else.
    #[error("admin address {address} could not be opened: {error}")]
    Io {
        /// The address as asked.
        address: Address,
        /// What the system said.
        error: io::Error,
    },
}

/// An open admin port that is not served yet. It needs no runtime; clients that come early wait.
#[derive(Debug)]
pub struct Listening {
    address: Address,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpListener),
    Unix(unix::UnixListener, SocketFile),
}

/// Opens the admin port. Does not wait.
///
/// # Errors
/// See [`BindError`]. A unix socket that nobody listens on any more is replaced.
pub fn bind(asked: &Address) -> Result<Listening, BindError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(asked.clone()),
        _ => BindError::Io { address: asked.clone(), error },
    };
    match asked {
        Address::Tcp(address) if !address.ip().to_canonical().is_loopback() => Err(BindError::OffLoopback(*address)),
        Address::Tcp(address) => {
            let listener = std::net::TcpListener::bind(address).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            let address = Address::Tcp(listener.local_addr().map_err(failed)?);
            Ok(Listening { address, socket: Socket::Tcp(listener) })
        }
        Address::Unix(path) => {
            clear(path, asked)?;
            let listener = unix::UnixListener::bind(path).map_err(failed)?;
            let file = SocketFile::at(path).map_err(failed)?;
            fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            Ok(Listening { address: asked.clone(), socket: Socket::Unix(listener, file) })
        }
    }
}

/// Removes the socket that a process left behind which was killed.
fn clear(path: &Path, asked: &Address) -> Result<(), BindError> {
    let failed = |error| BindError::Io { address: asked.clone(), error };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(file) if !file.file_type().is_socket() => Err(BindError::NotASocket(asked.clone())),
        Ok(_) => match unix::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
            Err(error) => Err(failed(error)),
            Ok(_) => Err(BindError::InUse(asked.clone())),
        },
    }
}

impl Listening {
    /// The address that is open: with the kernel's choice where port 0 was asked.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Hands the socket to the running runtime. The socket's file is removed when the second part is dropped.
    pub(super) fn into_acceptor(self) -> io::Result<(Acceptor, Option<SocketFile>)> {
        match self.socket {
            Socket::Tcp(listener) => Ok((Acceptor::Tcp(TcpListener::from_std(listener)?), None)),
            Socket::Unix(listener, file) => Ok((Acceptor::Unix(UnixListener::from_std(listener)?), Some(file))),
        }
    }
}

/// The open socket in the hands of a runtime.
#[derive(Debug)]
pub(super) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A client's connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Acceptor {
    /// The next connection. May be dropped while it waits.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

/// The file of our unix socket; removed on drop unless somebody put another in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: inode(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // Nothing is lost when it stays: the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_read_back_as_written_and_others_say_what_would_be_right() {
        for text in ["127.0.0.1:9650", "[::1]:0", "unix:/run/sluice.sock"] {
            assert_eq!(at(text).to_string(), text);
        }
        for text in ["", "9650", "localhost:9650", "unix:", "unix:relative.sock", "/run/sluice.sock"] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("write it like 127.0.0.1:9650"), "{error}");
        }
    }

    #[test]
    fn a_port_that_others_could_reach_is_refused() {
        for text in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9650", "[::ffff:192.0.2.1]:9650"] {
            let error = bind(&at(text)).unwrap_err();
            assert!(matches!(error, BindError::OffLoopback(_)), "{error}");
        }
    }

    #[test]
    fn the_chosen_port_is_told_and_a_taken_one_is_refused() {
        let open = bind(&at("127.0.0.1:0")).unwrap();
        assert_ne!(*open.address(), at("127.0.0.1:0"));
        assert!(matches!(bind(open.address()), Err(BindError::InUse(_))));
    }

    #[test]
    fn a_socket_left_behind_is_replaced_but_a_live_one_and_a_file_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let address = Address::Unix(path.clone());
        drop(unix::UnixListener::bind(&path).unwrap());
        let open = bind(&address).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(matches!(bind(&address), Err(BindError::InUse(_))));
        drop(open);
        assert!(!path.exists(), "our socket's file goes with it");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&address), Err(BindError::NotASocket(_))));
        assert!(path.exists());
    }
}
