//! The vectors as first inputs of the fuzz targets that throw bytes at the whole proxy.

use std::fs;
use std::path::Path;

use super::{downgrade, heads};

fn write(target: &str, number: usize, content: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    // How they come and are answered: in one piece, by a backend that tells the length.
    fs::write(folder.join(format!("vector-{number:03}")), [b"\0", content].concat()).unwrap();
}

#[test]
#[ignore = "writes under fuzz/corpus: cargo test --test smuggling -- --ignored"]
fn the_vectors_are_inputs_of_the_fuzz_targets() {
    for (number, (bytes, _)) in heads::vectors().iter().enumerate() {
        write("h1_stack", number, format!("{bytes}{}", heads::BEHIND).as_bytes());
    }
    for (number, vector) in downgrade::vectors().iter().enumerate() {
        // The proxy there serves the host `a`.
        let fields = |fields: &[downgrade::Field]| {
            let field = |(name, value): &downgrade::Field| match value == b"a.test" {
                true => [name.as_bytes(), b"\x1da"].concat(),
                false => [name.as_bytes(), b"\x1d", value].concat(),
            };
            fields.iter().map(field).collect::<Vec<_>>().join(&b'\x1f')
        };
        let ends = vector.body.is_empty() && vector.trailers.is_empty();
        let mut frames = vec![[if ends { b"h1" } else { b"H1" }, &*fields(&vector.fields)].concat()];
        for (at, data) in vector.body.iter().enumerate() {
            let ends = at + 1 == vector.body.len() && vector.trailers.is_empty();
            frames.push([if ends { b"d1" } else { b"D1" }, *data].concat());
        }
        if !vector.trailers.is_empty() {
            frames.push([b"h1", &*fields(&vector.trailers)].concat());
        }
        frames.push(b"h2:method\x1dGET\x1f:scheme\x1dhttp\x1f:authority\x1da\x1f:path\x1d/behind".to_vec());
        write("h2_downgrade", number, &frames.join(&b'\x1e'));
    }
}
