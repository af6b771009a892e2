//! Answers as backends send them, whole and in pieces.

use proptest::prelude::*;

use super::*;

/// What an answer becomes: status, fields, body, trailers; and whether the connection carries on.
#[derive(Debug, Eq, PartialEq)]
struct Read {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Option<Vec<(String, Vec<u8>)>>,
    keeps: bool,
    is_whole: bool,
    left: usize,
}

fn fields(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

/// Reads an answer that comes in pieces. `None` when its head does not end.
fn read(pieces: &[&[u8]], to_head: bool) -> Result<Option<Read>, Malformed> {
    let (mut bytes, mut searched, mut room) = (BytesMut::new(), 0, HeaderMap::new());
    let mut pieces = pieces.iter();
    let mut found = loop {
        if let Some(found) = reply(&mut bytes, &mut searched, to_head, &mut room)? {
            break found;
        }
        match pieces.next() {
            Some(piece) => bytes.extend_from_slice(piece),
            None => return Ok(None),
        }
    };
    let mut read = Read {
        status: found.head.status().as_u16(),
        fields: fields(found.head.headers()),
        body: Vec::new(),
        trailers: None,
        keeps: found.keeps,
        is_whole: false,
        left: 0,
    };
    loop {
        match found.rest.step(&mut bytes)? {
            Step::Data(data) => read.body.extend_from_slice(&data),
            Step::Trailers(map) => {
                read.trailers = Some(fields(&map));
                break;
            }
            Step::End => break,
            Step::More => match pieces.next() {
                Some(piece) => bytes.extend_from_slice(piece),
                None => return Ok(Some(read)),
            },
        }
    }
    read.is_whole = true;
    read.left = bytes.len() + pieces.map(|piece| piece.len()).sum::<usize>();
    Ok(Some(read))
}

/// Reads an answer whole and in pieces of every size, which must come to the same.
fn read_all_ways(answer: &[u8], to_head: bool) -> Result<Option<Read>, Malformed> {
    let whole = read(&[answer], to_head);
    for size in 1..answer.len() {
        let pieces: Vec<&[u8]> = answer.chunks(size).collect();
        assert_eq!(read(&pieces, to_head), whole, "in pieces of {size}: {:?}", String::from_utf8_lossy(answer));
    }
    whole
}

fn body_of(answer: &str) -> (String, bool) {
    let read = read_all_ways(answer.as_bytes(), false).unwrap().unwrap();
    assert!(read.is_whole, "{answer:?}");
    assert_eq!(read.left, 0, "{answer:?}");
    (String::from_utf8(read.body).unwrap(), read.keeps)
}

#[test]
fn bodies_end_where_their_heads_say() {
    for (answer, body, keeps) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\nContent-Length: 3\r\n\r\nabc", "abc", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n", "", false),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "a", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\na", "a", true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", "", true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "", true),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
            "a",
            true,
        ),
        ("HTTP/1.1 200 OK\nContent-Length: 1\n\na", "a", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc", true),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1;x=\"y\"\r\na\r\n00A \r\n0123456789\r\n000\r\n\r\n",
            "a0123456789",
            true,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "a", false),
    ] {
        assert_eq!(body_of(answer), (body.to_owned(), keeps), "{answer:?}");
    }
}

#[test]
fn what_has_no_end_of_its_own_lasts_until_the_connection_closes() {
    let read = read_all_ways(b"HTTP/1.1 200 OK\r\n\r\nabc", false).unwrap().unwrap();
    assert_eq!((read.body, read.keeps, read.is_whole), (b"abc".to_vec(), false, false));
    let short = read_all_ways(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", false).unwrap().unwrap();
    assert!(!short.is_whole);
}

#[test]
fn what_comes_behind_an_answer_is_not_of_it() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        assert_eq!(read_all_ways(answer.as_bytes(), false).unwrap().unwrap().left, 19, "{answer:?}");
    }
}

#[test]
fn an_answer_to_head_has_no_body_whatever_it_says() {
    for framing in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n");
        let read = read_all_ways(answer.as_bytes(), true).unwrap().unwrap();
        assert!(read.is_whole && read.keeps && read.body.is_empty(), "{framing:?}");
    }
}

#[test]
fn fields_are_kept_but_for_what_ends_at_this_hop() {
    let answer = b"HTTP/1.1 200 Fine\r\nX-A: 1\r\nConnection: keep-alive\r\nx-a:  2 \r\nX-Empty:\r\nX-Bytes: \xff\r\n\
        Connection: x-named\r\nContent-Length: 0\r\n\r\n";
    let read = read_all_ways(answer, false).unwrap().unwrap();
    let expected: [(&str, &[u8]); 6] = [
        ("x-a", b"1"),
        ("x-a", b"2"),
        ("x-empty", b""),
        ("x-bytes", b"\xff"),
        ("connection", b"x-named"),
        ("content-length", b"0"),
    ];
    assert_eq!(read.fields, expected.map(|(name, value)| (name.to_owned(), value.to_vec())));
    let mut bytes = BytesMut::from(&answer[..]);
    let reply = reply(&mut bytes, &mut 0, false, &mut HeaderMap::new()).unwrap().unwrap();
    assert_eq!(reply.head.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"Fine");
}

#[test]
fn trailers_are_fields() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\nx-t: 2\r\n\r\n";
    let read = read_all_ways(answer, false).unwrap().unwrap();
    let expected = vec![("x-t".to_owned(), b"1".to_vec()), ("x-t".to_owned(), b"2".to_vec())];
    assert_eq!((read.trailers, read.is_whole, read.left), (Some(expected), true, 0));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 1",
        "HTTP/1.1 200 OK\r\nContent-Length: +1",
        "HTTP/1.1 200 OK\r\nContent-Length: -1",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x1",
        "HTTP/1.1 200 OK\r\nContent-Length:",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 200 OK\r\nContent-Length : 1",
        "HTTP/1.1 200 OK\r\nX: a\r\n b",
        "HTTP/1.1 200 OK\r\n X: a",
        "HTTP/1.1 200 OK\r\nX: a\0",
        "HTTP/1.1 200 OK\r\nX: a\rb",
        "HTTP/1.1 200 OK\r\nno colon",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/2.0 200 OK",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x",
        "ICY 200 OK",
        "\r\n\r\nHTTP/1.1 200 OK",
        "<html>",
        "",
    ] {
        let answer = format!("{head}\r\n\r\na");
        assert!(read_all_ways(answer.as_bytes(), false).is_err(), "{head:?}");
    }
}

#[test]
fn chunks_are_read_to_the_letter() {
    for chunks in [
        "\r\na\r\n",
        "x\r\n",
        "-1\r\na\r\n",
        "+1\r\na\r\n",
        "0x1\r\na\r\n",
        "1 1\r\na\r\n",
        " 1\r\na\r\n",
        "1\na\r\n",
        "1\r\nab\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\na\r0\r\n\r\n",
        "1;\rx\r\na\r\n",
        "11111111111111111\r\na",
        "0\r\nX\r\n\r\n",
        "0\r\nX: a\n\r\n",
        "0\r\n X: a\r\n\r\n",
        "0\r\nX : a\r\n\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        assert!(read_all_ways(answer.as_bytes(), false).is_err(), "{chunks:?}");
    }
}

#[test]
fn nothing_grows_without_bound() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let fields = "X: a\r\n".repeat(101);
    for answer in [
        format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(HEAD)),
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n"),
        format!("{head}1;{}", "x".repeat(20_000)),
        format!("{head}{}", "1".repeat(20_000)),
        format!("{head}{}", format!("1;{}\r\na\r\n", "x".repeat(100)).repeat(200)),
        format!("{head}0\r\n{}", "X: a\r\n".repeat(5_000)),
        format!("{head}0\r\nX: {}", "a".repeat(20_000)),
        format!("{head}0\r\n{fields}\r\n"),
    ] {
        let pieces: Vec<&[u8]> = answer.as_bytes().chunks(1000).collect();
        assert!(read(&pieces, false).is_err(), "{}…", &answer[..60]);
    }
}

proptest! {
    /// Whatever comes, in whatever pieces: no panic, and the pieces make no difference.
    #[test]
    fn pieces_make_no_difference(parts in prop::collection::vec(prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.0 404 x\r\n", "Content-Length: 5\r\n", "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "X: y\r\n", "\r\n", "\n", "\r", "5\r\n", "abcde", "0\r\n", "a", ";x",
    ]), 1..14), size in 1_usize..9, to_head: bool) {
        let answer = parts.concat().into_bytes();
        let pieces: Vec<&[u8]> = answer.chunks(size).collect();
        prop_assert_eq!(read(&pieces, to_head), read(&[&answer[..]], to_head));
    }

    /// A body comes through chunks of any size as it went in.
    #[test]
    fn chunks_come_to_the_body_they_were_cut_from(body in prop::collection::vec(any::<u8>(), 0..300), cut in 1_usize..64, size in 1_usize..64) {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(cut) {
            answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            answer.extend_from_slice(chunk);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        let pieces: Vec<&[u8]> = answer.chunks(size).collect();
        let read = read(&pieces, false).unwrap().unwrap();
        prop_assert!(read.is_whole && read.keeps && read.left == 0);
        prop_assert_eq!(read.body, body);
    }
}
