//! What a client of HTTP/1 gets: answers that can be read in one way, in the order of its requests.

/// A final answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Which request a backend took it for, if it is one's.
    pub serial: Option<u64>,
}

/// Reads all answers; `methods` are those of the requests, where they are known.
///
/// # Errors
/// What is wrong with them.
pub fn answers(mut bytes: &[u8], methods: &[&str]) -> Result<Vec<Answer>, String> {
    let mut all: Vec<Answer> = Vec::new();
    let mut is_last = false;
    while !bytes.is_empty() {
        if is_last {
            return Err("something behind the last answer".into());
        }
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or("half a head")?;
        let head: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
        bytes = &bytes[end + 4..];
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.1 ").or_else(|| first.strip_prefix("HTTP/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)).and_then(|status| status.parse::<u16>().ok());
        let status = status.ok_or_else(|| format!("no status line: {first:?}"))?;
        let (mut length, mut chunked, mut closes, mut serial) = (None, false, first.starts_with("HTTP/1.0"), None);
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("no field: {line:?}"))?;
            let value = value.trim_matches([' ', '\t']);
            if line.contains(['\r', '\n', '\0']) || name.trim() != name {
                return Err(format!("no field: {line:?}"));
            }
            match &*name.to_ascii_lowercase() {
                "content-length" if length.is_none() => {
                    length = Some(value.parse::<usize>().map_err(|error| format!("{error}: {line:?}"))?);
                }
                "content-length" => return Err("two lengths".into()),
                "transfer-encoding" if value == "chunked" && !chunked => chunked = true,
                "transfer-encoding" => return Err(format!("another coding: {line:?}")),
                "connection" => closes = value.eq_ignore_ascii_case("close"),
                "x-serial" => serial = Some(value.parse().map_err(|_| "no serial")?),
                _ => {}
            }
        }
        if status < 200 {
            continue;
        }
        let is_head = methods.get(all.len()) == Some(&"HEAD");
        let body = match (length, chunked) {
            (Some(_), true) => return Err("two framings".into()),
            _ if is_head || matches!(status, 204 | 304) => String::new(),
            (None, true) => chunks(&mut bytes)?,
            // A refusal of what nobody can tell the method of, which may be HEAD.
            (Some(_), false) if methods.len() <= all.len() && bytes.is_empty() => String::new(),
            (Some(length), false) => {
                let body = bytes.get(..length).ok_or("half a body")?;
                bytes = &bytes[length..];
                String::from_utf8_lossy(body).into_owned()
            }
            (None, false) if closes => String::from_utf8_lossy(std::mem::take(&mut bytes)).into_owned(),
            (None, false) => return Err("a body without an end".into()),
        };
        if let Some(serial) = serial.filter(|_| !is_head && status != 204)
            && body != format!("serial {serial}")
        {
            return Err(format!("the body of answer {serial} is {body:?}"));
        }
        is_last = closes;
        all.push(Answer { status, serial });
    }
    Ok(all)
}

fn chunks(bytes: &mut &[u8]) -> Result<String, String> {
    let mut body = String::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n").ok_or("half a chunk")?;
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or("no size of a chunk")?;
        let chunk = bytes.get(end + 2..end + 4 + size).ok_or("half a chunk")?;
        let Some(text) = chunk.strip_suffix(b"\r\n") else { return Err("a chunk without an end".into()) };
        body.push_str(&String::from_utf8_lossy(text));
        *bytes = &bytes[end + 4 + size..];
        if size == 0 {
            return Ok(body);
        }
    }
}
