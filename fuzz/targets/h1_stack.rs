//! What an HTTP/1 client sends, through the whole proxy: whatever reaches a backend can be read in one way, is what the
//! client said to a strict reader, and each answer is the answer to its own request.
//!
//! The first byte says in which pieces the rest comes, and how backends answer.

#![no_main]

use std::cell::OnceCell;

use libfuzzer_sys::fuzz_target;
use sluice_fuzz::answers::answers;
use sluice_fuzz::backend::Shape;
use sluice_fuzz::reading::readings;
use sluice_fuzz::world::World;

/// The first words of an HTTP/2 client: what follows is the other target's.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The most pieces; what is left comes in one.
const PIECES: usize = 24;

thread_local! {
    static WORLD: OnceCell<&'static World> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    let Some((how, bytes)) = input.split_first() else { return };
    let world = WORLD.with(|world| *world.get_or_init(|| Box::leak(Box::new(World::start()))));
    let shape = [Shape::Sized, Shape::Chunked, Shape::Empty, Shape::Closing][usize::from(how & 3)];
    let (heard, records) = world.run(async |stand| {
        stand.seen.answer_as(shape);
        let mut client = stand.connect().await;
        let size = usize::from(how >> 2);
        let (pieces, rest) = bytes.split_at(bytes.len().min(size * PIECES));
        for piece in pieces.chunks(size.max(1)) {
            client.send(piece).await;
            client.turns(4).await;
        }
        client.send(rest).await;
        client.to_its_end().await;
        (client.heard, stand.seen.since(0))
    });
    if bytes.starts_with(PREFACE) {
        return;
    }
    let said = readings(bytes);
    let methods: Vec<&str> = said.iter().map(|reading| &*reading.method).collect();
    let shown = String::from_utf8_lossy(&heard);
    let got = answers(&heard, &methods).unwrap_or_else(|fault| panic!("{fault}: {shown}"));
    assert!(got.len() <= said.len() + 1, "{} answers to {} requests: {shown}", got.len(), said.len());
    let served = got.iter().enumerate().filter_map(|(at, answer)| Some((at, answer.serial?)));
    let mut taken = records.iter();
    for (at, serial) in served {
        let record = taken.next().unwrap_or_else(|| panic!("an answer to nothing: {shown}"));
        assert_eq!(record.serial, serial, "the answer to another request: {shown}");
        let Some(reading) = said.get(at) else { panic!("a backend took what has no one meaning: {record:?}") };
        reading.differs(record).unwrap_or_else(|what| panic!("{what}: {record:?} of {reading:?}"));
    }
    assert_eq!(taken.next().map(|record| &record.request), None, "nobody was told of this: {shown}");
});
