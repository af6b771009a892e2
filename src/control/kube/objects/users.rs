//! Pure. Secrets of type `sluice.dev/htpasswd`: names and passwords as `htpasswd` writes them. Nothing else of a Secret
//! is read or kept.
//!
//! A type of their own, so that one watch shows these and no other password of the cluster; types are free text.

use k8s_openapi::ByteString;
use serde::Deserialize;

use crate::model::htpasswd::Users;
use crate::model::secret::Secret;

use super::{Kind, Meta, Object, Seen, nullable};

/// The type of Secrets that hold them.
pub const HTPASSWD: &str = "sluice.dev/htpasswd";

/// Who may use something, by name and password.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(from = "Wire")]
pub struct UserSecret {
    metadata: Meta,
    /// The lines, or what is wrong with them. Judged once, as a list may be long; what is wrong quotes no hash.
    pub users: Result<Secret, String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    metadata: Meta,
    #[serde(deserialize_with = "nullable")]
    data: Data<ByteString>,
    // Manifests may hold plain text; the API server never gives it back so.
    #[serde(deserialize_with = "nullable")]
    string_data: Data<String>,
}

/// Under the key that ingress-nginx has for them, or that of Traefik.
#[derive(Deserialize)]
#[serde(default)]
struct Data<T> {
    auth: Option<T>,
    users: Option<T>,
}

impl<T> Default for Data<T> {
    fn default() -> Self {
        Self { auth: None, users: None }
    }
}

impl From<Wire> for UserSecret {
    fn from(Wire { metadata, data, string_data }: Wire) -> Self {
        let one = |plain: Option<String>, encoded: Option<ByteString>| {
            plain.map(String::into_bytes).or_else(|| encoded.map(|bytes| bytes.0))
        };
        let lines = match (one(string_data.auth, data.auth), one(string_data.users, data.users)) {
            (Some(lines), None) | (None, Some(lines)) => Ok(lines),
            (None, None) => Err("has no data.auth; put the lines name:hash there, made with htpasswd -nB NAME"),
            (Some(_), Some(_)) => Err("has both data.auth and data.users; keep one"),
        };
        let users = lines.map_err(str::to_owned).and_then(|lines| match Users::parse(&lines) {
            Ok(_) => Ok(Secret::new(lines)),
            Err(wrong) => Err(wrong),
        });
        Self { metadata, users }
    }
}

impl Kind for UserSecret {
    const KIND: &'static str = "Secret";
    const FEED: &'static str = "Secret of users";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "secrets";
    const NAMESPACED: bool = true;
    const FIELDS: Option<&'static str> = Some("type=sluice.dev/htpasswd");
    const SECRET: bool = true;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn object(seen: Seen<Self>) -> Object {
        Object::Users(seen)
    }

    fn kept(&self) -> serde_json::Result<serde_json::Value> {
        // Lines that were wrong are not there any more; without them it is as wrong.
        let lines = self.users.as_ref().ok().map(|lines| ByteString(lines.expose().to_vec()));
        Ok(serde_json::json!({"metadata": self.metadata, "data": {"auth": lines}}))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LINE: &str = "ann:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    fn users(content: serde_json::Value) -> Result<Secret, String> {
        let mut secret = json!({"metadata": {"name": "users"}});
        secret.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
        serde_json::from_value::<UserSecret>(secret).unwrap().users
    }

    #[test]
    fn the_lines_are_under_either_key_and_right() {
        use base64::Engine;
        let encoded = base64::engine::general_purpose::STANDARD.encode(LINE);
        for content in [
            json!({"data": {"auth": encoded}}),
            json!({"data": {"users": encoded, "other": "eA=="}}),
            json!({"stringData": {"auth": LINE}, "data": null}),
        ] {
            assert_eq!(users(content.clone()).unwrap().expose(), LINE.as_bytes(), "{content}");
        }
        for (content, said) in [
            (json!({}), "has no data.auth"),
            (json!({"stringData": {"auth": LINE, "users": LINE}}), "has both"),
            (json!({"stringData": {"auth": ""}}), "has no user"),
            (json!({"stringData": {"auth": "ann:hushhush"}}), "line 1: the password of \"ann\" is not a hash"),
        ] {
            let wrong = users(content).unwrap_err();
            assert!(wrong.contains(said) && !wrong.contains("hush"), "{wrong}");
        }
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let secret: UserSecret =
            serde_json::from_value(json!({"metadata": {"name": "x"}, "stringData": {"auth": LINE}})).unwrap();
        assert!(!format!("{secret:?}").contains("CCCC"));
    }
}
