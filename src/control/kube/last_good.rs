//! Pure. The objects of a cluster as they are kept for a start without its API server: to bytes and back.
//!
//! The first line says what follows: which cluster and which namespaces, since when, and a digest of the rest, so that
//! a file that is cut, damaged or another's is known for what it is. The rest is the objects, as far as we read them, in
//! the form in which they are read everywhere. Secrets are in it only where that is asked for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::objects::endpoints::EndpointSlice;
use super::objects::ingress::{Ingress, IngressClass};
use super::objects::node::Node;
use super::objects::opaque::OpaqueSecret;
use super::objects::secret::TlsSecret;
use super::objects::service::Service;
use super::objects::users::UserSecret;
use super::objects::{Kind, Object, Seen};
use super::spec::ClusterSpec;
use super::store::{Change, Feed, Store, Table};

pub mod disk;

/// The form of the file; another number is another form.
const FORMAT: u32 = 1;
/// What the file says it is.
const WHAT: &str = "sluice last good state of a cluster";

/// What is kept of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// When it was written, in milliseconds since 1970.
    pub saved_ms: u64,
    /// Whether certificates, keys and passwords are missing in it.
    pub without_keys: bool,
    /// All objects of every kind.
    pub changes: Vec<Change>,
    /// Tells this content from another.
    pub digest: Arc<str>,
}

#[derive(Deserialize, Serialize)]
struct Head {
    what: String,
    format: u32,
    cluster: String,
    namespaces: Vec<String>,
    keys: bool,
    saved_ms: u64,
    digest: String,
}

#[derive(Default, Deserialize, Serialize)]
struct Content {
    services: Vec<Value>,
    slices: Vec<Value>,
    nodes: Vec<Value>,
    ingresses: Vec<Value>,
    classes: Vec<Value>,
    secrets: Vec<Value>,
    users: Vec<Value>,
    opaque: Vec<Value>,
}

/// What is written of a cluster, and its digest. `identity` tells the cluster from any other one.
///
/// # Errors
/// Something cannot be written as JSON, which no object of ours is.
pub fn encode(
    store: &Store,
    spec: &ClusterSpec,
    identity: &str,
    now_ms: u64,
) -> serde_json::Result<(Vec<u8>, Arc<str>)> {
    let keys = spec.last_good.is_some_and(|last_good| last_good.keys);
    let mut content = Content {
        services: objects(&store.services)?,
        slices: objects(&store.slices)?,
        nodes: objects(&store.nodes)?,
        ingresses: objects(&store.ingresses)?,
        classes: objects(&store.classes)?,
        ..Content::default()
    };
    if keys {
        content.secrets = objects(&store.secrets)?;
        content.users = objects(&store.users)?;
        content.opaque = objects(&store.opaque)?;
    }
    let content = serde_json::to_vec(&content)?;
    let digest = digest(&content);
    let head = Head {
        what: WHAT.to_owned(),
        format: FORMAT,
        cluster: identity.to_owned(),
        namespaces: spec.namespaces.clone(),
        keys,
        saved_ms: now_ms,
        digest: digest.clone(),
    };
    let mut bytes = serde_json::to_vec(&head)?;
    bytes.push(b'\n');
    bytes.extend(content);
    bytes.push(b'\n');
    Ok((bytes, digest.into()))
}

/// Reads what [`encode`] wrote, for the cluster of this identity as the file asks for it now.
///
/// # Errors
/// Why it cannot be used.
pub fn decode(bytes: &[u8], spec: &ClusterSpec, identity: &str) -> Result<Kept, String> {
    let not_ours = || "it is not a last good state that sluice wrote, or damaged".to_owned();
    let end = memchr::memchr(b'\n', bytes).ok_or_else(not_ours)?;
    let (head, rest) = bytes.split_at(end);
    let head: Value = serde_json::from_slice(head).map_err(|_| not_ours())?;
    if head.get("what").and_then(Value::as_str) != Some(WHAT) {
        return Err(not_ours());
    }
    match head.get("format").and_then(Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => return Err(format!("it is of form {format}, and this sluice reads form {FORMAT} alone")),
        None => return Err(not_ours()),
    }
    let head: Head = serde_json::from_value(head).map_err(|_| not_ours())?;
    if head.cluster != identity {
        return Err("it is of another cluster: its server or the authority of its server was another one".to_owned());
    }
    if head.namespaces != spec.namespaces {
        return Err("it was written for other namespaces than the file names now".to_owned());
    }
    let rest = rest.trim_ascii();
    if digest(rest) != head.digest {
        return Err("it is damaged or cut off: its content is not what was written".to_owned());
    }
    let content: Content = serde_json::from_slice(rest).map_err(|_| not_ours())?;
    let takes_keys = head.keys && spec.last_good.is_some_and(|last_good| last_good.keys);
    let secret = [content.secrets, content.users, content.opaque];
    let [secrets, users, opaque] = if takes_keys { secret } else { Default::default() };
    let changes = vec![
        change::<Service>(&content.services),
        change::<EndpointSlice>(&content.slices),
        change::<Node>(&content.nodes),
        change::<Ingress>(&content.ingresses),
        change::<IngressClass>(&content.classes),
        change::<TlsSecret>(&secrets),
        change::<UserSecret>(&users),
        change::<OpaqueSecret>(&opaque),
    ];
    // Keys that are there and no longer wanted make the content another, so that it is soon written without.
    let digest = if head.keys == takes_keys { head.digest.into() } else { "".into() };
    Ok(Kept { saved_ms: head.saved_ms, without_keys: !takes_keys, changes, digest })
}

/// The objects that can be read; one that cannot is of no use at a cold start either.
fn objects<K: Kind>(table: &Table<K>) -> serde_json::Result<Vec<Value>> {
    let with_name = |(name, object): (&super::objects::ObjectName, &Arc<K>)| {
        let mut value = object.kept()?;
        if let Some(Value::Object(meta)) = value.get_mut("metadata") {
            meta.insert("name".to_owned(), (&*name.name).into());
            meta.insert("namespace".to_owned(), (&*name.namespace).into());
        }
        Ok(value)
    };
    table.iter().map(with_name).collect()
}

fn change<K: Kind>(values: &[Value]) -> Change {
    let objects: Vec<Object> = values.iter().map(|value| K::object(Seen::read(value).0)).collect();
    Change::Replace { feed: Feed { kind: K::FEED, namespace: None }, objects }
}

fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests;
