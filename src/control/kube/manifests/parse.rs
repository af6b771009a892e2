//! Pure. Text to objects: YAML of one or several documents, JSON, and lists of either.
//!
//! Kinds we do not read are passed over, so a whole `kubectl get all -o yaml` or a repository of manifests will do.

use serde_json::Value;

use crate::control::kube::objects::endpoints::EndpointSlice;
use crate::control::kube::objects::ingress::{Ingress, IngressClass};
use crate::control::kube::objects::node::Node;
use crate::control::kube::objects::opaque::{OPAQUE, OpaqueSecret};
use crate::control::kube::objects::secret::{TLS, TlsSecret};
use crate::control::kube::objects::service::Service;
use crate::control::kube::objects::users::{HTPASSWD, UserSecret};
use crate::control::kube::objects::{Kind, Object, Seen};
use crate::control::kube::store::Fault;

/// Lists within lists that are followed.
const DEPTH: usize = 4;

/// The objects of a text. `name` is the file's, for errors.
///
/// # Errors
/// The text is not YAML or JSON: with the line.
pub fn parse(name: &str, text: &str) -> Result<Vec<Object>, Fault> {
    let is_json = name.ends_with(".json") || text.trim_start().starts_with('{');
    let documents = if is_json { json(name, text)? } else { yaml(name, text)? };
    let mut objects = Vec::new();
    for document in documents {
        collect(document, None, DEPTH, &mut objects);
    }
    match objects.iter().find(|object| object.name().name.is_empty()) {
        Some(nameless) => {
            let reason = format!("holds an object of kind {} without metadata.name; give it one", nameless.kind());
            Err(Fault { place: name.to_owned(), reason })
        }
        None => Ok(objects),
    }
}

/// Whether a text has no document at all: nothing but space, comments and lines between documents.
pub(super) fn is_blank(text: &str) -> bool {
    let is_blank = |line: &str| line.is_empty() || line.starts_with('#') || line == "---" || line == "...";
    text.trim_start_matches('\u{feff}').lines().all(|line| is_blank(line.trim()))
}

fn json(name: &str, text: &str) -> Result<Vec<Value>, Fault> {
    let documents: Result<_, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
    documents.map_err(|error| Fault {
        place: format!("{name}:{}", error.line()),
        reason: format!("is not valid JSON: {error}"),
    })
}

fn yaml(name: &str, text: &str) -> Result<Vec<Value>, Fault> {
    // Room for the dump of a large cluster; the bounds that stop alias bombs stay as they are.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 50_000_000,
            max_nodes: 20_000_000,
            max_documents: 200_000,
            max_total_scalar_bytes: 512 << 20,
        },
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        // Files that were put one behind the other; the library's advice is for programmers.
        let reason = match error.without_snippet() {
            serde_saphyr::Error::DuplicateMappingKey { key, .. } => {
                let key = key.as_deref().unwrap_or("a key").escape_debug();
                format!("{key} is written twice in one object; keep one, or put a line --- between two objects")
            }
            _ => format!("is not valid YAML: {error}"),
        };
        Fault { place: format!("{name}:{line}"), reason }
    })
}

/// Adds what a document holds; `assumed` is the kind of a typed list, whose items name none.
fn collect(document: Value, assumed: Option<&str>, depth: usize, objects: &mut Vec<Object>) {
    let Value::Object(mut map) = document else { return };
    let kind = map.get("kind").and_then(Value::as_str).or(assumed).unwrap_or_default().to_owned();
    if let Some(of) = kind.strip_suffix("List")
        && let Some(Value::Array(items)) = map.remove("items")
    {
        if depth > 0 {
            let assumed = (!of.is_empty()).then_some(of);
            items.into_iter().for_each(|item| collect(item, assumed, depth - 1, objects));
        }
        return;
    }
    let version = map.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    // Of another version the shape is another; its name as a group fits no kind. An item of a typed list has none.
    let group = version.strip_suffix("v1").map_or(version, |group| group.trim_end_matches('/')).to_owned();
    let group = (!(version.is_empty() && assumed.is_some())).then_some(group);
    objects.extend(object(&kind, group.as_deref(), Value::Object(map)));
}

fn object(kind: &str, group: Option<&str>, mut value: Value) -> Option<Object> {
    let is_of = |wanted: &str| group.is_none_or(|group| group == wanted);
    match kind {
        Service::KIND if is_of(Service::GROUP) => Some(read::<Service>(&mut value)),
        EndpointSlice::KIND if is_of(EndpointSlice::GROUP) => Some(read::<EndpointSlice>(&mut value)),
        Node::KIND if is_of(Node::GROUP) => Some(read::<Node>(&mut value)),
        Ingress::KIND if is_of(Ingress::GROUP) => Some(read::<Ingress>(&mut value)),
        IngressClass::KIND if is_of(IngressClass::GROUP) => Some(read::<IngressClass>(&mut value)),
        TlsSecret::KIND if is_of(TlsSecret::GROUP) => match value.get("type").and_then(Value::as_str) {
            Some(TLS) => Some(read::<TlsSecret>(&mut value)),
            Some(HTPASSWD) => Some(read::<UserSecret>(&mut value)),
            // As the API server fills it in.
            Some(OPAQUE | "") | None => Some(read::<OpaqueSecret>(&mut value)),
            Some(_) => None,
        },
        _ => None,
    }
}

fn read<K: Kind>(value: &mut Value) -> Object {
    // As kubectl does with objects that name no namespace.
    if K::NAMESPACED
        && let Some(Value::Object(meta)) = value.get_mut("metadata")
    {
        let namespace = meta.entry("namespace").or_insert(Value::Null);
        if namespace.as_str().is_none_or(str::is_empty) {
            *namespace = "default".into();
        }
    }
    K::object(Seen::read(value).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str, text: &str) -> Vec<String> {
        parse(name, text).unwrap().iter().map(|object| format!("{} {}", object.kind(), object.name())).collect()
    }

    #[test]
    fn documents_lists_and_typed_lists() {
        let text = "---\nkind: Node\napiVersion: v1\nmetadata: {name: pi-1, namespace: odd}\n---\n# nothing\n---\n\
            apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: web}}\n\
            - apiVersion: networking.k8s.io/v1\n  kind: IngressList\n  items: [{metadata: {name: i, namespace: a}}]\n";
        assert_eq!(names("a.yaml", text), ["Node pi-1", "Service default/web", "Ingress a/i"]);
    }

    #[test]
    fn json_is_read_from_files_and_by_its_looks() {
        let text = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": null}}"#;
        assert_eq!(names("a.json", text), ["Service default/web"]);
        assert_eq!(names("-", text), ["Service default/web"]);
    }

    #[test]
    fn foreign_kinds_groups_and_secrets_are_passed_over() {
        let text = "{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: x}}\n---\n\
            {apiVersion: extensions/v1beta1, kind: Ingress, metadata: {name: x}}\n---\n\
            {apiVersion: v1, kind: Secret, type: example.test/other, metadata: {name: x}}\n---\n\
            {apiVersion: apps/v1, kind: Deployment, metadata: {name: x}}\n---\nplain text\n";
        assert!(names("a.yaml", &format!("# flow\n{text}")).is_empty());
    }

    #[test]
    fn faults_have_a_line() {
        let fault = parse("a.yaml", "kind: Service\nmetadata:\n  name: [\n").unwrap_err();
        assert!(fault.place.starts_with("a.yaml:") && !fault.place.ends_with(":0"), "{fault}");
        assert_eq!(parse("a.json", "{\n\n!").unwrap_err().place, "a.json:3");
        assert!(parse("a.yaml", "kind: Service\napiVersion: v1\n").unwrap_err().reason.contains("metadata.name"));
    }
}
