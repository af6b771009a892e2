//! Connections to backends, as data threads open them: thousands a second, nearly all at once successful.
//!
//! The time is watched by the thread's wheel: a timer of its own would have each connect wake the runtime's driver to
//! tell it of an earlier deadline, two calls for something that hardly ever happens.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::net::TcpStream;

use super::socket;
use super::wheel::{self, Watched};

/// Whether the time is over, and who waits.
#[derive(Debug, Default)]
struct Deadline {
    over: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

impl Watched for Deadline {
    fn look(&self, _: Duration) -> Option<Duration> {
        self.over.set(true);
        self.task.take().into_iter().for_each(Waker::wake);
        None
    }
}

/// Opens a connection within `timeout`, or up to an eighth later, without Nagle's delay. Keepalive is left to whoever
/// keeps the connection for long ([`socket::keep_alive`]): it takes four calls.
///
/// # Errors
/// What `connect` says; `TimedOut` when the time is over.
///
/// # Panics
/// Outside of a tokio `LocalSet`.
pub async fn dial(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let deadline = Rc::new(Deadline::default());
    let now = wheel::now();
    let _watch = wheel::watch(deadline.clone(), now, now.saturating_add(timeout));
    let mut connecting = pin!(TcpStream::connect(address));
    let connected = poll_fn(|cx| {
        if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
            return Poll::Ready(connected);
        }
        if deadline.over.get() {
            return Poll::Ready(Err(socket::too_late(timeout)));
        }
        *deadline.task.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    });
    let stream = connected.await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_connection_opens() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = LocalSet::new().run_until(dial(address, Duration::from_secs(5))).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn nobody_there_is_told_at_once_and_silence_in_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let local = LocalSet::new();
        let refused = local.run_until(dial(address, Duration::from_secs(5))).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        // A full accept queue: the kernel drops further handshakes, so the dial waits.
        let (full, _held) = socket::tests::full_queue().await;
        let begun = Instant::now();
        let late = local.run_until(dial(full, Duration::from_millis(200))).await.unwrap_err();
        assert_eq!((late.kind(), late.to_string().as_str()), (io::ErrorKind::TimedOut, "no answer within 200ms"));
        assert!(begun.elapsed() >= Duration::from_millis(200));
    }
}
