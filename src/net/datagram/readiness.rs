//! Waits for many sockets at the price of one: an epoll of their own, which the runtime watches as one descriptor.
//!
//! A socket costs one `epoll_ctl` when it is added and nothing in the runtime. Readiness is told once an edge: who is
//! told must read until a short batch.
#![allow(unsafe_code, reason = "the runtime asks for a promise that the descriptor stays open")]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Sockets that are waited for, each by a number.
pub struct Readiness {
    epoll: AsyncFd<OwnedFd>,
    events: Vec<epoll::Event>,
}

/// How many are told of in one call.
const AT_ONCE: usize = 64;

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

impl Readiness {
    /// Waits for none yet. To be called in a runtime.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // SAFETY: the descriptor is open, always the same one, and owned by what is made here until that is dropped.
        let epoll = unsafe { AsyncFd::register_with_interest(epoll, Interest::READABLE) }.map_err(io::Error::from)?;
        Ok(Self { epoll, events: Vec::with_capacity(AT_ONCE) })
    }

    /// Waits for this socket too, until it is closed: something to read, or an error.
    ///
    /// # Errors
    /// Out of memory or of `fs.epoll.max_user_watches`.
    pub fn add(&self, socket: &impl AsFd, number: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(number);
        epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN | epoll::EventFlags::ET)?;
        Ok(())
    }

    /// Waits until a socket may be ready, then calls `ready` with the numbers of those that are, at most some tens. True
    /// when there may be more.
    ///
    /// # Errors
    /// When the runtime is being taken down.
    pub async fn wait(&mut self, mut ready: impl FnMut(u64)) -> io::Result<bool> {
        let mut guard = self.epoll.readable().await?;
        self.events.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(guard.get_inner(), spare_capacity(&mut self.events), Some(&at_once))?;
        let more = self.events.len() == AT_ONCE;
        if !more {
            // What comes after the call above is an edge of its own, which the runtime has not seen yet.
            guard.clear_ready();
        }
        self.events.iter().for_each(|event| ready(event.data.u64()));
        Ok(more)
    }
}
