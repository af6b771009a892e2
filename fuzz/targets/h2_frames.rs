//! What an HTTP/2 client sends, in any pieces: the heads are those that a plain reading of all of it finds.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use sluice::net::h2_frames::{Frames, HEAD, Head, PREFACE};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    bytes: &'a [u8],
    cuts: Vec<u8>,
}

fuzz_target!(|input: Input<'_>| {
    let (mut frames, mut found) = (Frames::of_client(), Vec::new());
    let mut rest = input.bytes;
    for cut in input.cuts {
        let (piece, after) = rest.split_at(usize::from(cut).min(rest.len()));
        frames.take(piece, |head| found.push(head));
        rest = after;
    }
    frames.take(rest, |head| found.push(head));
    let (heads, is_between) = plainly(input.bytes);
    assert_eq!((found, frames.is_between()), (heads, is_between));
});

/// All heads, and whether the last frame is whole.
fn plainly(bytes: &[u8]) -> (Vec<Head>, bool) {
    let mut heads = Vec::new();
    let mut at = PREFACE.len();
    while let Some(head) = bytes.get(at..at + HEAD) {
        let head = Head::of(head.try_into().expect("nine bytes"));
        assert_eq!(Head::of(head.bytes()), head, "it is written as it is read");
        at += HEAD + head.length as usize;
        heads.push(head);
    }
    (heads, at == bytes.len())
}
