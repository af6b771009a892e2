//! Pure. The two messages of the health protocol by hand: a frame of gRPC (a flag, a length, the message) around one
//! field of protobuf each (<https://protobuf.dev/programming-guides/encoding/>).

/// What a server says of a service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Serving {
    /// It serves.
    Serving,
    /// Another word of the protocol, by its number.
    Other(u64),
}

impl std::fmt::Display for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Serving => f.write_str("SERVING"),
            Self::Other(0) => f.write_str("UNKNOWN"),
            Self::Other(2) => f.write_str("NOT_SERVING"),
            Self::Other(3) => f.write_str("SERVICE_UNKNOWN"),
            Self::Other(number) => write!(f, "status {number}"),
        }
    }
}

/// `HealthCheckRequest { service }` in its frame.
pub(super) fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(service.len() + 8);
    // An empty string is not sent: it is what a missing one means.
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.append(&mut message);
    frame
}

/// The status in a frame with a `HealthCheckResponse`. `None`: it is none.
pub(super) fn answer(frame: &[u8]) -> Option<Serving> {
    let (head, message) = frame.split_first_chunk::<5>()?;
    let [flag, length @ ..] = *head;
    // Nothing compressed: we did not say that we can read it.
    if flag != 0 || u32::from_be_bytes(length) as usize != message.len() {
        return None;
    }
    let (mut rest, mut status) = (message, 0);
    while !rest.is_empty() {
        let (tag, after) = varint(rest)?;
        rest = match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, 0) => {
                let (value, after) = varint(after)?;
                status = value;
                after
            }
            // Fields of a later protocol.
            (_, 0) => varint(after)?.1,
            (_, 1) => after.get(8..)?,
            (_, 2) => {
                let (length, after) = varint(after)?;
                after.get(usize::try_from(length).ok()?..)?
            }
            (_, 5) => after.get(4..)?,
            _ => return None,
        };
    }
    Some(if status == 1 { Serving::Serving } else { Serving::Other(status) })
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_what_protobuf_says() {
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
        assert_eq!(question("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = question(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn answers_are_read_and_what_is_none_is_not() {
        let cases: &[(&[u8], Option<Serving>)] = &[
            (&[0, 0, 0, 0, 2, 8, 1], Some(Serving::Serving)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(Serving::Other(2))),
            (&[0, 0, 0, 0, 0], Some(Serving::Other(0))),
            // Unknown fields of each kind before it, the last word counts.
            (&[0, 0, 0, 0, 9, 0x12, 1, b'x', 0x18, 0x80, 1, 8, 2, 8], None),
            (&[0, 0, 0, 0, 10, 0x12, 1, b'x', 0x18, 0x80, 1, 8, 2, 8, 1], Some(Serving::Serving)),
            (&[0, 0, 0, 0, 7, 0x15, 1, 2, 3, 4, 8, 1], Some(Serving::Serving)),
            (&[0, 0, 0, 0, 3, 8, 1], None),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 1, 8], None),
            (&[0, 0, 0, 0, 3, 0x12, 200, 1], None),
            (&[0, 0, 0, 0, 1, 0x0b], None),
            (&[0, 0, 0, 0, 2, 0, 1], None),
            (&[], None),
        ];
        for (frame, expected) in cases {
            assert_eq!(answer(frame), *expected, "{frame:?}");
        }
        assert_eq!(answer(&[&[0, 0, 0, 0, 12, 8][..], &[0xff; 11]].concat()), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let mut frame = vec![0];
            frame.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            frame.extend_from_slice(&bytes);
            answer(&frame);
            answer(&bytes);
        }
    }
}
