//! Another pool hears requests too. What it answers is read and dropped, and nothing that it does or does not do is felt
//! by the client.
//!
//! Theory: a request without a body is sent at once, by a task of its own; one with a body is copied while it goes to
//! its backend, and sent when all of it has gone by. A thread has only so many of them under way and only so many bytes
//! of them in memory: beyond that they are dropped, and counted.

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::Request;
use hyper::body::Body;
use hyper::header;
use hyper::http::request::Parts;
use tokio::time::timeout;

use super::Filtering;
use super::canary::is_drawn;
use crate::model::live::pool::Mirrored;
use crate::model::snapshot::PoolPlan;
use crate::proxy::http::body::{RequestBody, Underway};
use crate::proxy::http::forward::{Outgoing, forward};
use crate::proxy::http::session::Session;

/// Requests to mirrors under way on one thread, those still being copied among them.
const MOST: usize = 128;
/// What of their bodies is in memory on one thread, in bytes.
const BYTES: usize = 16 * 1024 * 1024;
/// How long one may take, from its last byte to the end of the answer.
const TIME: Duration = Duration::from_secs(30);
/// How much of an answer is read so that its connection can be used again, in bytes.
const SKIPPED: usize = 256 * 1024;

/// What one thread has under way.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Mirrors {
    open: Cell<usize>,
    bytes: Cell<usize>,
}

/// A place among them.
struct Place {
    mirrors: Rc<Mirrors>,
    bytes: usize,
}

impl Place {
    fn take(mirrors: &Rc<Mirrors>) -> Option<Self> {
        let open = mirrors.open.get();
        (open < MOST).then(|| {
            mirrors.open.set(open + 1);
            Self { mirrors: mirrors.clone(), bytes: 0 }
        })
    }

    fn hold(&mut self, bytes: usize) -> bool {
        let all = self.mirrors.bytes.get() + bytes;
        if all > BYTES {
            return false;
        }
        self.mirrors.bytes.set(all);
        self.bytes += bytes;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.mirrors.open.set(self.mirrors.open.get().saturating_sub(1));
        self.mirrors.bytes.set(self.mirrors.bytes.get().saturating_sub(self.bytes));
    }
}

/// A request for a mirror, whose body is being copied. Dropped before its end it was dropped, and is counted so.
pub(in crate::proxy::http) struct Copying(Option<Copy>);

struct Copy {
    session: Rc<Session>,
    pool: Arc<PoolPlan>,
    client: IpAddr,
    head: Parts,
    body: BytesMut,
    most: u64,
    place: Place,
}

impl fmt::Debug for Copying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Copying").field(&self.0.as_ref().map(|copy| copy.body.len())).finish()
    }
}

impl Copying {
    /// Takes some of the body; false when it wants no more of it.
    pub(in crate::proxy::http) fn hears(&mut self, data: &Bytes) -> bool {
        let Some(copy) = &mut self.0 else { return false };
        if copy.body.len() as u64 + data.len() as u64 > copy.most || !copy.place.hold(data.len()) {
            return false;
        }
        copy.body.extend_from_slice(data);
        true
    }

    /// The body has ended: it is sent.
    pub(in crate::proxy::http) fn ends(mut self) {
        if let Some(copy) = self.0.take() {
            copy.send();
        }
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        if let Some(copy) = &self.0 {
            copy.pool.state.mirrored(Mirrored::Dropped);
        }
    }
}

impl Copy {
    fn send(self) {
        tokio::task::spawn_local(async move {
            let Self { session, pool, client, mut head, body, place, .. } = self;
            // Its framing is ours: all of it is here.
            head.headers.remove(header::TRANSFER_ENCODING);
            head.headers.remove(header::TRAILER);
            if body.is_empty() {
                head.headers.remove(header::CONTENT_LENGTH);
            } else {
                head.headers.insert(header::CONTENT_LENGTH, body.len().into());
            }
            let request = Request::from_parts(head, RequestBody::kept(body.freeze()));
            let state = pool.state.clone();
            let outgoing = Outgoing { request, upgrade: None, underway: Underway::new(&session), client, untold: None };
            let answered = timeout(TIME, async {
                match forward(&session, pool, outgoing).await {
                    Ok(answer) => {
                        answer.into_body().skip(SKIPPED).await;
                        true
                    }
                    Err(_) => false,
                }
            });
            let was = matches!(answered.await, Ok(true));
            state.mirrored(if was { Mirrored::Answered } else { Mirrored::Failed });
            drop(place);
        });
    }
}

/// The request for the backend, ready to be sent; the mirror gets a copy.
pub(super) fn hear(filtering: &Filtering<'_>, mut request: Request<RequestBody>) -> Request<RequestBody> {
    let Some(asked) = &filtering.plan.asked.mirror else { return request };
    let worker = &filtering.session.worker;
    let is_upgrade = request.headers().contains_key(header::UPGRADE);
    if is_upgrade || !is_drawn(asked.permille, || worker.draw()) {
        return request;
    }
    let Some(pool) = worker.reader.read(|snapshot| snapshot.pools.get(&asked.pool).cloned()) else { return request };
    let is_too_long = request.body().size_hint().lower() > asked.max_body;
    let place = if is_too_long { None } else { Place::take(&worker.mirrors) };
    let Some(place) = place else {
        pool.state.mirrored(Mirrored::Dropped);
        return request;
    };
    let mut head = Request::new(()).into_parts().0;
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.version = request.version();
    head.headers = request.headers().clone();
    let session = filtering.session.aside();
    let client = filtering.asker.client;
    let copy = Copy { session, pool, client, head, body: BytesMut::new(), most: asked.max_body, place };
    if request.body().is_none() {
        copy.send();
    } else {
        request.body_mut().is_heard_by(Copying(Some(copy)));
    }
    request
}
