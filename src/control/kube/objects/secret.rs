//! Pure. Secrets of type `kubernetes.io/tls`: a chain and its key, as PEM, and authorities. Nothing else of a Secret is read or kept.

use k8s_openapi::ByteString;
use serde::Deserialize;

use crate::model::secret::Secret;

use super::{Kind, Meta, Object, Seen, nullable};

/// The type of Secrets that we read.
pub const TLS: &str = "kubernetes.io/tls";

/// A certificate chain and its key.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(from = "Wire")]
pub struct TlsSecret {
    metadata: Meta,
    /// The chain as PEM.
    pub chain: Secret,
    /// The key as PEM.
    pub key: Secret,
    /// Certificates of authorities as PEM, where there are any (`ca.crt`).
    pub authorities: Option<Secret>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    metadata: Meta,
    #[serde(deserialize_with = "nullable")]
    data: Data,
    // Manifests may hold plain text; the API server never gives it back so.
    #[serde(deserialize_with = "nullable")]
    string_data: StringData,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    #[serde(rename = "tls.crt")]
    chain: Option<ByteString>,
    #[serde(rename = "tls.key")]
    key: Option<ByteString>,
    #[serde(rename = "ca.crt")]
    authorities: Option<ByteString>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StringData {
    #[serde(rename = "tls.crt")]
    chain: Option<String>,
    #[serde(rename = "tls.key")]
    key: Option<String>,
    #[serde(rename = "ca.crt")]
    authorities: Option<String>,
}

impl From<Wire> for TlsSecret {
    fn from(wire: Wire) -> Self {
        let given = |plain: Option<String>, encoded: Option<ByteString>| {
            plain.map(String::into_bytes).or_else(|| encoded.map(|b| b.0))
        };
        let bytes = |plain, encoded| Secret::new(given(plain, encoded).unwrap_or_default());
        Self {
            metadata: wire.metadata,
            chain: bytes(wire.string_data.chain, wire.data.chain),
            key: bytes(wire.string_data.key, wire.data.key),
            authorities: given(wire.string_data.authorities, wire.data.authorities).map(Secret::new),
        }
    }
}

impl Kind for TlsSecret {
    const KIND: &'static str = "Secret";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "secrets";
    const NAMESPACED: bool = true;
    const FIELDS: Option<&'static str> = Some("type=kubernetes.io/tls");
    const SECRET: bool = true;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn object(seen: Seen<Self>) -> Object {
        Object::Secret(seen)
    }

    fn kept(&self) -> serde_json::Result<serde_json::Value> {
        let bytes = |secret: &Secret| ByteString(secret.expose().to_vec());
        let data = serde_json::json!({"tls.crt": bytes(&self.chain), "tls.key": bytes(&self.key)});
        Ok(serde_json::json!({"metadata": self.metadata, "data": data}))
    }
}
