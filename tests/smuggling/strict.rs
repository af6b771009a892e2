//! A backend that takes nothing but plain HTTP/1.1, and says what was wrong with all else.

use std::sync::{Arc, Mutex};

use crate::support::Peer;
use crate::support::peer::answer;
use crate::support::plain;
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
                        match plain::request(&bytes) {
                            Ok(None) => break,
                            Ok(Some((request, length))) => {
                                bytes.drain(..length);
                                let request = request.shown();
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
