//! Bodies cut in every way come out whole; nothing is held back; a turn ends.

use std::collections::VecDeque;
use std::io::Read;

use futures_util::task::noop_waker_ref;
use hyper::HeaderMap;
use proptest::prelude::*;

use super::*;

const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Br, Coding::Zstd];

/// What a body says next.
#[derive(Clone, Debug)]
enum Step {
    Data(Vec<u8>),
    /// Nothing yet.
    Pending,
}

/// All that comes out, and how often nothing did while something was to come.
fn run(coding: Coding, steps: Vec<Step>, trailers: Option<HeaderMap>) -> (Vec<u8>, Option<HeaderMap>, usize) {
    let mut shrinking = Shrinking::new(coding, &Rc::default()).unwrap();
    let mut cx = Context::from_waker(noop_waker_ref());
    let mut steps: VecDeque<Step> = steps.into();
    let mut trailers = trailers.map(Frame::trailers);
    let (mut out, mut told, mut pauses) = (Vec::new(), None, 0);
    loop {
        let next = |_: &mut Context<'_>| match steps.pop_front() {
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data.into())))),
            Some(Step::Pending) => Poll::Pending,
            None => Poll::Ready(trailers.take().map(Ok)),
        };
        match shrinking.poll(&mut cx, next) {
            Poll::Pending => pauses += 1,
            Poll::Ready(None) => break,
            Poll::Ready(Some(frame)) => match frame.unwrap().into_data() {
                Ok(data) => {
                    assert!(!data.is_empty());
                    out.extend_from_slice(&data);
                }
                Err(frame) => told = frame.into_trailers().ok(),
            },
        }
    }
    assert!(shrinking.is_end());
    (out, told, pauses)
}

fn unpacked(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut reader: Box<dyn Read> = match coding {
        Coding::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
        Coding::Br => Box::new(brotli::Decompressor::new(bytes, 4096)),
        Coding::Zstd => Box::new(zstd::Decoder::new(bytes).unwrap()),
    };
    reader.read_to_end(&mut plain).unwrap();
    plain
}

fn step() -> impl Strategy<Value = Step> {
    let noise = proptest::collection::vec(any::<u8>(), 0..40_000);
    let plain = (any::<u8>(), 0..100_000usize).prop_map(|(byte, length)| vec![byte; length]);
    prop_oneof![noise.prop_map(Step::Data), plain.prop_map(Step::Data), Just(Step::Pending)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn what_goes_in_comes_out(steps in proptest::collection::vec(step(), 0..8)) {
        let data = |step: &Step| match step {
            Step::Data(data) => data.clone(),
            Step::Pending => Vec::new(),
        };
        let all: Vec<u8> = steps.iter().flat_map(data).collect();
        for coding in CODINGS {
            let (out, ..) = run(coding, steps.clone(), None);
            prop_assert!(unpacked(coding, &out) == all);
        }
    }
}

#[test]
fn trailers_come_last() {
    for coding in CODINGS {
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
        let (out, told, _) = run(coding, vec![Step::Data(b"body".to_vec())], Some(trailers.clone()));
        assert_eq!((unpacked(coding, &out), told), (b"body".to_vec(), Some(trailers)));
    }
}

#[test]
fn a_large_body_leaves_others_their_turn() {
    for coding in CODINGS {
        let (_, _, pauses) = run(coding, vec![Step::Data(vec![b'x'; TURN * 8])], None);
        assert!((6..=8).contains(&pauses), "{pauses}");
    }
}

#[test]
fn there_are_only_so_many_at_a_time() {
    let count = Rc::default();
    let some: Vec<_> = (0..MOST).map(|_| Shrinking::new(Coding::Gzip, &count).unwrap()).collect();
    assert!(Shrinking::new(Coding::Gzip, &count).is_none());
    drop(some);
    assert!(Shrinking::new(Coding::Gzip, &count).is_some());
}
