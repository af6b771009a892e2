use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, ServerConnection};

use super::*;

/// What the server makes of resumption.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Tickets {
    Taken,
    None,
    /// Given, but refused by the key of the moment in every third handshake.
    RefusedAtTimes,
}

/// The handshakes as the server saw them.
#[derive(Default)]
struct Shaken {
    full: AtomicU64,
    resumed: AtomicU64,
}

/// A server that tells the kind of each handshake itself.
fn server(tickets: Tickets) -> (SocketAddr, CertificateDer<'static>, Arc<Shaken>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = || {
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.clone_key())
            .unwrap();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if tickets == Tickets::None {
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = Ticketer::new().unwrap();
        }
        Arc::new(config)
    };
    let (usual, other) = (config(), config());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let shaken = Arc::new(Shaken::default());
    let told = shaken.clone();
    let turn = Mutex::new(0);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut turn = turn.lock().unwrap();
            *turn += 1;
            let odd = tickets == Tickets::RefusedAtTimes && *turn % 3 == 0;
            let config = if odd { other.clone() } else { usual.clone() };
            let told = told.clone();
            thread::spawn(move || serve(stream.unwrap(), config, &told));
        }
    });
    (at, certificate, shaken)
}

fn serve(mut stream: TcpStream, config: Arc<ServerConfig>, shaken: &Shaken) {
    let mut tls = ServerConnection::new(config).unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let Ok(read) = rustls::Stream::new(&mut tls, &mut stream).read(&mut piece) else { return };
        asked.extend_from_slice(&piece[..read]);
    }
    let count = match tls.handshake_kind() {
        Some(HandshakeKind::Full) => &shaken.full,
        Some(HandshakeKind::Resumed) => &shaken.resumed,
        other => panic!("{other:?}"),
    };
    count.fetch_add(1, SeqCst);
    tls.writer().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    tls.send_close_notify();
    while tls.wants_write() {
        tls.write_tls(&mut stream).unwrap();
    }
}

const TIME: Duration = Duration::from_millis(400);
const PLACES: u64 = 4;

fn run(kind: Kind, tickets: Tickets) -> (Counted, Kinds, Arc<Shaken>) {
    let (at, certificate, shaken) = server(tickets);
    let (counted, kinds) = drive(at, &certificate, "/", kind, PLACES, TIME).unwrap();
    assert_eq!((counted.connect_errors, counted.read_errors, counted.wrong), (0, 0, 0));
    (counted, kinds, shaken)
}

/// The server may have begun what the load did not see the end of.
fn about(count: &AtomicU64) -> impl std::ops::RangeBounds<u64> {
    let count = count.load(SeqCst);
    count.saturating_sub(PLACES)..=count
}

#[test]
fn every_handshake_of_a_full_load_is_full_for_the_server_too() {
    use std::ops::RangeBounds;
    let (counted, kinds, shaken) = run(Kind::Full, Tickets::Taken);
    assert_eq!(kinds, Kinds { wanted: counted.units, others: 0, seeds: 0 });
    assert!(counted.units > 10);
    assert_eq!(shaken.resumed.load(SeqCst), 0);
    assert!(about(&shaken.full).contains(&counted.units));
}

#[test]
fn every_handshake_of_a_resumed_load_but_the_seeds_is_resumed_for_the_server_too() {
    use std::ops::RangeBounds;
    let (counted, kinds, shaken) = run(Kind::Resumed, Tickets::Taken);
    assert_eq!(kinds, Kinds { wanted: counted.units, others: 0, seeds: PLACES });
    assert!(counted.units > 10);
    assert_eq!(shaken.full.load(SeqCst), PLACES);
    assert!(about(&shaken.resumed).contains(&counted.units));
}

#[test]
fn a_server_that_does_not_resume_is_found_out() {
    let (counted, kinds, shaken) = run(Kind::Resumed, Tickets::None);
    assert_eq!((counted.units, kinds.wanted, shaken.resumed.load(SeqCst)), (0, 0, 0));
    assert!(kinds.others > 10);
}

#[test]
fn a_few_handshakes_of_the_other_kind_are_found_among_many() {
    let (counted, kinds, _) = run(Kind::Resumed, Tickets::RefusedAtTimes);
    assert!(kinds.others > 0 && counted.units > 0, "{kinds:?}");
}

#[test]
fn another_certificate_is_refused() {
    let (at, _, _) = server(Tickets::Taken);
    let (_, other, _) = server(Tickets::Taken);
    let (counted, kinds) = drive(at, &other, "/", Kind::Full, 1, Duration::from_millis(50)).unwrap();
    assert_eq!((counted.units, kinds.wanted), (0, 0));
    assert!(counted.read_errors > 0);
}
