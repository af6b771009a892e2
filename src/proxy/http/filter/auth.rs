//! Names and passwords (RFC 7617). The password itself is checked elsewhere, see `proxy/passwords.rs`.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, StatusCode, header};

use super::Filtering;
use crate::proxy::passwords::Verdict;

/// The longest `Authorization` that is looked at, in bytes.
const LONGEST: usize = 1024;
/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The answer to a request without a right name and password.
pub(super) async fn judge(filtering: &Filtering<'_>, parts: &mut Parts) -> Result<(), Response<Bytes>> {
    let (Some(users), Some(asked)) = (&filtering.plan.users, &filtering.plan.asked.basic_auth) else { return Ok(()) };
    let Ok(given) = credentials(&parts.headers) else {
        return Err(filtering.asker.answer(StatusCode::BAD_REQUEST, "there is more than one Authorization field"));
    };
    let verdict = match &given {
        None => Verdict::Wrong,
        Some((name, password)) => {
            let user = users.find(name);
            match user.or_else(|| users.slowest()) {
                None => Verdict::Wrong,
                Some(hashed) => {
                    let session = filtering.session;
                    session.worker.passwords.check(hashed, user.is_some(), password, filtering.asker.client).await
                }
            }
        }
    };
    let (status, reason, (field, value)) = match verdict {
        Verdict::Right => {
            if !asked.pass_on {
                parts.headers.remove(header::AUTHORIZATION);
            }
            return Ok(());
        }
        Verdict::Wrong => {
            let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", asked.realm);
            (StatusCode::UNAUTHORIZED, "a name and a password are asked for", (header::WWW_AUTHENTICATE, challenge))
        }
        Verdict::TooOften => {
            let wait = (header::RETRY_AFTER, "3".to_owned());
            (StatusCode::TOO_MANY_REQUESTS, "too many wrong passwords came from this address", wait)
        }
        Verdict::Busy => {
            let wait = (header::RETRY_AFTER, "1".to_owned());
            (StatusCode::SERVICE_UNAVAILABLE, "too many passwords are being checked", wait)
        }
    };
    let mut answer = filtering.asker.answer(status, reason);
    if let Ok(value) = value.parse() {
        answer.headers_mut().insert(field, value);
    }
    Err(answer)
}

/// There is more than one `Authorization`, and who reads the other would see another user.
#[derive(Debug, Eq, PartialEq)]
struct Ambiguous;

/// The name and the password that a request brings; `None`: none that can be read.
fn credentials(headers: &HeaderMap) -> Result<Option<(String, Vec<u8>)>, Ambiguous> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return if headers.contains_key(header::AUTHORIZATION) { Err(Ambiguous) } else { Ok(None) };
    };
    Ok(read(field.as_bytes()))
}

fn read(field: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, rest) = field.split_at_checked(6).filter(|_| field.len() <= LONGEST)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut decoded = BASE64.decode(rest.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    let password = decoded.split_off(colon + 1);
    decoded.truncate(colon);
    Some((String::from_utf8(decoded).ok()?, password))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn what_is_not_a_name_and_a_password_is_none() {
        let right = Some(("ann".to_owned(), b"se:cret".to_vec()));
        for text in ["Basic YW5uOnNlOmNyZXQ=", "basic  YW5uOnNlOmNyZXQ", "BASIC YW5uOnNlOmNyZXQ= "] {
            assert_eq!(read(text.as_bytes()), right, "{text}");
        }
        let long = format!("Basic {}", "YW5u".repeat(400));
        for text in [
            "",
            "Basic",
            "Basic ",
            "Basic YW5u",
            "Basic ====",
            "Basic \u{ff}",
            "Basic YW5uOnNlOmNyZXQ= x",
            "Bearer YW5uOnNlOmNyZXQ=",
            "BasicYW5uOnNlOmNyZXQ=",
            "Basic /zp4",
            &long,
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(credentials(&headers), Ok(None));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Basic YW5uOnNlOmNyZXQ="));
        assert_eq!(credentials(&headers), Ok(right));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        assert_eq!(credentials(&headers), Err(Ambiguous));
    }
}
