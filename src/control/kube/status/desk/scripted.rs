//! An API server in memory, for tests: keeps objects by path, refuses old versions, counts what is written.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// The server. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Scripted(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    /// Plurals that our account has no right to.
    forbidden: BTreeSet<String>,
    is_down: bool,
    written: Vec<(Method, String)>,
    asked: usize,
}

impl Scripted {
    pub(super) fn client(&self) -> Client {
        let server = self.clone();
        let serve = move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let (code, answer) = server.answer(&head.method, head.uri.path(), &body);
                let answer = Full::new(bytes::Bytes::from(answer.to_string()));
                Ok::<_, Infallible>(Response::builder().status(code).body(answer).unwrap())
            }
        };
        Client::new(tower::service_fn(serve), "default")
    }

    /// Puts an object there, or takes it away.
    pub(super) fn put(&self, path: &str, object: Option<Value>) {
        let objects = &mut self.0.lock().unwrap().objects;
        match object {
            Some(object) => drop(objects.insert(path.to_owned(), object)),
            None => drop(objects.remove(path)),
        }
    }

    pub(super) fn object(&self, path: &str) -> Value {
        self.0.lock().unwrap().objects.get(path).cloned().unwrap_or_default()
    }

    pub(super) fn forbid(&self, plural: &str, is_forbidden: bool) {
        let forbidden = &mut self.0.lock().unwrap().forbidden;
        if is_forbidden {
            forbidden.insert(plural.to_owned())
        } else {
            forbidden.remove(plural)
        };
    }

    pub(super) fn is_down(&self, is_down: bool) {
        self.0.lock().unwrap().is_down = is_down;
    }

    /// How often something below a path was written.
    pub(super) fn written(&self, below: &str) -> usize {
        self.0.lock().unwrap().written.iter().filter(|(_, path)| path.contains(below)).count()
    }

    /// Objects below a path.
    pub(super) fn all(&self, below: &str) -> Vec<Value> {
        let state = self.0.lock().unwrap();
        state.objects.iter().filter(|(path, _)| path.contains(below)).map(|(_, object)| object.clone()).collect()
    }

    pub(super) fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }

    fn answer(&self, method: &Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let mut state = self.0.lock().unwrap();
        state.asked += 1;
        if state.is_down {
            return refusal(500);
        }
        if state.forbidden.iter().any(|plural| path.split('/').any(|part| part == plural)) {
            return refusal(403);
        }
        let path = match method {
            &Method::POST => format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or_default()),
            _ => path.strip_suffix("/status").unwrap_or(path).to_owned(),
        };
        let known = state.objects.get(&path).cloned();
        let mut next = match (method, known) {
            (&Method::GET, known) => return known.map_or_else(|| refusal(404), |known| (StatusCode::OK, known)),
            (&Method::POST, None) => body.clone(),
            (&Method::POST, Some(_)) => return refusal(409),
            (_, None) => return refusal(404),
            (&Method::PUT, Some(known)) => {
                match known["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"] {
                    true => body.clone(),
                    false => return refusal(409),
                }
            }
            (_, Some(known)) => {
                let mut next = known.clone();
                merge(&mut next, body);
                if next == known {
                    return (StatusCode::OK, known);
                }
                next
            }
        };
        state.version += 1;
        next["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.written.push((method.clone(), path.clone()));
        state.objects.insert(path, next.clone());
        (StatusCode::OK, next)
    }
}

fn refusal(code: u16) -> (StatusCode, Value) {
    // The client goes by this word, too.
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no", "reason": reason,
    });
    (StatusCode::from_u16(code).unwrap(), status)
}

/// RFC 7396.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let Value::Object(into) = into else { return };
    for (key, value) in patch {
        match value {
            Value::Null => drop(into.remove(key)),
            value => merge(into.entry(key).or_insert(Value::Null), value),
        }
    }
}
