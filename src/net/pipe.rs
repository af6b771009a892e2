//! Pipes to splice through: a few kept by each thread, lent for as long as bytes are in them.
//!
//! A pipe holds a number of *slots*, one a page for its nominal size; spliced bytes take a slot a fragment, however
//! small. The usual 16 are just right: measured on loopback, on Ethernet and on Ethernet without offloads, more of them
//! cost a stream up to a fifth more CPU time, since what went in all at once has left the caches when it comes out and
//! keeps the source waiting meanwhile; fewer cost a third. Where the kernel gives less (its user has too many pages in
//! pipes, `pipe-user-pages-soft`), where the process has opened as many as its limit of descriptors allows, or when a
//! thread has lent its share, none is lent and the asker copies.
//!
//! A pipe that holds bytes is never lent again: they are another connection's. It is closed.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::param::page_size;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, pipe_with};

use super::reserve;

/// The most that one splice asks for, in bytes.
const ROOM: usize = 64 * 1024;
/// What the kernel gives whoever has not too many already, in slots: below, copying is as cheap.
const SLOTS: usize = 16;
/// Empty pipes a thread keeps; a pipe is lent for one turn unless its sink is slow.
const KEPT: usize = 8;
/// Pipes a thread lends at a time: slow sinks hold one each, and two descriptors with it.
const LENT: usize = 256;
/// When none could be made, so many askers are turned away before it is tried again.
const REST: usize = 64;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { kept: Vec::new(), lent: 0, rest: 0 }) };
}

#[derive(Debug)]
struct Pool {
    kept: Vec<Ends>,
    lent: usize,
    rest: usize,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    _slot: Slot,
}

/// Pipes open in the process, of which few are made and closed: who streams is lent one that was kept.
static OPEN: Open = Open(AtomicUsize::new(0));

#[derive(Debug)]
struct Open(AtomicUsize);

/// One of the pipes that the process may have open; dropping it lets another be opened.
#[derive(Debug)]
struct Slot(&'static Open);

impl Open {
    fn take(&'static self, most: usize) -> io::Result<Slot> {
        let more = |open: usize| (open < most).then_some(open + 1);
        self.0
            .fetch_update(Relaxed, Relaxed, more)
            .map_err(|_| io::Error::other("as many as descriptors allow are open"))?;
        Ok(Slot(self))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// A pipe on loan. When it is dropped it goes back to its thread if it is empty, and is closed if it is not.
#[derive(Debug)]
pub(super) struct Pipe {
    ends: Option<Ends>,
    held: usize,
}

impl Pipe {
    /// An empty pipe, if one can be had. A new one costs two system calls, one that was kept none.
    pub(super) fn borrow() -> Option<Self> {
        POOL.with_borrow_mut(|pool| {
            if pool.lent >= LENT {
                return None;
            }
            let ends = match pool.kept.pop() {
                Some(ends) => ends,
                None if pool.rest > 0 => {
                    pool.rest -= 1;
                    return None;
                }
                None => match open() {
                    Ok(ends) => ends,
                    Err(_) => {
                        pool.rest = REST;
                        return None;
                    }
                },
            };
            pool.lent += 1;
            Some(Self { ends: Some(ends), held: 0 })
        })
    }

    /// Bytes in it.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The most that one splice into it may ask for. How much goes in is the kernel's to say: it counts slots, not bytes,
    /// and a slot may hold a fragment larger than a page.
    pub(super) fn room(&self) -> usize {
        ROOM
    }

    /// Where bytes come out, and where they go in.
    pub(super) fn ends(&self) -> Option<(&OwnedFd, &OwnedFd)> {
        self.ends.as_ref().map(|ends| (&ends.read, &ends.write))
    }

    /// So many went in.
    pub(super) fn filled(&mut self, bytes: usize) {
        self.held += bytes;
    }

    /// So many came out.
    pub(super) fn drained(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let ends = self.ends.take();
        let empty = self.held == 0;
        // A thread that ends has no pool any more; then the pipe is closed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            pool.lent = pool.lent.saturating_sub(1);
            if let Some(ends) = ends
                && empty
                && pool.kept.len() < KEPT
            {
                pool.kept.push(ends);
            }
        });
    }
}

fn open() -> io::Result<Ends> {
    if !is_sigpipe_ignored() {
        return Err(io::Error::other("a splice into a closed socket would end the process"));
    }
    static MOST: OnceLock<usize> = OnceLock::new();
    let slot = OPEN.take(*MOST.get_or_init(reserve::pipes))?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    if fcntl_getpipe_size(write.as_fd())? < SLOTS * page_size() {
        return Err(io::Error::other("the kernel gives this user none but small pipes"));
    }
    Ok(Ends { read, write, _slot: slot })
}

/// Whether SIGPIPE is ignored. `send` can be told not to raise it, `splice` cannot. Rust's runtime ignores it before
/// `main`; who called this library otherwise may not.
fn is_sigpipe_ignored() -> bool {
    static IGNORED: OnceLock<bool> = OnceLock::new();
    *IGNORED.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status");
        // Without /proc the runtime is believed.
        status.map_or(true, |text| ignores_sigpipe(&text))
    })
}

/// Reads the mask of ignored signals from the text of /proc/self/status (proc(5)).
fn ignores_sigpipe(status: &str) -> bool {
    const SIGPIPE: u32 = 13;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    mask.is_none_or(|mask| mask & (1 << (SIGPIPE - 1)) != 0)
}

#[cfg(test)]
pub(super) mod tests {
    use rustix::pipe::fcntl_setpipe_size;

    use super::*;

    impl Pipe {
        /// A pipe of its own size, beside the thread's.
        pub(crate) fn of_size(bytes: usize) -> Self {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
            fcntl_setpipe_size(&write, bytes).unwrap();
            POOL.with_borrow_mut(|pool| pool.lent += 1);
            let _slot = OPEN.take(usize::MAX).unwrap();
            Self { ends: Some(Ends { read, write, _slot }), held: 0 }
        }
    }

    /// Makes this thread believe that its share is lent, until it is dropped.
    pub(crate) fn exhaust() -> impl Drop {
        struct Exhausted;
        impl Drop for Exhausted {
            fn drop(&mut self) {
                POOL.with_borrow_mut(|pool| pool.lent -= LENT);
            }
        }
        POOL.with_borrow_mut(|pool| pool.lent += LENT);
        Exhausted
    }

    /// Pipes lent, and kept, by this thread.
    pub(crate) fn standing() -> (usize, usize) {
        POOL.with_borrow(|pool| (pool.lent, pool.kept.len()))
    }

    fn read_end(pipe: &Pipe) -> i32 {
        use std::os::fd::AsRawFd;
        pipe.ends().unwrap().0.as_raw_fd()
    }

    #[test]
    fn an_empty_pipe_is_lent_again_and_one_with_bytes_never() {
        let pipe = Pipe::borrow().unwrap();
        assert!(fcntl_getpipe_size(pipe.ends().unwrap().0).unwrap() >= ROOM);
        let first = read_end(&pipe);
        assert_eq!(standing(), (1, 0));
        drop(pipe);
        assert_eq!(standing(), (0, 1));
        let mut pipe = Pipe::borrow().unwrap();
        assert_eq!(read_end(&pipe), first, "the same again");
        rustix::io::write(pipe.ends().unwrap().1, b"somebody's").unwrap();
        pipe.filled(10);
        pipe.drained(9);
        drop(pipe);
        assert_eq!(standing(), (0, 0), "closed: a byte of somebody's was in it");
    }

    #[test]
    fn pipes_are_lent_and_kept_within_bounds() {
        let lent: Vec<_> = std::iter::from_fn(Pipe::borrow).take(LENT + 1).collect();
        assert!(!lent.is_empty() && lent.len() <= LENT, "{}", lent.len());
        assert!(Pipe::borrow().is_none());
        drop(lent);
        assert_eq!(standing(), (0, KEPT));
    }

    #[test]
    fn the_process_opens_no_more_than_its_descriptors_allow() {
        // Not those of the process: other tests have pipes of their own.
        static OPEN: Open = Open(AtomicUsize::new(0));
        let taken: Vec<_> = std::iter::from_fn(|| OPEN.take(1000).ok()).collect();
        assert_eq!(taken.len(), 1000);
        drop(taken);
        assert!(OPEN.take(1).is_ok() && OPEN.take(0).is_err());
        assert!(reserve::pipes() * 2 <= crate::net::socket::descriptors() / 16);
    }

    #[test]
    fn signals_are_read_from_the_kernels_text() {
        assert!(ignores_sigpipe("Name:\tx\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000000\n"));
        assert!(!ignores_sigpipe("SigIgn:\t0000000000000fff\n"));
        assert!(ignores_sigpipe("nothing is said"));
        assert!(is_sigpipe_ignored(), "the runtime of tests ignores it as that of a binary does");
    }
}
