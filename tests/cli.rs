//! The binary as a person runs it: exit codes, error texts, signals, the demo.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

const PATIENCE: Duration = Duration::from_secs(20);

fn sluice(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(arguments).env_remove("SLUICE_LOG").stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    sluice(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Looks again and again until something is found.
fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let since = SystemTime::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(since.elapsed().unwrap_or_default() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process that is killed when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn code(&mut self) -> Option<i32> {
        eventually("the process to end", || self.0.try_wait().unwrap()).code()
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One request on a connection of its own: status and body.
fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some((status, body.to_owned()))
}

/// A TCP backend that echoes what each connection sends, until the test ends.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                let _ = std::io::copy(&mut from, &mut to);
            });
        }
    });
    address
}

fn write_file(folder: &Path, admin: u16, bind: u16, backend: SocketAddr) -> String {
    let path = folder.join("sluice.yaml");
    let file = format!(
        "process: {{admin: \"127.0.0.1:{admin}\", workers: 1, drain: 10s}}
listeners:
  tcp: {{bind: \"127.0.0.1:{bind}\", protocol: tcp, pool: echo}}
pools:
  echo: {{backends: [\"{backend}\"]}}
"
    );
    fs::write(&path, file).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn wrong_usage_exits_2_and_help_has_an_example() {
    assert_eq!(output(&["fly"]).status.code(), Some(2));
    assert_eq!(output(&["run", "--log", "a=b=c"]).status.code(), Some(2));
    for command in ["run", "check", "render", "migrate", "demo"] {
        let help = output(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        assert!(text(&help.stdout).contains("Example"), "{command} --help has no example");
    }
}

#[test]
fn a_wrong_file_is_told_with_its_line_before_anything_is_bound() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let path = write_file(folder.path(), free_port(), port, echo());
    let wrong = fs::read_to_string(&path).unwrap().replace("protocol: tcp, pool: echo", "protocol: tcp, pol: echo");
    fs::write(&path, wrong).unwrap();
    for command in ["run", "check"] {
        let out = output(&[command, "--config", &path]);
        assert_eq!(out.status.code(), Some(1));
        let told = text(&out.stderr);
        assert!(told.contains("sluice.yaml:3:"), "no place in: {told}");
        assert!(told.contains("pol") && told.contains("pool"), "no remedy in: {told}");
    }
    TcpListener::bind(("127.0.0.1", port)).unwrap();
    let missing = output(&["run", "--config", "/nowhere/sluice.yaml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("/nowhere/sluice.yaml"));
    let empty = tempfile::tempdir().unwrap();
    for command in ["run", "check"] {
        let none = sluice(&[command]).current_dir(empty.path()).output().unwrap();
        let told = "no configuration: neither /etc/sluice/sluice.yaml nor ./sluice.yaml exists; name one with --config";
        assert_eq!(none.status.code(), Some(1));
        assert!(text(&none.stderr).contains(told), "{}", text(&none.stderr));
    }
}

#[test]
fn an_admin_port_that_is_taken_ends_the_start() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = write_file(folder.path(), holder.local_addr().unwrap().port(), free_port(), echo());
    let out = output(&["run", "--config", &path]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("is in use"), "{}", text(&out.stderr));
}

#[test]
fn it_reloads_on_hangup_keeps_the_last_good_file_and_drains_on_terminate() {
    let folder = tempfile::tempdir().unwrap();
    let (admin, first, second) = (free_port(), free_port(), free_port());
    let path = write_file(folder.path(), admin, first, echo());
    let good = fs::read_to_string(&path).unwrap();
    let mut command = sluice(&["run", "--config", &path]);
    command.stderr(Stdio::null());
    let mut running = Running::start(command);
    eventually("readiness", || get(admin, "/readyz").filter(|(status, _)| *status == 200));

    let mut open = TcpStream::connect(("127.0.0.1", first)).unwrap();
    let mut still_echoes = || {
        open.write_all(b"x").unwrap();
        open.read_exact(&mut [0]).unwrap();
    };
    still_echoes();

    fs::write(&path, good.replace("protocol: tcp", "protocol: tpc")).unwrap();
    running.signal("HUP");
    eventually("the problem", || get(admin, "/api/v1/problems").filter(|(_, body)| body.contains("sluice.yaml:3:")));
    still_echoes();
    TcpStream::connect(("127.0.0.1", first)).unwrap();

    fs::write(&path, good.replace(&first.to_string(), &second.to_string())).unwrap();
    running.signal("HUP");
    eventually("the new port", || TcpStream::connect(("127.0.0.1", second)).ok());
    still_echoes();
    eventually("no problem", || get(admin, "/api/v1/problems").filter(|(_, body)| body.contains("[]")));

    running.signal("TERM");
    eventually("readiness to go", || get(admin, "/readyz").filter(|(status, _)| *status == 503));
    eventually("the port to close", || TcpStream::connect(("127.0.0.1", second)).is_err().then_some(()));
    still_echoes();
    assert!(running.0.try_wait().unwrap().is_none(), "it waits for what is under way");
    drop(open);
    assert_eq!(running.code(), Some(0));
}

#[test]
fn a_second_terminate_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (admin, port) = (free_port(), free_port());
    let path = write_file(folder.path(), admin, port, echo());
    let mut command = sluice(&["run", "--config", &path]);
    command.stderr(Stdio::null());
    let mut running = Running::start(command);
    eventually("readiness", || get(admin, "/readyz").filter(|(status, _)| *status == 200));
    let mut open = TcpStream::connect(("127.0.0.1", port)).unwrap();
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0]).unwrap();
    running.signal("TERM");
    eventually("the drain", || get(admin, "/readyz").filter(|(status, _)| *status == 503));
    running.signal("TERM");
    assert_eq!(running.code(), Some(0), "well before the drain's ten seconds");
}

#[test]
fn the_demo_answers_as_it_says_and_goes_round_a_pi_that_is_off() {
    let (port, admin) = (free_port().to_string(), free_port().to_string());
    let mut command = sluice(&["demo", "--port", &port, "--admin-port", &admin]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running::start(command);
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let mut welcome = Vec::new();
    while !welcome.iter().any(|line: &String| line.starts_with("Ctrl-C")) {
        welcome.push(lines.next().expect("a welcome").unwrap());
    }
    // The ports are those that were printed: another process may have taken the wished ones.
    let printed = |mark: &str| {
        let line = welcome.iter().find(|line| line.contains(mark)).unwrap();
        let digits = line.split("127.0.0.1:").nth(1).unwrap().chars().take_while(char::is_ascii_digit);
        digits.collect::<String>().parse::<u16>().unwrap()
    };
    let (http, admin) = (printed("an Ingress"), printed("status, metrics"));
    let pi = welcome.iter().find_map(|line| line.split("http://127.0.0.11:").nth(1)).unwrap();
    let pi: u16 = pi.split('/').next().unwrap().parse().unwrap();

    let answer = || get(http, "/").unwrap();
    let mut names: Vec<_> = (0..40).map(|_| answer().1.split(':').next().unwrap().to_owned()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names, ["pi-1", "pi-2", "pi-3", "pi-4"]);

    let mut off = TcpStream::connect(("127.0.0.11", pi)).unwrap();
    write!(off, "GET /off HTTP/1.1\r\nHost: pi\r\n\r\n").unwrap();
    let mut told = String::new();
    off.read_to_string(&mut told).unwrap();
    assert!(told.ends_with("pi-1: off for 10 s\n"), "{told}");
    for _ in 0..40 {
        let (status, body) = answer();
        assert_eq!(status, 200);
        assert!(!body.starts_with("pi-1"), "{body}");
    }
    assert!(get(admin, "/metrics").unwrap().1.contains("sluice_requests_total{listener=\"demo/http\""));
    running.signal("INT");
    assert_eq!(running.code(), Some(0));
}

#[test]
fn render_prints_what_kubectl_would_pipe_in() {
    let shop = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/shop.yaml");
    let mut command = sluice(&["render", "-"]);
    let out = command.stdin(fs::File::open(shop).unwrap()).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("pool "), "{}", text(&out.stdout));
}
