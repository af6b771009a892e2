//! Pure. Which cipher is taken.
//!
//! All suites on offer are AEAD with forward secrecy (the intermediate profile of Mozilla's guidelines), so who chooses
//! does not matter for safety, only for speed. With AES in the CPU the client chooses: it knows whether its own has it,
//! and either way is cheap here. Without (a Raspberry Pi up to 4) AES-GCM in software costs several times ChaCha20, so
//! that comes first and our order holds.

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, SupportedCipherSuite};

/// The provider, with its suites in our order. Key exchange groups stay as it has them: the client chooses of X25519,
/// P-256, P-384 and X25519MLKEM768.
pub(super) fn provider(has_aes: bool) -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if !has_aes {
        provider.cipher_suites.sort_by_key(|suite| !is_chacha(suite));
    }
    provider
}

/// Whether our order of suites holds rather than the client's.
pub(super) fn is_ours_to_choose(has_aes: bool) -> bool {
    !has_aes
}

/// Whether this CPU has instructions for AES. Of families whose features cannot be asked for it is taken to have none.
pub(super) fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
    false
}

fn is_chacha(suite: &SupportedCipherSuite) -> bool {
    matches!(
        suite.suite(),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_aes_in_the_cpu_chacha_comes_first_and_nothing_is_lost() {
        let [with, without] = [true, false].map(|has_aes| provider(has_aes).cipher_suites);
        assert!(!is_chacha(&with[0]) && without[..3].iter().all(is_chacha) && !without[3..].iter().any(is_chacha));
        let [one, other] = [with, without].map(|suites| {
            let mut names: Vec<_> = suites.iter().map(|suite| u16::from(suite.suite())).collect();
            names.sort_unstable();
            names
        });
        assert_eq!(one, other);
        assert!(is_ours_to_choose(false) && !is_ours_to_choose(true));
    }
}
