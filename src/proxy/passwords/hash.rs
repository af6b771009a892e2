//! Pure. Whether a password is the one that was hashed. Costs up to a second of CPU, so never on a data thread.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use md5::{Digest, Md5};
use sha_crypt::{Sha256Params, Sha512Params, sha256_crypt_b64, sha512_crypt_b64};

use crate::model::htpasswd::{Hashed, ShaWidth};

/// Longer passwords are wrong: what they cost grows with their length. In bytes.
pub(super) const LONGEST: usize = 256;
/// What bcrypt looks at, in bytes, its closing zero among them.
const BCRYPT_SEES: usize = 72;

/// Whether `password` is the one. Takes the same time whichever byte is wrong.
pub(super) fn is_right(hashed: &Hashed, password: &[u8]) -> bool {
    if password.len() > LONGEST {
        return false;
    }
    match hashed {
        Hashed::Bcrypt { cost, salt, digest } => {
            let mut key = [password, &[0]].concat();
            key.truncate(BCRYPT_SEES);
            let found = bcrypt::bcrypt(*cost, *salt, &key);
            // A zero within would end it early for other programs.
            !password.contains(&0) & found.get(..23).is_some_and(|found| is_same(found, digest))
        }
        Hashed::Apr1 { salt, digest } => is_same(&apr1(salt.as_bytes(), password), digest),
        Hashed::ShaCrypt { width, rounds, salt, digest } => {
            let (salt, rounds) = (salt.as_bytes(), usize::try_from(*rounds).unwrap_or_default());
            let found = match width {
                ShaWidth::Sha256 => Sha256Params::new(rounds).and_then(|p| sha256_crypt_b64(password, salt, &p)),
                ShaWidth::Sha512 => Sha512Params::new(rounds).and_then(|p| sha512_crypt_b64(password, salt, &p)),
            };
            found.is_ok_and(|found| is_same(found.as_bytes(), digest.as_bytes()))
        }
        Hashed::Sha1(known) => is_same(digest(&SHA1_FOR_LEGACY_USE_ONLY, password).as_ref(), known),
    }
}

fn is_same(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}

/// Apache's form of the MD5 password hash of FreeBSD: a thousand rounds, and an alphabet and order of its own.
fn apr1(salt: &[u8], password: &[u8]) -> [u8; 22] {
    let md5 = |parts: &[&[u8]]| -> [u8; 16] {
        let mut hash = Md5::new();
        parts.iter().for_each(|part| hash.update(part));
        hash.finalize().into()
    };
    let inner = md5(&[password, salt, password]);
    let mut hash = Md5::new();
    hash.update(password);
    hash.update(b"$apr1$");
    hash.update(salt);
    let mut left = password.len();
    while left > 0 {
        hash.update(&inner[..left.min(16)]);
        left = left.saturating_sub(16);
    }
    let mut bits = password.len();
    while bits > 0 {
        // The first letter, and there is one while there are bits.
        hash.update(if bits & 1 == 1 { &[0] } else { &password[..1] });
        bits >>= 1;
    }
    let mut found: [u8; 16] = hash.finalize().into();
    for round in 0..1000 {
        let (first, last): (&[u8], &[u8]) = if round % 2 == 1 { (password, &found) } else { (&found, password) };
        let salt = if round % 3 == 0 { &[] } else { salt };
        let middle = if round % 7 == 0 { &[] } else { password };
        found = md5(&[first, salt, middle, last]);
    }
    written(&found)
}

/// The digest in the letters and the order of `crypt(3)`.
fn written(digest: &[u8; 16]) -> [u8; 22] {
    const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut text = [0; 22];
    let last = u32::from(digest[11]);
    let numbers = ORDER
        .iter()
        .map(|[a, b, c]| (u32::from(digest[*a]) << 16) | (u32::from(digest[*b]) << 8) | u32::from(digest[*c]));
    for (letters, mut number) in text.chunks_mut(4).zip(numbers.chain([last])) {
        for letter in letters {
            *letter = LETTERS[(number & 63) as usize];
            number >>= 6;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::htpasswd::Users;

    /// Made with openssl and libxcrypt.
    const MADE: [(&str, &str); 12] = [
        ("$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/", "secret"),
        ("$apr1$zz$j2/RZcZLBHtY4Hv3/anFc1", ""),
        ("$apr1$12345678$PgfEdthuzGdhPwIcXGFt60", "a much longer pässword with spaces, longer than 16"),
        ("$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", "secret"),
        ("$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
        ("$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i", X100),
        ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "secret"),
        ("$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.", "secret"),
        ("$5$rounds=1000$x$kIBhdUvT3pHpfTjzR8s1XJu3y/HRJeFxMSffBtF8jx9", ""),
        (
            "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
            "secret",
        ),
        (
            "$6$rounds=1400$anotherlongsalts$GX8eZzvIvGbWhgJvxbkpwSj2lTGHISdBFYnKhCh0alRjOeFTynWoFZgrjBtiuvAvI7VmR8DNM7cr\
             EO33r6L3v.",
            "a much longer pässword with spaces, longer than 16",
        ),
    ];
    const X100: &str = match std::str::from_utf8(&[b'x'; 100]) {
        Ok(text) => text,
        Err(_) => "",
    };

    #[test]
    fn hashes_of_other_programs_are_known() {
        for (hash, password) in MADE {
            let users = Users::parse(format!("ann:{hash}").as_bytes()).unwrap();
            let hashed = users.find("ann").unwrap();
            assert!(is_right(hashed, password.as_bytes()), "{hash}");
            for wrong in ["", "Secret", "secret ", "secret\0", "U*V"] {
                assert!(wrong == password || !is_right(hashed, wrong.as_bytes()), "{hash} {wrong:?}");
            }
            assert!(!is_right(hashed, &[b'x'; LONGEST + 1]), "{hash}");
        }
    }
}
