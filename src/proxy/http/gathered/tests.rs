//! Turns of a connection against a sink that notes each call.

use std::cell::RefMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Wake, Waker};

use super::*;

/// Takes so many bytes and then no more; notes each call.
#[derive(Debug, Default)]
struct Sink {
    room: usize,
    calls: Vec<usize>,
    bytes: Vec<u8>,
    flushes: usize,
    fails: bool,
}

impl AsyncWrite for Sink {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.fails {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let taken = all.len().min(self.room);
        if taken == 0 {
            return Poll::Pending;
        }
        self.room -= taken;
        self.calls.push(taken);
        self.bytes.extend(&all[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Sink {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A connection that takes `room` bytes.
struct Line {
    gathered: Gathered<Sink>,
    turns: Turns<Sink>,
    wakes: Arc<Wakes>,
    waker: Waker,
}

impl Line {
    fn new(room: usize) -> Self {
        let (gathered, turns) = gathered(Sink { room, ..Sink::default() });
        let wakes = Arc::new(Wakes::default());
        Self { gathered, turns, waker: wakes.clone().into(), wakes }
    }

    fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (head, tail) = bytes.split_at(bytes.len().min(9));
        let slices = [IoSlice::new(head), IoSlice::new(tail)];
        let mut cx = Context::from_waker(&self.waker);
        let written = Pin::new(&mut self.gathered).poll_write_vectored(&mut cx, &slices);
        // As h2 does it after each piece.
        if let Poll::Ready(Ok(_)) = &written {
            assert!(Pin::new(&mut self.gathered).poll_flush(&mut cx).is_ready());
        }
        written
    }

    fn all(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Poll::Ready(Ok(taken)) = self.write(rest) else { panic!("it takes no more") };
            rest = &rest[taken..];
        }
    }

    fn end(&self) {
        self.turns.end(&mut Context::from_waker(&self.waker));
    }

    fn sink(&self) -> RefMut<'_, Sink> {
        RefMut::map(self.gathered.0.borrow_mut(), |inner| &mut inner.stream)
    }

    /// The calls, and how many flushes there were.
    fn seen(&self) -> (Vec<usize>, usize) {
        let sink = self.sink();
        (sink.calls.clone(), sink.flushes)
    }

    fn woken(&self) -> usize {
        self.wakes.0.swap(0, Relaxed)
    }
}

#[test]
fn what_is_short_leaves_together_at_the_end_of_the_turn() {
    let mut line = Line::new(usize::MAX);
    (0..10).for_each(|piece| line.all(&[piece; 800]));
    assert_eq!(line.seen(), (vec![], 0));
    line.end();
    assert_eq!(line.seen(), (vec![8000], 1));
    assert!(line.sink().bytes.chunks(800).zip(0..).all(|(chunk, piece)| chunk == [piece; 800]));
    line.end();
    assert_eq!(line.seen(), (vec![8000], 1), "nothing new");
    assert_eq!(line.woken(), 0);
}

#[test]
fn what_does_not_fit_leaves_in_whole_records() {
    let mut line = Line::new(usize::MAX);
    (0..100).for_each(|piece| line.all(&[piece; 700]));
    line.end();
    assert_eq!(line.sink().calls, [ROOM, ROOM, ROOM, ROOM, 70_000 - 4 * ROOM]);
    assert!(line.sink().bytes.chunks(700).zip(0..).all(|(chunk, piece)| chunk == [piece; 700]));
}

#[test]
fn what_is_long_leaves_at_once_behind_what_was_there_before() {
    let mut line = Line::new(usize::MAX);
    line.all(&[1; 100]);
    line.all(&[2; LONG]);
    assert_eq!(line.sink().calls, [100 + LONG]);
    line.all(&[3; LONG]);
    line.all(&[4; 10]);
    line.end();
    assert_eq!(line.sink().calls, [100 + LONG, LONG, 10]);
    let expected = [&[1; 100][..], &[2; LONG], &[3; LONG], &[4; 10]].concat();
    assert_eq!(line.sink().bytes, expected);
}

#[test]
fn a_client_that_takes_nothing_is_told_of_once_and_holds_no_more_than_the_room() {
    let mut line = Line::new(150);
    line.all(&[1; 100]);
    line.end();
    line.all(&[2; 100]);
    line.end();
    assert_eq!((line.woken(), line.sink().bytes.len()), (1, 150));
    line.end();
    assert_eq!(line.woken(), 0, "it spins");
    let mut held = 0;
    while let Poll::Ready(Ok(taken)) = line.write(&[3; 1000]) {
        held += taken;
    }
    assert!(held <= ROOM, "{held}");
    assert_eq!(line.gathered.0.borrow().held.capacity(), ROOM);
    assert!(line.write(&[3; LONG]).is_pending());
    line.sink().room = usize::MAX;
    line.end();
    assert_eq!(line.sink().bytes, [&[1; 100][..], &[2; 100], &vec![3; held]].concat());
    assert_eq!(line.gathered.0.borrow().held.capacity(), 0, "the buffer goes back to the thread");
}

#[test]
fn a_break_is_told_to_who_writes_next_and_a_shutdown_sends_first() {
    let mut line = Line::new(usize::MAX);
    line.all(&[1; 100]);
    line.sink().fails = true;
    line.end();
    assert_eq!(line.woken(), 1);
    line.end();
    assert_eq!(line.woken(), 0);
    assert!(matches!(line.write(&[1]), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));

    let mut line = Line::new(usize::MAX);
    line.all(&[1; 100]);
    let mut cx = Context::from_waker(&line.waker);
    assert!(matches!(Pin::new(&mut line.gathered).poll_shutdown(&mut cx), Poll::Ready(Ok(()))));
    assert_eq!(line.sink().calls, [100]);
}
