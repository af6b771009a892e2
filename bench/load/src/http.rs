//! The requests of the loads, and the reading of what comes back: HTTP/1.1 with `Content-Length`, which is all that the
//! backend of `bench/versus` answers.
//!
//! Pure.

/// A GET with the header fields that `bench/versus` has wrk send; with `Connection: close` if it is to be the last.
pub fn request(port: u16, path: &str, last: bool) -> Vec<u8> {
    let close = if last { "Connection: close\r\n" } else { "" };
    format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: versus/1\r\nAccept: */*\r\n{close}\r\n")
        .into_bytes()
}

/// The most bytes of a head.
const HEAD: usize = 16 << 10;

/// An answer under way: takes what comes, piece by piece.
#[derive(Debug, Default)]
pub struct Answer {
    head: Vec<u8>,
    /// Bytes of the body that are still to come; unknown until the head is whole.
    left: Option<u64>,
    taken: u64,
}

/// An answer that is not one: what is wrong with it.
#[derive(Debug, Eq, PartialEq)]
pub struct Wrong(pub &'static str);

impl Answer {
    /// Takes the next piece. Whether the answer is whole now.
    pub fn take(&mut self, piece: &[u8]) -> Result<bool, Wrong> {
        self.taken += piece.len() as u64;
        let body = match self.left {
            Some(_) => piece.len() as u64,
            None => {
                self.head.extend_from_slice(piece);
                let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else {
                    return if self.head.len() > HEAD { Err(Wrong("the head has no end")) } else { Ok(false) };
                };
                self.left = Some(length(&self.head[..end + 2])?);
                (self.head.len() - end - 4) as u64
            }
        };
        let left = self.left.and_then(|left| left.checked_sub(body)).ok_or(Wrong("more than was announced"))?;
        self.left = Some(left);
        Ok(left == 0)
    }

    /// Whether head and body are there.
    pub fn is_whole(&self) -> bool {
        self.left == Some(0)
    }

    /// Bytes so far, the head's too.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Makes it ready for the next on the same connection, with its memory.
    pub fn clear(&mut self) {
        self.head.clear();
        self.left = None;
        self.taken = 0;
    }
}

/// The announced length of the body of a 200.
fn length(head: &[u8]) -> Result<u64, Wrong> {
    if !head.starts_with(b"HTTP/1.1 200 ") {
        return Err(Wrong("the status is not 200"));
    }
    let fields = head.split(|&byte| byte == b'\n').filter_map(|line| line.split_at_checked(15));
    let (_, value) = fields
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(b"content-length:"))
        .ok_or(Wrong("no Content-Length"))?;
    str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok()).ok_or(Wrong("Content-Length is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 5\r\n\r\nhello";

    #[test]
    fn an_answer_is_whole_wherever_it_is_cut() {
        for cut in 0..GOOD.len() {
            let mut answer = Answer::default();
            assert_eq!(answer.take(&GOOD[..cut]), Ok(false), "cut at {cut}");
            assert_eq!(answer.take(&GOOD[cut..]), Ok(true), "cut at {cut}");
            assert_eq!(answer.taken(), GOOD.len() as u64);
            answer.clear();
            assert_eq!(answer.take(GOOD), Ok(true));
        }
    }

    #[test]
    fn what_is_no_good_answer_is_told() {
        let cases: [(&[u8], Wrong); 4] = [
            (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", Wrong("the status is not 200")),
            (b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", Wrong("no Content-Length")),
            (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Wrong("Content-Length is no number")),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", Wrong("more than was announced")),
        ];
        for (text, wrong) in cases {
            assert_eq!(Answer::default().take(text), Err(wrong));
        }
        assert_eq!(Answer::default().take(&[b'a'; HEAD + 1]), Err(Wrong("the head has no end")));
    }
}
