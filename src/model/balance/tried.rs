//! Pure. Which backends one connection or request has tried already.

/// Backends that were tried already for one connection or request, at most [`Tried::MOST`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    indices: [u16; Self::MOST],
    count: u8,
}

impl Tried {
    /// How many tries are remembered: one more than the most retries a pool can ask.
    pub const MOST: usize = 11;

    /// Remembers a backend. What exceeds the bound is forgotten.
    pub fn add(&mut self, index: usize) {
        if let (Some(slot), Ok(index)) = (self.indices.get_mut(usize::from(self.count)), u16::try_from(index)) {
            *slot = index;
            self.count += 1;
        }
    }

    /// Whether it was tried.
    pub fn has(&self, index: usize) -> bool {
        self.indices[..usize::from(self.count)].iter().any(|i| usize::from(*i) == index)
    }
}
