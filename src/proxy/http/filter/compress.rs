//! Answers are compressed for clients that take it.
//!
//! Left as they are: what is encoded already, a part of something (206), what has a digest of its bytes or forbids to
//! be changed (`no-transform`), what is known to be small, answers without a body, and all of HTTP/1.0, whose clients
//! could not tell a whole body from half of one.

use hyper::body::Body;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode, Version};

use super::{Filtering, Wanted};
use crate::model::intent::filter::{Coding, Compress};
use crate::proxy::http::body::ResponseBody;
use crate::proxy::http::body::shrinking::Shrinking;

/// The most elements of `Accept-Encoding` that are looked at: there are not so many codings in the world.
const ELEMENTS: usize = 32;
/// Fields that speak of the very bytes.
const OF_BYTES: [&str; 5] = ["content-encoding", "content-range", "content-digest", "content-md5", "digest"];

/// The answer, compressed if it may be.
pub(super) fn shrink(
    filtering: &Filtering<'_>,
    wanted: &Wanted,
    mut answer: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let Some(asked) = &filtering.plan.asked.compress else { return answer };
    if !is_text(asked, &answer) {
        return answer;
    }
    // Whoever keeps answers must know, be this one compressed or not.
    vary(answer.headers_mut());
    let length = answer.body().size_hint().exact();
    let is_small = length.is_some_and(|length| length < asked.min_size);
    if wanted.is_head || is_small || answer.body().is_end_stream() {
        return answer;
    }
    let Some(coding) = wanted.coding.filter(|_| !filtering.session.worker.memory.is_short()) else { return answer };
    let Some(shrinking) = Shrinking::new(coding, &filtering.session.worker.encoders) else { return answer };
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::ACCEPT_RANGES);
    if let Some(tag) = headers.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(header::ETAG, weak);
    }
    answer.body_mut().shrink(shrinking);
    answer
}

/// Whether an answer is of the kind that is compressed, for those who take it.
fn is_text(asked: &Compress, answer: &Response<ResponseBody>) -> bool {
    let bodiless = matches!(
        answer.status(),
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
    );
    let headers = answer.headers();
    !bodiless
        && !OF_BYTES.iter().any(|name| headers.contains_key(*name))
        && !headers.contains_key("repr-digest")
        && !elements(headers, &header::CACHE_CONTROL).any(|element| element.eq_ignore_ascii_case("no-transform"))
        && headers.get(header::CONTENT_TYPE).is_some_and(|value| is_of(asked, value))
}

fn is_of(asked: &Compress, value: &HeaderValue) -> bool {
    let Ok(value) = value.to_str() else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim();
    asked.types.iter().any(|kind| match kind.strip_suffix('*') {
        Some(start) => essence.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start)),
        None => essence.eq_ignore_ascii_case(kind),
    })
}

fn vary(headers: &mut HeaderMap) {
    let is_said = |element: &str| element == "*" || element.eq_ignore_ascii_case("accept-encoding");
    if !elements(headers, &header::VARY).any(is_said) {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// The coding that a client likes best of those that are offered; the first of equals. `None`: it takes none.
pub(super) fn chosen(asked: &Compress, headers: &HeaderMap, version: Version) -> Option<Coding> {
    if version < Version::HTTP_11 {
        return None;
    }
    // In thousandths, as the grammar has no more; `None`: not named.
    let (mut named, mut others) = ([None; 3], None);
    for element in elements(headers, &header::ACCEPT_ENCODING).take(ELEMENTS) {
        let (name, weight) = element.split_once(';').unwrap_or((element, ""));
        let name = name.trim();
        let Some(weight) = quality(weight) else { continue };
        if name == "*" {
            others = others.or(Some(weight));
        }
        for (coding, named) in asked.codings.iter().zip(&mut named) {
            let is_old_name = *coding == Coding::Gzip && name.eq_ignore_ascii_case("x-gzip");
            if is_old_name || name.eq_ignore_ascii_case(coding.name()) {
                *named = named.or(Some(weight));
            }
        }
    }
    let weighed =
        asked.codings.iter().take(3).zip(named).map(|(coding, named)| (named.or(others).unwrap_or(0), *coding));
    // Turned round, as `max_by_key` gives the last of equals.
    let best = weighed.rev().max_by_key(|(weight, _)| *weight);
    best.filter(|(weight, _)| *weight > 0).map(|(_, coding)| coding)
}

/// `q=0.5` as 500; nothing is 1000 (RFC 9110 §12.4.2). `None`: it is not of that form.
fn quality(text: &str) -> Option<u16> {
    let text = text.trim();
    if text.is_empty() {
        return Some(1000);
    }
    let (name, value) = text.split_once('=')?;
    let value = value.trim();
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    if !name.trim().eq_ignore_ascii_case("q") || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = format!("{part:0<3}").parse::<u16>().ok()?;
    match (whole, part) {
        ("0", part) => Some(part),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered() -> Compress {
        Compress {
            codings: Compress::usual_codings(),
            types: Compress::usual_types(),
            min_size: Compress::USUAL_MIN_SIZE,
        }
    }

    #[test]
    fn what_the_client_likes_best_is_chosen() {
        use Coding::{Br, Gzip, Zstd};
        let bomb = format!("{}gzip", "x,".repeat(10_000));
        for (said, expected) in [
            (None, None),
            (Some(""), None),
            (Some("gzip"), Some(Gzip)),
            (Some("x-gzip"), Some(Gzip)),
            (Some("gzip, deflate, br, zstd"), Some(Zstd)),
            (Some("GZIP;Q=1.0, br;q=0.999"), Some(Gzip)),
            (Some("gzip ; q=0.5 , br ; q=0.5"), Some(Br)),
            (Some("gzip;q=0"), None),
            (Some("*"), Some(Zstd)),
            (Some("*;q=0"), None),
            (Some("*;q=0, gzip;q=0.001"), Some(Gzip)),
            (Some("zstd;q=0, br;q=0, *"), Some(Gzip)),
            (Some("identity"), None),
            (Some("gzip;q=1.5, br;q=-1, zstd;q=0.1234"), None),
            (Some("gzip;level=9"), None),
            (Some("gzip;q=0, gzip"), None),
            (Some(&bomb), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                headers.insert(header::ACCEPT_ENCODING, said.parse().unwrap());
            }
            assert_eq!(chosen(&offered(), &headers, Version::HTTP_11), expected, "{said:?}");
            assert_eq!(chosen(&offered(), &headers, Version::HTTP_10), None);
        }
    }

    #[test]
    fn types_are_compared_without_parameters_and_case() {
        let asked = offered();
        for (value, expected) in [
            ("text/html", true),
            ("Text/HTML; charset=utf-8", true),
            ("text/event-stream", true),
            ("application/json;charset=utf-8", true),
            ("application/jsonx", false),
            ("image/png", false),
            ("text", false),
            ("", false),
        ] {
            assert_eq!(is_of(&asked, &value.parse().unwrap()), expected, "{value}");
        }
    }
}
