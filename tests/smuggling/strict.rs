//! A backend that takes nothing but plain HTTP/1.1, and says what was wrong with all else.

use std::sync::{Arc, Mutex};

use crate::support::Peer;
use crate::support::peer::answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a backend saw.
#[derive(Default)]
pub(crate) struct Seen {
    /// Whole requests, as `METHOD target body`.
    pub(crate) requests: Vec<String>,
    /// What was wrong.
    pub(crate) blemishes: Vec<String>,
}

/// A strict backend.
pub(crate) struct Strict {
    pub(crate) peer: Peer,
    seen: Arc<Mutex<Seen>>,
}

impl Strict {
    /// Starts one, which answers each request with what it took it for.
    pub(crate) async fn start() -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let record = seen.clone();
        let peer = Peer::serving(move |wire| {
            let seen = record.clone();
            async move {
                let mut stream = wire.stream;
                let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
                while let Ok(count @ 1..) = stream.read(&mut piece).await {
                    bytes.extend_from_slice(&piece[..count]);
                    loop {
                        match request(&bytes) {
                            Ok(None) => break,
                            Ok(Some((request, length))) => {
                                bytes.drain(..length);
                                let answer = answer("200 OK", &request);
                                seen.lock().unwrap().requests.push(request);
                                if stream.write_all(&answer).await.is_err() {
                                    return;
                                }
                            }
                            Err(blemish) => {
                                seen.lock().unwrap().blemishes.push(blemish);
                                return;
                            }
                        }
                    }
                }
            }
        })
        .await;
        Self { peer, seen }
    }

    /// The requests since the last call. Panics if anything was wrong with the bytes.
    pub(crate) fn requests(&self) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap();
        assert!(seen.blemishes.is_empty(), "{:?}", seen.blemishes);
        std::mem::take(&mut seen.requests)
    }
}

/// The first request in `bytes`, and its length. `None`: not whole yet.
fn request(bytes: &[u8]) -> Result<Option<(String, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        // A lone LF would never be found by waiting.
        return lines(bytes.strip_suffix(b"\r").unwrap_or(bytes)).map(|_| None);
    };
    let head = lines(&bytes[..end + 2])?;
    let wrong = |what: &str| Err(format!("{what}: {:?}", String::from_utf8_lossy(&bytes[..end])));
    let mut head = head.into_iter();
    let first = head.next().unwrap_or_default();
    let [method, target, "HTTP/1.1"] = first.split(' ').collect::<Vec<_>>()[..] else {
        return wrong("the request line");
    };
    if !is_token(method) || !is_plain_target(target) {
        return wrong("the method or the target");
    }
    let (mut hosts, mut length, mut chunked) = (0, None, 0);
    for line in head {
        let Some((name, value)) = line.split_once(": ").or_else(|| line.strip_suffix(':').map(|name| (name, "")))
        else {
            return wrong("a field");
        };
        if !is_token(name) || value.bytes().any(|b| b.is_ascii_control() && b != b'\t') || value.trim() != value {
            return wrong("the bytes of a field");
        }
        match &*name.to_ascii_lowercase().replace(['_', '.'], "-") {
            "host" if name.eq_ignore_ascii_case("host") => hosts += 1,
            "content-length" if name.contains('-') && length.is_none() && value.bytes().all(|b| b.is_ascii_digit()) => {
                length = Some(value.parse::<usize>().map_err(|error| error.to_string())?);
            }
            "transfer-encoding" if name.contains('-') && value == "chunked" => chunked += 1,
            "connection" if value == "te" || value == "upgrade" => {}
            "content-length" | "transfer-encoding" | "connection" | "keep-alive" | "proxy-connection" | "expect" => {
                return wrong("a field that ends at the hop before");
            }
            _ => {}
        }
    }
    if hosts != 1 || chunked > 1 || (chunked == 1 && length.is_some()) {
        return wrong("the framing");
    }
    let rest = &bytes[end + 4..];
    let body = if chunked == 1 { chunks(rest)? } else { sized(rest, length.unwrap_or_default()) };
    Ok(body.map(|(body, length)| (format!("{method} {target} {body}").trim_end().to_owned(), end + 4 + length)))
}

/// Lines, each of which ends in CR LF.
fn lines(bytes: &[u8]) -> Result<Vec<&str>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut lines: Vec<_> = text.split("\r\n").collect();
    // The last one has not ended.
    lines.pop();
    match lines.iter().find(|line| line.contains(['\r', '\n', '\0'])) {
        Some(line) => Err(format!("a line with control characters: {line:?}")),
        None => Ok(lines),
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn is_plain_target(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let is_dots = |element: &str| matches!(element.split(';').next(), Some("." | ".."));
    path.starts_with('/')
        && target.bytes().all(|b| b.is_ascii_graphic())
        && !path.contains(['\\', '#'])
        && !path.contains("//")
        && !path.replace("%2F", "/").replace("%5C", "/").split('/').any(is_dots)
}

fn sized(bytes: &[u8], length: usize) -> Option<(String, usize)> {
    Some((String::from_utf8_lossy(bytes.get(..length)?).into_owned(), length))
}

fn chunks(bytes: &[u8]) -> Result<Option<(String, usize)>, String> {
    let (mut body, mut at) = (String::new(), 0);
    loop {
        let Some(end) = bytes[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let size = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
        if size.is_empty() || size.len() > 8 || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!("the size of a chunk: {size:?}"));
        }
        let size = usize::from_str_radix(&size, 16).map_err(|error| error.to_string())?;
        at += end + 2;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err(format!("the end of a chunk: {chunk:?}"));
        }
        body.push_str(&String::from_utf8_lossy(&chunk[..size]));
        at += size + 2;
    }
    loop {
        let Some(end) = bytes[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
        at += end + 2;
        if line.is_empty() {
            return Ok(Some((body, at)));
        }
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase().replace(['_', '.'], "-");
        let wrong = ["content-length", "transfer-encoding", "host", "authorization", "cookie", "x-forwarded-for"];
        if wrong.contains(&&*name) {
            return Err(format!("a trailer that frames, routes or authenticates: {line:?}"));
        }
        body.push_str(&format!(" [{line}]"));
    }
}
