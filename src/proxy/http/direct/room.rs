//! Room for what backends answer: one buffer a thread, handed from read to read.
//!
//! Theory: most answers are read, passed on and gone within one turn of their task. The buffer that held the last one is
//! then still in the processor's cache, and a fresh one of the allocator is not. So who has to wait for the first byte
//! gives its buffer back, and who has read all leaves the rest of it here. That rest is the whole again as soon as nobody
//! holds a part; an answer that its client does not take keeps its buffer, and the next read has a new one.

use std::cell::Cell;

use bytes::BytesMut;

/// The largest buffer that is kept, in bytes: a small answer to a client that takes nothing may hold it.
const MOST: usize = 32 * 1024;

thread_local! {
    static KEPT: Cell<BytesMut> = Cell::default();
}

/// A buffer of at least `length` bytes, empty.
pub(super) fn room(length: usize) -> BytesMut {
    // A thread that ends has none.
    let mut kept = KEPT.try_with(Cell::take).unwrap_or_default();
    kept.clear();
    if kept.try_reclaim(length) { kept } else { BytesMut::with_capacity(length) }
}

/// Takes a buffer back of which nothing is needed; `length`: how large it was.
pub(super) fn keep(buffer: BytesMut, length: usize) {
    if length <= MOST {
        // A thread that ends keeps none.
        let _ = KEPT.try_with(|kept| kept.set(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills a buffer of `length` and gives all that was read.
    fn read(length: usize) -> (bytes::Bytes, *const u8) {
        let mut buffer = room(length);
        let at = buffer.as_ptr();
        buffer.extend_from_slice(&vec![b'x'; length]);
        let all = buffer.split().freeze();
        keep(buffer, length);
        (all, at)
    }

    #[test]
    fn one_buffer_serves_those_that_come_one_after_another() {
        let (first, at) = read(8192);
        drop(first);
        let (second, again) = read(8192);
        assert_eq!(at, again);
        // It is still held, so the next one is another.
        let (_third, other) = read(8192);
        assert_ne!(at, other);
        assert_eq!(second, vec![b'x'; 8192]);
    }

    #[test]
    fn a_short_answer_has_no_huge_buffer() {
        let (large, at) = read(2 * MOST);
        let _held = large;
        let buffer = room(64);
        assert!(buffer.capacity() < MOST && buffer.as_ptr() != at);
    }

    #[test]
    fn nothing_of_what_was_there_is_seen_again() {
        let mut buffer = room(16);
        buffer.extend_from_slice(b"secret");
        keep(buffer, 16);
        assert!(room(16).is_empty());
    }
}
