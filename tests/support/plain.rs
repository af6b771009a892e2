//! What a strict backend takes for a request of HTTP/1.1: one reading, or none.
//!
//! Written by RFC 9112 and by what sluice promises of what it sends, and with no parser of anybody's. Shared with the
//! fuzz targets.

/// A whole request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plain {
    pub method: String,
    pub target: String,
    /// Names as they came; values byte by byte as characters.
    pub fields: Vec<(String, String)>,
    /// Chunks joined.
    pub body: Vec<u8>,
    /// Like `fields`.
    pub trailers: Vec<(String, String)>,
}

impl Plain {
    /// All values of a field.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| &**value).collect()
    }

    /// As `METHOD target body [trailer: value]`.
    pub fn shown(&self) -> String {
        let mut all = format!("{} {} {}", self.method, self.target, String::from_utf8_lossy(&self.body));
        for (name, value) in &self.trailers {
            all.push_str(&format!(" [{name}: {value}]"));
        }
        all.trim_end().to_owned()
    }
}

/// The first request in `bytes`, and its length. `None`: not whole yet.
///
/// # Errors
/// What is wrong with it: another server could take it for something else.
pub fn request(bytes: &[u8]) -> Result<Option<(Plain, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        // A lone LF would never be found by waiting.
        return lines(bytes.strip_suffix(b"\r").unwrap_or(bytes)).map(|_| None);
    };
    let head = lines(&bytes[..end + 2])?;
    let wrong = |what: &str| Err(format!("{what}: {:?}", String::from_utf8_lossy(&bytes[..end])));
    let mut head = head.iter();
    let first = head.next().map_or("", String::as_str);
    let [method, target, "HTTP/1.1"] = first.split(' ').collect::<Vec<_>>()[..] else {
        return wrong("the request line");
    };
    if !is_token(method) || !is_plain_target(target) {
        return wrong("the method or the target");
    }
    let mut plain = Plain { method: method.to_owned(), target: target.to_owned(), ..Plain::default() };
    let (mut hosts, mut length, mut chunked) = (0, None, 0);
    for line in head {
        let Some((name, value)) = field(line) else { return wrong("a field") };
        match &*name.to_ascii_lowercase().replace(['_', '.'], "-") {
            "host" if name.eq_ignore_ascii_case("host") => hosts += 1,
            "content-length" if name.contains('-') && length.is_none() && is_number(value) => {
                length = Some(value.parse::<usize>().map_err(|error| error.to_string())?);
            }
            "transfer-encoding" if name.contains('-') && value == "chunked" => chunked += 1,
            "connection" if value == "te" || value == "upgrade" => {}
            "content-length" | "transfer-encoding" | "connection" | "keep-alive" | "proxy-connection" | "expect" => {
                return wrong("a field that ends at the hop before");
            }
            _ => {}
        }
        plain.fields.push((name.to_owned(), value.to_owned()));
    }
    if hosts != 1 || chunked > 1 || (chunked == 1 && length.is_some()) {
        return wrong("the framing");
    }
    let rest = &bytes[end + 4..];
    let length = if chunked == 1 {
        chunks(rest, &mut plain)?
    } else {
        let length = length.unwrap_or_default();
        rest.get(..length).map(|body| {
            plain.body = body.to_vec();
            length
        })
    };
    Ok(length.map(|length| (plain, end + 4 + length)))
}

/// Lines, each of which ends in CR LF.
fn lines(bytes: &[u8]) -> Result<Vec<String>, String> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut lines: Vec<_> = text.split("\r\n").map(str::to_owned).collect();
    // The last one has not ended.
    lines.pop();
    match lines.iter().find(|line| line.contains(['\r', '\n', '\0'])) {
        Some(line) => Err(format!("a line with control characters: {line:?}")),
        None => Ok(lines),
    }
}

/// A field as plainly as it can be written.
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(": ").or_else(|| line.strip_suffix(':').map(|name| (name, "")))?;
    let is_plain = is_token(name)
        && value.chars().all(|c| c == '\t' || !c.is_ascii_control())
        && value.trim_matches([' ', '\t']) == value;
    is_plain.then_some((name, value))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether it can be a name of a field or a method.
pub fn is_token(text: &str) -> bool {
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

fn chunks(bytes: &[u8], plain: &mut Plain) -> Result<Option<usize>, String> {
    let mut at = 0;
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
        let Some(chunk) = chunk.strip_suffix(b"\r\n") else { return Err(format!("the end of a chunk: {chunk:?}")) };
        plain.body.extend_from_slice(chunk);
        at += size + 2;
    }
    loop {
        let Some(end) = bytes[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let line: String = bytes[at..at + end].iter().map(|byte| char::from(*byte)).collect();
        at += end + 2;
        if line.is_empty() {
            return Ok(Some(at));
        }
        let Some((name, value)) = field(&line) else { return Err(format!("a trailer: {line:?}")) };
        let wrong = ["content-length", "transfer-encoding", "host", "authorization", "cookie", "x-forwarded-for"];
        if wrong.contains(&&*name.to_ascii_lowercase().replace(['_', '.'], "-")) {
            return Err(format!("a trailer that frames, routes or authenticates: {line:?}"));
        }
        plain.trailers.push((name.to_owned(), value.to_owned()));
    }
}
