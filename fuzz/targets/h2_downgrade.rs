//! What an HTTP/2 client sends, through the whole proxy to backends that speak HTTP/1: whatever reaches one can be read
//! in one way and was asked on a stream just so, and each answer is the answer to its own stream.
//!
//! The first byte says in which pieces the rest comes, and how backends answer; the rest is a script (see
//! `sluice_fuzz::script`).

#![no_main]

use std::cell::OnceCell;

use libfuzzer_sys::fuzz_target;
use sluice_fuzz::backend::Shape;
use sluice_fuzz::script::{PREFACE, Script, Step, bodies};
use sluice_fuzz::world::World;

/// The first frame of a client: SETTINGS, and nothing in it.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

thread_local! {
    static WORLD: OnceCell<&'static World> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    let Some((how, text)) = input.split_first() else { return };
    let world = WORLD.with(|world| *world.get_or_init(|| Box::leak(Box::new(World::start()))));
    let shape = [Shape::Sized, Shape::Chunked, Shape::Empty, Shape::Closing][usize::from(how & 3)];
    let script = Script::of(text);
    let is_cut = how & 4 != 0;
    let (heard, records) = world.run(async |stand| {
        stand.seen.answer_as(shape);
        let mut client = stand.connect().await;
        client.send(PREFACE).await;
        client.send(&SETTINGS).await;
        for step in &script.steps {
            match step {
                Step::Wait => client.turns(8).await,
                Step::Send(bytes) if is_cut => {
                    let (start, end) = bytes.split_at(bytes.len() / 2);
                    client.send(start).await;
                    client.turns(2).await;
                    client.send(end).await;
                }
                Step::Send(bytes) => client.send(bytes).await,
            }
        }
        client.to_its_end().await;
        (client.heard, stand.seen.since(0))
    });
    let got = bodies(&heard).unwrap_or_else(|fault| panic!("{fault}: {heard:?}"));
    // Which record was told on which stream.
    let mut told: Vec<(u64, u32)> = Vec::new();
    for (stream, body, has_ended) in &got {
        let serial = body.strip_prefix("serial ").filter(|_| *has_ended);
        let Some(serial) = serial.and_then(|serial| serial.parse().ok()) else { continue };
        assert!(records.iter().any(|record| record.serial == serial), "an answer to nothing: {body}");
        assert!(told.iter().all(|(other, _)| *other != serial), "an answer told twice: {body}");
        told.push((serial, *stream));
    }
    if script.has_raw {
        return;
    }
    let mut left: Vec<_> = script.asked.iter().collect();
    for record in &records {
        let told = told.iter().find(|(serial, _)| *serial == record.serial).map(|(_, stream)| *stream);
        let fits = |stream: u32| told.is_none_or(|told| told == stream);
        let at = left.iter().position(|asked| fits(asked.stream) && asked.reading.differs(record).is_ok());
        let Some(at) = at else {
            let why: Vec<_> = left.iter().map(|asked| (asked.stream, asked.reading.differs(record))).collect();
            panic!("nobody asked for {record:?}: {why:?}");
        };
        left.remove(at);
    }
});
