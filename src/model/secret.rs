//! Pure. Bytes that must not be shown.

use std::fmt;
use std::sync::Arc;

/// Secret bytes (a private key in DER). `Debug` hides them; clones share one buffer.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Wraps the bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes themselves, for the code that signs with them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("hidden")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_bytes() {
        assert_eq!(format!("{:?}", Secret::new(*b"tell nobody")), "Secret(hidden)");
    }
}
