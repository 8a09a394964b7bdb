//! The key of an epoch.

use std::fmt;

use zeroize::Zeroizing;

/// 32 random bytes from which the keys of every object of an epoch are derived. Zeroized on drop.
pub struct EpochKey(Zeroizing<[u8; 32]>);

impl EpochKey {
    /// Draws a key from the operating system's generator.
    pub fn generate() -> Self {
        Self::from_bytes(rand::random())
    }

    /// Takes 32 bytes as a key.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Lends the bytes, to derive from or to wrap.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_never_show() {
        let key = EpochKey::generate();
        assert_ne!(key.expose(), EpochKey::generate().expose());
        assert_eq!(format!("{key:?}"), "EpochKey(redacted)");
    }
}
