//! A lab of network namespaces: a client, a router and two nodes, joined by veth pairs of MTU 1500.
//!
//! ```text
//!   client 198.51.100.10 ── 198.51.100.1, .2 router 192.0.2.1 ── 192.0.2.2 node 1
//!                                                203.0.113.1 ── 203.0.113.2 node 2
//! ```
//!
//! A namespace here has no name: it lives as long as somebody holds its descriptor or runs in it, so that nothing is
//! left behind however a test ends. A thread enters one with [`Space::run`] or [`Space::spawn`] and everything it
//! opens or starts from then on is there. Knows nothing of sluice.

use std::any::Any;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// The router's two addresses on the client's side.
pub const ROUTER: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(198, 51, 100, 2)];
pub const NODES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(203, 0, 113, 2)];

/// Turns a skip into a failure; CI sets it. The cluster's lab knows it too.
const REQUIRE: &str = "LAB_REQUIRE";
/// Tells a story that runs itself again in a user namespace that it did so.
const INSIDE: &str = "SLUICE_NETNS_INSIDE";

/// A network namespace.
pub struct Space {
    link: File,
}

impl Space {
    /// A new one, whose loopback is up.
    fn new() -> Result<Self, String> {
        // `cat` answers as soon as it runs, and by then it is in a namespace of its own.
        let mut anchor = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare (util-linux) cannot be run: {error}"))?;
        let mut input = anchor.stdin.take().unwrap();
        let mut heard = [0];
        let answered = input.write_all(b"!").and_then(|()| anchor.stdout.as_mut().unwrap().read_exact(&mut heard));
        let link = answered.ok().map(|()| File::open(format!("/proc/{}/ns/net", anchor.id())).unwrap());
        drop(input);
        let output = anchor.wait_with_output().unwrap();
        let Some(link) = link else { return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) };
        let space = Self { link };
        space.ip("link set lo up");
        Ok(space)
    }

    /// Runs a closure inside, on a thread of its own, and waits for it. Panics as it does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                work()
            });
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Starts a thread inside.
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let inside = Self { link: self.link.try_clone().unwrap() };
        thread::spawn(move || {
            inside.enter();
            work()
        })
    }

    /// Runs `ip` inside with these words.
    pub fn ip(&self, words: &str) {
        let output = self.run(|| Command::new("ip").args(words.split(' ')).output().unwrap());
        assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn enter(&self) {
        move_into_link_name_space(self.link.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Where others find it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.link.as_raw_fd())
    }
}

/// The four namespaces.
pub struct Lab {
    pub client: Space,
    pub router: Space,
    pub nodes: [Space; 2],
}

impl Lab {
    fn new() -> Result<Self, String> {
        let lab = Self { client: Space::new()?, router: Space::new()?, nodes: [Space::new()?, Space::new()?] };
        for (name, peer, far, near) in [
            ("client", &lab.client, format!("{CLIENT}/24"), "198.51.100.1/24"),
            ("node1", &lab.nodes[0], format!("{}/24", NODES[0]), "192.0.2.1/24"),
            ("node2", &lab.nodes[1], format!("{}/24", NODES[1]), "203.0.113.1/24"),
        ] {
            lab.router.ip(&format!("link add {name} mtu 1500 type veth peer name eth0 mtu 1500 netns {}", peer.path()));
            lab.router.ip(&format!("addr add {near} dev {name}"));
            lab.router.ip(&format!("link set {name} up"));
            peer.ip(&format!("addr add {far} dev eth0"));
            peer.ip("link set eth0 up");
        }
        lab.router.ip(&format!("addr add {}/24 dev client", ROUTER[1]));
        Ok(lab)
    }

    /// Makes everybody send packets of one segment. Otherwise a veth hands over up to 64 KiB in one piece, which no
    /// wire does, and what is read comes in whole pages.
    pub fn send_single_segments(&self) {
        for space in [&self.client, &self.nodes[0], &self.nodes[1]] {
            space.ip("link set eth0 gso_max_segs 1");
        }
    }

    /// Node `index` falls silent: no packet leaves it, none is answered, and no cable tells of it.
    pub fn cut_power(&self, index: usize) {
        self.nodes[index].ip("addr flush dev eth0");
    }
}

/// Tells a story in a lab of its own, one story at a time. Where root's rights are missing the test runs itself again
/// in a user namespace; where that is forbidden too it is left out, loudly, or fails if `LAB_REQUIRE` is set.
pub fn story(tell: impl FnOnce(&Lab)) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if Command::new("ip").arg("-V").output().is_err() {
        return skip("the ip command (iproute2) is missing");
    }
    match Lab::new() {
        Ok(lab) => tell(&lab),
        Err(why) if std::env::var_os(INSIDE).is_some() => skip(&why),
        Err(why) => tell_inside(&why),
    }
}

/// Runs this very test again, alone, as root of a user namespace.
fn tell_inside(why: &str) {
    let user = ["--user", "--map-root-user", "--net"];
    let may = Command::new("unshare").args(user).arg("true").output();
    if !may.is_ok_and(|output| output.status.success()) {
        return skip(&format!("network namespaces are not permitted here ({why}); run as root"));
    }
    let name = thread::current().name().unwrap().to_owned();
    let status = Command::new("unshare")
        .args(user)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in its user namespace");
}

fn skip(why: &str) {
    // Past the capture of the test harness: nobody shall take this for a pass.
    let _ = writeln!(std::io::stderr(), "\n######## NOT TESTED: a story between namespaces: {why} ########\n");
    assert!(std::env::var_os(REQUIRE).is_none(), "NOT TESTED, and {REQUIRE} forbids that: {why}");
}

/// Joins a thread; panics as it did.
pub fn joined<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic: Box<dyn Any + Send>| resume_unwind(panic))
}
