//! Pure. The body of a ClientHello, field by field; every length must add up.

use std::ops::Range;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// The only type of name there is.
const HOST_NAME: u8 = 0;

/// Where in `body` the server name and the list of protocols stand. `None` when it is malformed.
pub(super) fn read(body: &[u8]) -> Option<(Option<Range<usize>>, Range<usize>)> {
    let mut fields = Fields { body, at: 0, end: body.len() };
    // The version, which later ones put into an extension, and the random.
    fields.skip(2 + 32)?;
    let session = fields.short()?;
    let suites = fields.long()?;
    let compressions = fields.short()?;
    if session.len() > 32 || suites.is_empty() || suites.len() % 2 != 0 || compressions.is_empty() {
        return None;
    }
    let (mut name, mut alpn) = (None, 0..0);
    // Before TLS 1.3 there may be none.
    if !fields.is_over() {
        let mut extensions = fields.enter()?;
        let mut seen = Seen::default();
        while !extensions.is_over() {
            let kind = extensions.number()?;
            let mut extension = extensions.enter()?;
            if !seen.is_first(kind) {
                return None;
            }
            match kind {
                SERVER_NAME => name = Some(server_name(extension)?),
                ALPN => alpn = protocols(&mut extension)?,
                _ => {}
            }
        }
    }
    fields.is_over().then_some((name, alpn))
}

/// The one host name in a list of names, each of another type.
fn server_name(mut extension: Fields<'_>) -> Option<Range<usize>> {
    let mut names = extension.enter()?;
    let mut host = None;
    while !names.is_over() {
        let kind = names.skip(1)?;
        let name = names.long()?;
        if names.body[kind.start] == HOST_NAME && host.replace(name).is_some() {
            return None;
        }
    }
    let host = host.filter(|name| !name.is_empty() && extension.body[name.clone()].is_ascii())?;
    extension.is_over().then_some(host)
}

/// A list of names, at least one and none of them empty.
fn protocols(extension: &mut Fields<'_>) -> Option<Range<usize>> {
    let mut list = extension.enter()?;
    let whole = list.at..list.end;
    while !list.is_over() {
        if list.short()?.is_empty() {
            return None;
        }
    }
    (extension.is_over() && !whole.is_empty()).then_some(whole)
}

/// What is left of a part of the body.
struct Fields<'b> {
    body: &'b [u8],
    at: usize,
    end: usize,
}

impl Fields<'_> {
    fn is_over(&self) -> bool {
        self.at == self.end
    }

    fn skip(&mut self, length: usize) -> Option<Range<usize>> {
        let range = self.at..self.at + length;
        (range.end <= self.end).then(|| {
            self.at = range.end;
            range
        })
    }

    fn number(&mut self) -> Option<u16> {
        let at = self.skip(2)?.start;
        Some(u16::from_be_bytes([self.body[at], self.body[at + 1]]))
    }

    /// A field behind a length of one byte.
    fn short(&mut self) -> Option<Range<usize>> {
        let at = self.skip(1)?.start;
        self.skip(usize::from(self.body[at]))
    }

    /// A field behind a length of two bytes.
    fn long(&mut self) -> Option<Range<usize>> {
        let length = self.number()?;
        self.skip(usize::from(length))
    }

    /// The same, to be read in its turn.
    fn enter(&mut self) -> Option<Self> {
        let Range { start: at, end } = self.long()?;
        Some(Self { body: self.body, at, end })
    }
}

/// Which types of extension have come: none may come twice (RFC 8446 §4.2).
struct Seen([u64; 1024]);

impl Default for Seen {
    fn default() -> Self {
        Self([0; 1024])
    }
}

impl Seen {
    fn is_first(&mut self, kind: u16) -> bool {
        let (word, bit) = (&mut self.0[usize::from(kind / 64)], 1 << (kind % 64));
        let is_first = *word & bit == 0;
        *word |= bit;
        is_first
    }
}
