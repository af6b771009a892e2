//! Pure. The checksum of version 2: CRC-32C (Castagnoli), RFC 9260 appendix A, a table look-up a byte.

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut rest = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 { (rest >> 1) ^ 0x82f6_3b78 } else { rest >> 1 };
            bit += 1;
        }
        table[byte] = rest;
        byte += 1;
    }
    table
};

/// The checksum of parts that follow one another.
pub(super) fn of<const PARTS: usize>(parts: [&[u8]; PARTS]) -> u32 {
    let step = |crc: u32, byte: &u8| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)];
    !parts.into_iter().flatten().fold(!0, step)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_the_one_of_the_rfc() {
        assert_eq!(super::of([b"1234", b"567", b"89"]), 0xe306_9283);
        assert_eq!(super::of([&[0; 32]]), 0x8a91_36aa, "RFC 3720, appendix B.4");
    }
}
