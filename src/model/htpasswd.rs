//! Pure. Names and passwords as `htpasswd` writes them: a line `name:hash` for each, empty lines and `#` passed over.
//!
//! Taken are bcrypt (`htpasswd -B`), Apache's MD5 (`-m`, its default), SHA-1 (`-s`), and SHA-256 and SHA-512 as
//! `crypt(3)` has them (`-2`, `-5`, `mkpasswd`): what such files hold in practice. Its other hashes and passwords in the
//! clear are refused by name, so that nobody is locked out without being told why. Errors never quote a hash.

use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::alphabet::BCRYPT;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

/// The most users one list may have: more than that belong into a server of their own.
const MOST: usize = 10_000;
/// The costliest bcrypt that is taken, as a power of two of its rounds: 14 takes about a second of CPU for one sign-in.
const COST: std::ops::RangeInclusive<u32> = 4..=14;
/// The rounds of SHA-crypt that are taken: fewer are none of it, and so many take about a second of CPU.
const ROUNDS: std::ops::RangeInclusive<u32> = 1_000..=1_000_000;
/// Where a hash does not say how many.
const USUAL_ROUNDS: u32 = 5_000;
/// bcrypt's own base64: another alphabet, no padding, and the last letter says more than is meant.
const BCRYPT_64: GeneralPurpose = GeneralPurpose::new(
    &BCRYPT,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Who may use something, by name.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Users(HashMap<Box<str>, Hashed>);

/// A password that cannot be read back. `Debug` hides it.
#[derive(Clone, Eq, Hash, PartialEq)]
pub enum Hashed {
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt {
        /// The logarithm of its rounds, 4 to 14.
        cost: u32,
        /// The salt.
        salt: [u8; 16],
        /// What the password becomes.
        digest: [u8; 23],
    },
    /// `$apr1$`.
    Apr1 {
        /// The salt, up to 8 letters.
        salt: Box<str>,
        /// What the password becomes, in the letters it is written in.
        digest: [u8; 22],
    },
    /// `{SHA}`: SHA-1 without a salt.
    Sha1([u8; 20]),
    /// `$5$` and `$6$`.
    ShaCrypt {
        /// How wide the hash is.
        width: ShaWidth,
        /// How often it is hashed, 1,000 to 1,000,000.
        rounds: u32,
        /// The salt, up to 16 letters.
        salt: Box<str>,
        /// What the password becomes, in the letters it is written in.
        digest: Box<str>,
    },
}

/// Of which SHA a hash is made.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ShaWidth {
    /// SHA-256, `$5$`.
    Sha256,
    /// SHA-512, `$6$`.
    Sha512,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.0.len())
    }
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashed(hidden)")
    }
}

impl Users {
    /// Reads the lines of a file.
    ///
    /// # Errors
    /// The line, what is wrong with it and what would be right.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8 text; write lines of name:hash".to_owned())?;
        let mut users = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = number + 1;
            let Some((name, hash)) = line.split_once(':').filter(|(name, _)| !name.is_empty()) else {
                return Err(format!("line {number} is not name:hash; make it with htpasswd -nB NAME"));
            };
            let shown: String = name.chars().take(40).collect();
            let hash = Hashed::parse(hash).map_err(|wrong| {
                format!("line {number}: the password of {shown:?} {wrong}; make it with htpasswd -nB NAME")
            })?;
            if users.insert(name.into(), hash).is_some() {
                return Err(format!("line {number}: {shown:?} is there twice; keep one line for each name"));
            }
            if users.len() > MOST {
                return Err(format!("has more than {MOST} users; use forward_auth for so many"));
            }
        }
        match users.is_empty() {
            true => Err("has no user; write lines of name:hash, made with htpasswd -nB NAME".to_owned()),
            false => Ok(Self(users)),
        }
    }

    /// The password of this user, if there is such a user.
    pub fn find(&self, name: &str) -> Option<&Hashed> {
        self.0.get(name)
    }

    /// The password that takes longest to check: that of a user who does not exist is checked against it, so that
    /// time does not tell who exists.
    pub fn slowest(&self) -> Option<&Hashed> {
        // In microseconds, about.
        self.0.values().max_by_key(|hashed| match hashed {
            Hashed::Bcrypt { cost, .. } => 60_u64 << cost,
            Hashed::ShaCrypt { rounds, .. } => u64::from(*rounds),
            Hashed::Apr1 { .. } => 300,
            Hashed::Sha1(_) => 0,
        })
    }
}

impl Hashed {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(encoded) = text.strip_prefix("{SHA}") {
            let digest = STANDARD.decode(encoded).ok().and_then(|digest| digest.try_into().ok());
            return digest.map(Self::Sha1).ok_or_else(|| "is {SHA}, but not a whole digest of it".to_owned());
        }
        if let Some(rest) = text.strip_prefix("$5$") {
            return Self::sha_crypt("$5$", ShaWidth::Sha256, rest);
        }
        if let Some(rest) = text.strip_prefix("$6$") {
            return Self::sha_crypt("$6$", ShaWidth::Sha512, rest);
        }
        let mut parts = text.split('$');
        match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(""), Some("2a" | "2b" | "2y"), Some(cost), Some(rest), None) => Self::bcrypt(cost, rest),
            (Some(""), Some("apr1"), Some(salt), Some(digest), None) => {
                let digest: Option<[u8; 22]> = digest.as_bytes().try_into().ok();
                let digest = digest.filter(|digest| digest.iter().all(|b| is_letter(*b)));
                let digest = digest.filter(|_| salt.len() <= 8 && !salt.is_empty());
                let apr1 = |digest| Self::Apr1 { salt: salt.into(), digest };
                digest.map(apr1).ok_or_else(|| "is $apr1$, but not a whole hash of it".to_owned())
            }
            (Some(""), Some(kind @ ("1" | "7" | "y" | "gy" | "argon2id" | "argon2i")), ..) => {
                Err(format!("is hashed as ${kind}$, which is not served; bcrypt, $apr1$, {{SHA}}, $5$ and $6$ are"))
            }
            _ => Err("is not a hash that is served; bcrypt ($2y$), $apr1$, {SHA}, $5$ and $6$ are".to_owned()),
        }
    }

    /// `[rounds=N$]SALT$DIGEST`.
    fn sha_crypt(kind: &str, width: ShaWidth, rest: &str) -> Result<Self, String> {
        let whole = || format!("is {kind}, but not a whole hash of it");
        let (rounds, rest) = match rest.strip_prefix("rounds=") {
            None => (USUAL_ROUNDS, rest),
            Some(rest) => {
                let (rounds, rest) = rest.split_once('$').ok_or_else(whole)?;
                (rounds.parse().map_err(|_| whole())?, rest)
            }
        };
        if !ROUNDS.contains(&rounds) {
            let (least, most) = ROUNDS.into_inner();
            return Err(format!("has {rounds} rounds of {kind}; from {least} to {most} are served"));
        }
        let letters = match width {
            ShaWidth::Sha256 => 43,
            ShaWidth::Sha512 => 86,
        };
        let (salt, digest) = rest.split_once('$').ok_or_else(whole)?;
        let is_whole = digest.len() == letters && digest.bytes().all(is_letter) && salt.len() <= 16;
        let fits = is_whole && salt.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self::ShaCrypt { width, rounds, salt: salt.into(), digest: digest.into() }).ok_or_else(whole)
    }

    fn bcrypt(cost: &str, rest: &str) -> Result<Self, String> {
        let whole = || "is bcrypt, but not a whole hash of it".to_owned();
        let cost: u32 = cost.parse().map_err(|_| whole())?;
        if !COST.contains(&cost) {
            let (least, most) = COST.into_inner();
            return Err(format!("has bcrypt cost {cost}; from {least} to {most} are served"));
        }
        let (salt, digest) = rest.split_at_checked(22).ok_or_else(whole)?;
        let bytes = |text: &str| BCRYPT_64.decode(text).map_err(|_| whole());
        let salt = bytes(salt)?.try_into().map_err(|_| whole())?;
        let digest = bytes(digest)?.try_into().map_err(|_| whole())?;
        Ok(Self::Bcrypt { cost, salt, digest })
    }
}

/// A letter of the base64 of `crypt(3)`.
fn is_letter(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// secret.
    const SHA512: &str =
        "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.";
    const BCRYPT_LINE: &str = "ann:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    #[test]
    fn the_kinds_are_read_and_shown_to_nobody() {
        let text = format!(
            "# people\n{BCRYPT_LINE}\r\n\nbob:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\ncem:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
        );
        let text = format!("{text}dan:{SHA512}\neve:$5$rounds=1000$x$kIBhdUvT3pHpfTjzR8s1XJu3y/HRJeFxMSffBtF8jx9\n");
        let users = Users::parse(text.as_bytes()).unwrap();
        assert!(matches!(users.find("dan"), Some(Hashed::ShaCrypt { width: ShaWidth::Sha512, rounds: 5000, .. })));
        assert!(matches!(users.find("eve"), Some(Hashed::ShaCrypt { width: ShaWidth::Sha256, rounds: 1000, .. })));
        assert!(matches!(users.find("ann"), Some(Hashed::Bcrypt { cost: 5, .. })));
        assert!(matches!(users.find("bob"), Some(Hashed::Apr1 { .. })));
        assert!(matches!(users.find("cem"), Some(Hashed::Sha1(_))));
        assert!(users.find("dora").is_none());
        assert_eq!(users.slowest(), users.find("dan"));
        assert_eq!(format!("{users:?} {:?}", users.find("bob").unwrap()), "Users(5) Hashed(hidden)");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_the_hash() {
        for (text, said) in [
            ("", "has no user"),
            ("ann", "line 1 is not name:hash"),
            (":x", "line 1 is not name:hash"),
            ("ann:secret", "line 1: the password of \"ann\" is not a hash"),
            ("#\nann:$6$salt$hushhush", "line 2: the password of \"ann\" is $6$, but not a whole hash"),
            ("ann:$1$salt$hushhush", "is hashed as $1$, which is not served"),
            (&SHA512.replace("$6$", "ann:$6$rounds=999$"), "has 999 rounds of $6$; from 1000 to 1000000 are served"),
            (&SHA512.replace("$6$", "ann:$6$rounds=1000001$"), "has 1000001 rounds of $6$"),
            (&SHA512.replace("$6$", "ann:$5$"), "is $5$, but not a whole hash"),
            (&SHA512.replace("$6$", "ann:$6$rounds=many$"), "not a whole hash"),
            (&SHA512.replace("salt", "ann:longlonglonglong"), "is not a hash"),
            (&SHA512.replace("$6$", "ann:$6$longlonglong"), "not a whole hash"),
            ("ann:$2y$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "cost 31"),
            ("ann:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9", "not a whole hash"),
            ("ann:$2y$05$CCCCCCCCCCCCCCCCCCCC€", "not a whole hash"),
            ("ann:$apr1$abcdefgh$short", "not a whole hash"),
            ("ann:$apr1$abcdefghi$h9FWgUz3n9YxylKLlR5SQ/", "not a whole hash"),
            ("ann:{SHA}c2hvcnQ=", "not a whole digest"),
            (&format!("{BCRYPT_LINE}\n{BCRYPT_LINE}"), "line 2: \"ann\" is there twice"),
        ] {
            let error = Users::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
            assert!(!error.contains("hushhush") && !error.contains("secret"), "{error}");
        }
        assert!(Users::parse(b"\xff").unwrap_err().contains("UTF-8"));
    }
}
