//! Out of descriptors: the binary with few of them, before more clients than it has places for.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fmt::Write as _;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{Peer, Wire, soon};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

/// Descriptors the process may have, and the connections it has places for then (`net::reserve`).
const DESCRIPTORS: usize = 256;
const PLACES: usize = 64;

/// A process that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(web: SocketAddr, admin: SocketAddr, backend: SocketAddr, folder: &std::path::Path) -> Running {
    let mut file = String::new();
    writeln!(file, "process: {{admin: '{admin}', workers: 2}}").unwrap();
    writeln!(file, "listeners: {{web: {{bind: '{web}', protocol: tcp, pool: site}}}}").unwrap();
    writeln!(file, "pools: {{site: {{backends: ['{backend}'], probe: none}}}}").unwrap();
    let path = folder.join("sluice.yaml");
    std::fs::write(&path, file).unwrap();
    let limited = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" run --config \"$1\"");
    let mut command = Command::new("sh");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_sluice")]).arg(&path);
    Running(command.env_remove("SLUICE_LOG").stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
}

/// One echo, if it is given within this time.
async fn echo(client: &mut Wire, within: Duration) -> bool {
    if client.try_send("x").await.is_err() {
        return false;
    }
    let mut byte = [0];
    matches!(tokio::time::timeout(within, client.stream.read(&mut byte)).await, Ok(Ok(1)))
}

/// A value of the admin port's metrics.
async fn metric(admin: SocketAddr, series: &str) -> f64 {
    let page = Wire::to(admin).await.get(&admin.to_string(), "/metrics").await;
    assert_eq!(page.status(), 200);
    let line = page.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
}

#[tokio::test]
async fn clients_that_take_every_descriptor_leave_the_rest_working() {
    let (backend, folder) = (Peer::echo().await, tempfile::tempdir().unwrap());
    let (web, admin) = (free(), free());
    let process = start(web, admin, backend.address, folder.path());
    let begun = Instant::now();
    while tokio::net::TcpStream::connect(web).await.is_err() {
        assert!(begun.elapsed() < support::PATIENCE, "it does not listen");
    }
    let mut open = Vec::new();
    while open.len() < 20 {
        let mut client = Wire::to(web).await;
        assert!(echo(&mut client, support::PATIENCE).await);
        open.push(client);
    }
    // Three times as many as there are places: the kernel takes them, we do not.
    let mut flood = Vec::new();
    for _ in 0..3 * PLACES {
        let mut client = Wire::to(web).await;
        client.send("f").await;
        flood.push(client);
    }
    let active = "sluice_listener_connections_active{listener=\"web\"}";
    let paused = "sluice_listener_refused_total{listener=\"web\",reason=\"capacity\"}";
    soon("the places to be taken", async { while metric(admin, active).await < PLACES as f64 {} }).await;
    assert_eq!(metric(admin, active).await, PLACES as f64, "as many as there are places");
    assert!(metric(admin, paused).await >= 1.0);
    assert!(metric(admin, "process_open_fds").await < (DESCRIPTORS - 32) as f64, "a reserve is left");

    // While it lasts: who is served goes on, the admin port answers, and nothing spins.
    let before = metric(admin, "process_cpu_seconds_total").await;
    let begun = Instant::now();
    for client in &mut open {
        assert!(echo(client, Duration::from_secs(1)).await, "an open connection goes on");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = metric(admin, "process_cpu_seconds_total").await - before;
    assert!(spent < 0.25 * begun.elapsed().as_secs_f64(), "{spent} s of CPU in {:?}", begun.elapsed());
    assert_eq!(metric(admin, active).await, PLACES as f64);

    // When it is over, newcomers are served within a second.
    drop(flood);
    let freed = Instant::now();
    let mut client = Wire::to(web).await;
    assert!(echo(&mut client, support::PATIENCE).await);
    assert!(freed.elapsed() < Duration::from_secs(1), "served after {:?}", freed.elapsed());
    for client in &mut open {
        assert!(echo(client, Duration::from_secs(1)).await);
    }

    assert_told(process);
}

/// The log says it, and does not repeat it.
fn assert_told(mut process: Running) {
    process.0.kill().unwrap();
    let mut log = String::new();
    process.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let told = log.lines().filter(|line| line.contains("accepting pauses")).count();
    assert!((1..=4).contains(&told), "{told} lines:\n{log}");
}

/// CPU time of another process so far, in ticks of 10 ms.
fn ticks(process: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.0.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test]
async fn a_system_that_gives_less_than_it_promised_makes_nothing_spin() {
    let (backend, folder) = (Peer::echo().await, tempfile::tempdir().unwrap());
    let (web, admin) = (free(), free());
    let process = start(web, admin, backend.address, folder.path());
    let begun = Instant::now();
    while tokio::net::TcpStream::connect(web).await.is_err() {
        assert!(begun.elapsed() < support::PATIENCE, "it does not listen");
    }
    let mut open = Wire::to(web).await;
    assert!(echo(&mut open, support::PATIENCE).await);
    // From now on it gets none at all.
    let pid = rustix::process::Pid::from_raw(process.0.id() as i32);
    let limit = |most| rustix::process::Rlimit { current: Some(most), maximum: Some(DESCRIPTORS as u64) };
    let set = |most| rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limit(most)).unwrap();
    set(8);
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(Wire::to(web).await);
    }
    let before = ticks(&process);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(ticks(&process) - before < 25, "{} ticks in a second", ticks(&process) - before);
    assert!(echo(&mut open, Duration::from_secs(1)).await, "an open connection goes on");
    set(DESCRIPTORS as u64);
    let freed = Instant::now();
    for client in &mut waiting {
        assert!(echo(client, support::PATIENCE).await, "who waited is served");
    }
    assert!(freed.elapsed() < Duration::from_secs(1), "served after {:?}", freed.elapsed());
    assert_told(process);
}
