//! A UDP listener on one data thread: the task that waits; [`plane`] does the work, [`flows`] remembers.
//!
//! One task owns the listening socket, its flows and their sockets, and an epoll of its own that watches them all. When
//! it is woken it reads what there is in batches, finds each datagram's flow, and sends each flow's part on by the
//! flow's own socket, whose port tells the backend's replies apart. Replies of all flows go back in batches by the
//! listening socket, from the address the client used.
//!
//! A flow is to a client's address and port what a connection is elsewhere: it is admitted, holds a lease and ends with
//! an outcome. While the process drains, flows go on and none begins. When a listener leaves the configuration its
//! socket closes at once and its flows end, since replies could leave by no other.

use std::net::UdpSocket;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::error;

use super::Worker;
use crate::model::intent::ListenerKey;
use crate::model::live::ListenerState;

mod backend;
pub mod flows;
mod plane;
mod room;

pub(super) use room::Commons;

/// Serves the flows of one socket until it is dropped. `changed` tells of new snapshots.
pub(super) async fn serve(
    worker: Rc<Worker>,
    commons: Rc<Commons>,
    key: ListenerKey,
    socket: UdpSocket,
    state: Arc<ListenerState>,
    mut changed: watch::Receiver<u64>,
) {
    let mut plane = match plane::Plane::new(worker.clone(), commons, key, socket, state) {
        Ok(plane) => plane,
        Err(error) => return error!(listener = %key, %error, "cannot watch a socket on this thread"),
    };
    let mut stopping = pin!(worker.drain.begun());
    let mut expiry = pin!(sleep_until(Instant::now()));
    let (mut is_armed, mut is_stopping) = (false, false);
    // Something may have come before anyone looked.
    let mut is_unfinished = true;
    loop {
        let told = &mut plane.told;
        tokio::select! {
            () = &mut stopping, if !is_stopping => {
                is_stopping = true;
                plane.stop_opening();
            }
            Ok(()) = changed.changed() => {
                plane.follow();
                // Flows may have to end sooner from now on.
                is_armed = false;
            }
            () = &mut expiry, if is_armed => is_armed = false,
            waited = plane.readiness.wait(|number| told.push(number)) => match waited {
                Ok(_) => {}
                Err(error) => return error!(listener = %key, %error, "cannot wait for datagrams"),
            },
            () = tokio::task::yield_now(), if is_unfinished => {}
        }
        is_unfinished = plane.work(worker.epoch.elapsed());
        if !is_armed && let Some(next) = plane.expire() {
            expiry.as_mut().reset(worker.epoch + next);
            is_armed = true;
        }
    }
}
