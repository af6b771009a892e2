//! Pure. Secrets without a type of their own, in which ingress-nginx keeps names and passwords and what TLS to backends
//! needs. Heard of only where a cluster asks for its Ingresses. What is in none of these forms is not kept.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde::Deserialize;

use crate::model::htpasswd::Users;
use crate::model::secret::Secret;

use super::{Kind, Meta, Object, Seen, nullable};

/// The type that the API server gives to Secrets that name none.
pub const OPAQUE: &str = "Opaque";

/// What such a Secret may hold.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(from = "Wire")]
pub struct OpaqueSecret {
    metadata: Meta,
    /// The lines under `auth`, or what is wrong with them; what is wrong quotes no hash.
    pub users: Result<Secret, String>,
    /// Lines made of each key and its value, where all of these are hashes.
    pub map: Result<Secret, String>,
    /// A chain and its key as PEM (`tls.crt`, `tls.key`), where both are there.
    pub pair: Option<(Secret, Secret)>,
    /// Certificates of authorities as PEM (`ca.crt`).
    pub authorities: Option<Secret>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    metadata: Meta,
    #[serde(deserialize_with = "nullable")]
    data: BTreeMap<String, ByteString>,
    // Manifests may hold plain text; the API server never gives it back so.
    #[serde(deserialize_with = "nullable")]
    string_data: BTreeMap<String, String>,
}

impl From<Wire> for OpaqueSecret {
    fn from(Wire { metadata, data, string_data }: Wire) -> Self {
        let mut all: BTreeMap<String, Vec<u8>> = data.into_iter().map(|(key, value)| (key, value.0)).collect();
        all.extend(string_data.into_iter().map(|(key, value)| (key, value.into_bytes())));
        let read = |lines: &[u8]| Users::parse(lines).map(|_| Secret::new(lines));
        let missing = || "has no data.auth; put the lines name:hash there, made with htpasswd -nB NAME".to_owned();
        let mut lines = Vec::new();
        for (name, hash) in &all {
            // A line end within would begin another user.
            let hash = hash.trim_ascii().split(|b| *b == b'\n').next().unwrap_or_default();
            lines.extend([name.as_bytes(), b":", hash, b"\n"].concat());
        }
        let one = |key: &str| all.get(key).map(|value| Secret::new(&**value));
        Self {
            users: all.get("auth").ok_or_else(missing).and_then(|lines| read(lines)),
            map: read(&lines),
            pair: one("tls.crt").zip(one("tls.key")),
            authorities: one("ca.crt"),
            metadata,
        }
    }
}

impl Kind for OpaqueSecret {
    const KIND: &'static str = "Secret";
    const FEED: &'static str = "Secret of no type";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "secrets";
    const NAMESPACED: bool = true;
    const FIELDS: Option<&'static str> = Some("type=Opaque");
    const SECRET: bool = true;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn object(seen: Seen<Self>) -> Object {
        Object::Opaque(seen)
    }

    fn kept(&self) -> serde_json::Result<serde_json::Value> {
        // What was in none of the forms is not there any more; without it none of them is another.
        let mut data: BTreeMap<String, ByteString> = BTreeMap::new();
        let mut put = |key: &str, value: &[u8]| data.insert(key.to_owned(), ByteString(value.to_vec()));
        for line in self.map.iter().flat_map(|lines| lines.expose().split(|byte| *byte == b'\n')) {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            put(&String::from_utf8_lossy(&line[..colon]), &line[colon + 1..]);
        }
        if let Ok(lines) = &self.users {
            put("auth", lines.expose());
        }
        if let Some((chain, key)) = &self.pair {
            put("tls.crt", chain.expose());
            put("tls.key", key.expose());
        }
        if let Some(authorities) = &self.authorities {
            put("ca.crt", authorities.expose());
        }
        Ok(serde_json::json!({"metadata": self.metadata, "data": data}))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HASH: &str = "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/";

    fn read(data: serde_json::Value) -> OpaqueSecret {
        serde_json::from_value(json!({"metadata": {"name": "x"}, "stringData": data})).unwrap()
    }

    #[test]
    fn users_are_a_file_or_a_map() {
        let file = read(json!({"auth": format!("bob:{HASH}")}));
        assert_eq!(file.users.unwrap().expose(), format!("bob:{HASH}").as_bytes());
        assert!(file.map.is_err(), "auth is no user with a hash");
        let map = read(json!({"bob": format!("{HASH}\n"), "ann": HASH}));
        assert_eq!(map.map.unwrap().expose(), format!("ann:{HASH}\nbob:{HASH}\n").as_bytes());
        assert!(map.users.unwrap_err().contains("has no data.auth"));
        let evil = read(json!({"bob": format!("{HASH}\neve:{HASH}")})).map.unwrap();
        assert_eq!(evil.expose(), format!("bob:{HASH}\n").as_bytes());
    }

    #[test]
    fn what_is_kept_is_read_again_as_it_was() {
        for data in [
            json!({"auth": format!("bob:{HASH}")}),
            json!({"bob": HASH, "ann": HASH}),
            json!({"tls.crt": "C", "tls.key": "K", "ca.crt": "A"}),
        ] {
            let before = read(data);
            let after: OpaqueSecret = serde_json::from_value(before.kept().unwrap()).unwrap();
            assert_eq!((before.users.ok(), before.map.ok()), (after.users.ok(), after.map.ok()));
            assert_eq!((before.pair, before.authorities), (after.pair, after.authorities));
        }
    }

    #[test]
    fn what_is_of_no_use_is_not_kept_and_nothing_is_shown() {
        let other = read(json!({"password": "hush", "tls.crt": "C"}));
        assert!(other.users.is_err() && other.map.is_err() && other.pair.is_none() && other.authorities.is_none());
        assert!(!format!("{other:?}").contains("hush"));
        let tls = read(json!({"tls.crt": "hush", "tls.key": "hush", "ca.crt": "hush"}));
        assert!(tls.pair.is_some() && tls.authorities.is_some() && !format!("{tls:?}").contains("hush"));
    }
}
