//! What is asked of an API server: a page of a list, a watch, and whether it is there at all.
//!
//! Every answer is bounded in size and in silence. kube's client signs, encrypts and carries; lists and watches are
//! read here, for its own would read without bound, try again in secret, and keep to itself when a watch ends, that it
//! begins anew at once, and how long the server asks to be left alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::api::{ListParams, WatchParams};
use kube::client::Body;
use kube::core::Status;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::control::kube::objects::service::Service;
use crate::control::kube::objects::{Kind, Object, Seen, nullable};
use crate::control::kube::store::Feed;

use super::version::Older;

/// Objects of one page of a list; kubectl asks for as many.
const PAGE: u32 = 500;
/// The most bytes of a page: 500 objects of the largest kind are less.
const PAGE_BYTES: usize = 128 << 20;
/// The most bytes of an event; etcd takes objects up to 1.5 MiB.
const EVENT_BYTES: usize = 16 << 20;
/// The most bytes that are read of a refusal.
const REFUSAL_BYTES: usize = 64 << 10;
/// How long a server may be silent before and within an answer that is not a watch.
const ANSWER: Duration = Duration::from_secs(30);
/// How long it may take to begin a watch. Servers do so at once, be there events or not.
const BEGIN: Duration = Duration::from_secs(15);

/// Why there is no good answer.
#[derive(Debug)]
pub(super) enum Wrong {
    /// None came, or it broke off.
    Unreached(kube::Error),
    /// None came in this time, and nothing says why.
    Silent(Duration),
    /// The server refuses.
    Refused {
        /// What it calls that.
        status: Box<Status>,
        /// How long it asks to be left alone.
        after: Option<Duration>,
    },
    /// It is not what an API server says.
    Garbled(String),
    /// There is more of it than can be.
    TooLarge(usize),
    /// It is older than what was seen.
    Older(Older),
    /// Watches end as soon as they begin.
    Brief,
}

impl Wrong {
    /// How long the server asks to be left alone.
    pub(super) fn after(&self) -> Option<Duration> {
        if let Self::Refused { after, .. } = self { *after } else { None }
    }

    /// Whether the server no longer knows where we were: then a new list mends it.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.code == 410)
    }
}

/// Who asks for the objects of one feed.
#[derive(Clone)]
pub(super) struct Asker {
    client: Client,
    path: Arc<str>,
    fields: Option<&'static str>,
}

/// A page of a list.
pub(super) struct Listed {
    /// Its objects that have names.
    pub(super) objects: Vec<Object>,
    /// How to ask for the next page; `None` = this was the last one.
    pub(super) next: Option<String>,
    /// How new the list is.
    pub(super) version: String,
}

/// What a watch says.
#[derive(Debug)]
pub(super) enum Word {
    /// An object is new or differs.
    Apply(Object, String),
    /// An object is gone.
    Delete(Object, String),
    /// All up to this version was said.
    Mark(String),
}

impl Asker {
    /// Asks for objects of a kind by this client.
    pub(super) fn new<K: Kind>(client: Client, namespace: Option<&str>) -> Self {
        let root = if K::GROUP.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}/v1", K::GROUP) };
        let place = namespace.map_or_else(String::new, |namespace| format!("/namespaces/{namespace}"));
        Self { client, path: format!("{root}{place}/{}", K::PLURAL).into(), fields: K::FIELDS }
    }

    /// Asks for one page, the first or that which `next` names.
    ///
    /// # Errors
    /// There is no page.
    pub(super) async fn list<K: Kind>(&self, next: Option<String>) -> Result<Listed, Wrong> {
        let params = ListParams {
            limit: Some(PAGE),
            continue_token: next,
            field_selector: self.fields.map(str::to_owned),
            ..ListParams::default()
        };
        let response = timeout(ANSWER, self.send(request(&self.path).list(&params))).await;
        let response = response.map_err(|_| Wrong::Silent(ANSWER))??;
        let bytes = whole(response.into_body(), PAGE_BYTES).await?;
        page::<K>(&bytes)
    }

    /// Begins a watch after `version`, which the server ends after `seconds`.
    ///
    /// # Errors
    /// It does not begin.
    pub(super) async fn watch(&self, version: &str, seconds: u32) -> Result<Words, Wrong> {
        let params = WatchParams {
            timeout: Some(seconds),
            field_selector: self.fields.map(str::to_owned),
            ..WatchParams::default()
        };
        let response = timeout(BEGIN, self.send(request(&self.path).watch(&params, version))).await;
        let response = response.map_err(|_| Wrong::Silent(BEGIN))??;
        Ok(Words { body: response.into_body(), buffer: BytesMut::new(), searched: 0 })
    }

    async fn send(
        &self,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Response<Body>, Wrong> {
        send(&self.client, request, HeaderMap::new()).await
    }
}

/// Whether the server answers at all, on a connection of its own, within `patience`: asks for a single Service, in the
/// namespace if there is one. What is refused to us alone (403, 404) is an answer.
///
/// # Errors
/// It does not.
pub(super) async fn knock(fresh: &Client, namespace: Option<&str>, patience: Duration) -> Result<(), Wrong> {
    let asker = Asker::new::<Service>(fresh.clone(), namespace);
    let headers = HeaderMap::from_iter([(CONNECTION, HeaderValue::from_static("close"))]);
    let asked = async {
        let response = send(fresh, request(&asker.path).list(&ListParams::default().limit(1)), headers).await?;
        whole(response.into_body(), PAGE_BYTES).await
    };
    match timeout(patience, asked).await {
        Err(_) => Err(Wrong::Silent(patience)),
        Ok(Err(Wrong::Refused { status, .. })) if matches!(status.code, 403 | 404) => Ok(()),
        Ok(Err(wrong)) => Err(wrong),
        Ok(Ok(bytes)) => page::<Service>(&bytes).map(drop),
    }
}

fn request(path: &str) -> kube::core::Request {
    kube::core::Request::new(path)
}

async fn send(
    client: &Client,
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    headers: HeaderMap,
) -> Result<Response<Body>, Wrong> {
    let mut request = request.map_err(|error| Wrong::Garbled(error.to_string()))?.map(Body::from);
    request.headers_mut().extend(headers);
    let response = client.send(request).await.map_err(Wrong::Unreached)?;
    if response.status().is_success() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let text = whole(body, REFUSAL_BYTES).await.unwrap_or_default();
    // Not every refusal is the server's own: those of proxies are pages.
    let mut status = serde_json::from_slice::<Status>(&text)
        .unwrap_or_else(|_| Status { message: String::from_utf8_lossy(&text).trim().to_owned(), ..Status::default() });
    status.code = head.status.as_u16();
    let after = seconds_to_wait(&head.headers);
    let after = after.or_else(|| status.details.as_ref().map(|details| details.retry_after_seconds.into()));
    let after = after.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    Err(Wrong::Refused { status: Box::new(status), after })
}

/// `Retry-After` in seconds; API servers do not write it as a date.
fn seconds_to_wait(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

/// All of a body.
async fn whole(mut body: Body, most: usize) -> Result<Bytes, Wrong> {
    let mut bytes = BytesMut::new();
    loop {
        let frame = timeout(ANSWER, body.frame()).await.map_err(|_| Wrong::Silent(ANSWER))?;
        let Some(frame) = frame else { return Ok(bytes.freeze()) };
        if let Ok(data) = frame.map_err(Wrong::Unreached)?.into_data() {
            if bytes.len() + data.len() > most {
                return Err(Wrong::TooLarge(most));
            }
            bytes.extend_from_slice(&data);
        }
    }
}

#[derive(Deserialize)]
struct Page {
    kind: String,
    metadata: PageMeta,
    // Must be there, be it `null`: Go writes an empty list so.
    #[serde(deserialize_with = "nullable")]
    items: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Reads a page; nothing but a list of the kind will do, for what else answers 200 must not empty anything.
fn page<K: Kind>(bytes: &[u8]) -> Result<Listed, Wrong> {
    // The error may quote what is there.
    let page: Page = serde_json::from_slice(bytes)
        .map_err(|error| Wrong::Garbled(format!("no list in JSON: line {} column {}", error.line(), error.column())))?;
    if page.kind.strip_suffix("List") != Some(K::KIND) {
        let kind: String = page.kind.chars().take(60).collect();
        return Err(Wrong::Garbled(format!("kind {kind:?} where a {}List was asked for", K::KIND)));
    }
    let version = page.metadata.resource_version.filter(|version| !version.is_empty());
    let next = page.metadata.next.filter(|next| !next.is_empty());
    let Some(version) = version else {
        return Err(Wrong::Garbled("a list without metadata.resourceVersion".to_owned()));
    };
    let seen = page.items.iter().map(|value| Seen::<K>::read(value).0);
    let objects = seen.filter(|seen| !seen.name.name.is_empty()).map(K::object).collect();
    Ok(Listed { objects, next, version })
}

/// What a watch says, as it comes.
pub(super) struct Words {
    body: Body,
    buffer: BytesMut,
    // How much of the buffer holds no end of a line.
    searched: usize,
}

impl Words {
    /// The next word; `None` = the watch ended. A line that breaks off is left out. May be dropped while it waits.
    ///
    /// # Errors
    /// The server says that something is wrong, or nothing that can be understood.
    pub(super) async fn next<K: Kind>(&mut self) -> Result<Option<Word>, Wrong> {
        loop {
            while let Some(line) = self.line() {
                if let Some(word) = word::<K>(&line)? {
                    return Ok(Some(word));
                }
            }
            if self.buffer.len() > EVENT_BYTES {
                return Err(Wrong::TooLarge(EVENT_BYTES));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.map_err(Wrong::Unreached)?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn line(&mut self) -> Option<Bytes> {
        match memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            Some(end) => {
                let line = self.buffer.split_to(self.searched + end + 1).freeze();
                self.searched = 0;
                Some(line)
            }
            None => {
                self.searched = self.buffer.len();
                None
            }
        }
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

fn word<K: Kind>(line: &[u8]) -> Result<Option<Word>, Wrong> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let garbled = || Wrong::Garbled("a watch that says no events in JSON".to_owned());
    let Line { kind, object } = serde_json::from_slice(line).map_err(|_| garbled())?;
    if kind == "ERROR" {
        let status: Status = serde_json::from_value(object).map_err(|_| garbled())?;
        let after = status.details.as_ref().map(|details| details.retry_after_seconds.into());
        let after = after.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        return Err(Wrong::Refused { status: Box::new(status), after });
    }
    let (seen, version) = Seen::<K>::read(&object);
    Ok(match kind.as_str() {
        "BOOKMARK" => Some(Word::Mark(version)),
        // Without a name it is no object.
        _ if seen.name.name.is_empty() => None,
        "ADDED" | "MODIFIED" => Some(Word::Apply(K::object(seen), version)),
        "DELETED" => Some(Word::Delete(K::object(seen), version)),
        // Later versions of the API may have more to say.
        _ => None,
    })
}

/// The feed of a kind, in the namespace or in all.
pub(super) fn feed_of<K: Kind>(namespace: Option<&str>) -> Feed {
    Feed { kind: K::FEED, namespace: namespace.map(Into::into) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listed: &Listed) -> Vec<String> {
        listed.objects.iter().map(|object| object.name().to_string()).collect()
    }

    #[test]
    fn only_a_list_of_the_kind_is_a_page() {
        let good = br#"{"kind": "ServiceList", "metadata": {"resourceVersion": "7", "continue": "c"},
            "items": [{"metadata": {"namespace": "a", "name": "web"}}, {}, {"spec": 7}]}"#;
        let listed = page::<Service>(good).unwrap();
        assert_eq!((names(&listed), listed.next.as_deref(), &*listed.version), (vec!["a/web".into()], Some("c"), "7"));
        for bad in [
            "",
            "{}",
            "null",
            "<html>",
            "[]",
            r#"{"kind": "ServiceList", "metadata": {"resourceVersion": "7"}}"#,
            r#"{"kind": "ServiceList", "metadata": {"resourceVersion": ""}, "items": []}"#,
            r#"{"kind": "ServiceList", "metadata": {}, "items": []}"#,
            r#"{"kind": "NodeList", "metadata": {"resourceVersion": "7"}, "items": []}"#,
            r#"{"kind": "Status", "metadata": {}, "status": "Success"}"#,
        ] {
            assert!(matches!(page::<Service>(bad.as_bytes()), Err(Wrong::Garbled(_))), "{bad}");
        }
        let none = br#"{"kind": "ServiceList", "metadata": {"resourceVersion": "7"}, "items": null}"#;
        assert!(page::<Service>(none).unwrap().objects.is_empty());
        let cut = &good[..good.len() - 9];
        assert!(matches!(page::<Service>(cut), Err(Wrong::Garbled(_))), "truncated");
    }

    #[test]
    fn words_are_events_marks_and_errors() {
        let word = |text: &str| word::<Service>(text.as_bytes());
        let object = r#"{"metadata": {"namespace": "a", "name": "web", "resourceVersion": "9"}}"#;
        let Ok(Some(Word::Apply(_, version))) = word(&format!(r#"{{"type": "ADDED", "object": {object}}}"#)) else {
            panic!("an object")
        };
        assert_eq!(version, "9");
        assert!(matches!(word(&format!(r#"{{"type":"DELETED","object":{object}}}"#)), Ok(Some(Word::Delete(..)))));
        let mark = r#"{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "12"}}}"#;
        assert!(matches!(word(mark), Ok(Some(Word::Mark(version))) if version == "12"));
        let gone = r#"{"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}"#;
        assert!(word(gone).unwrap_err().is_gone());
        assert!(matches!(word("\r\n"), Ok(None)));
        assert!(matches!(word(r#"{"type": "ADDED", "object": {}}"#), Ok(None)), "nobody");
        assert!(matches!(word(r#"{"type": "TOMORROW", "object": {}}"#), Ok(None)));
        assert!(matches!(word("<html>"), Err(Wrong::Garbled(_))));
    }
}
