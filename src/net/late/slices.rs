//! Pure. Short slices are sent as one piece: a call with several slices costs the kernel more than copying them here.
//! Knows no socket.

use std::io::IoSlice;

/// Slices of no more than this in all are sent as one, in bytes.
pub(super) const SHORT: usize = 2048;

/// The slices as one piece in `room`, where that is worth it and they fit.
pub(super) fn gathered<'r>(slices: &[IoSlice<'_>], room: &'r mut [u8]) -> Option<&'r [u8]> {
    if slices.len() < 2 || slices.iter().map(|slice| slice.len()).sum::<usize>() > room.len() {
        return None;
    }
    let mut length = 0;
    for slice in slices {
        let end = length + slice.len();
        room.get_mut(length..end)?.copy_from_slice(slice);
        length = end;
    }
    room.get(..length)
}
