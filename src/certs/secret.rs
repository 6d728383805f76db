//! What the Secret holds: the one truth about the certificates of the webhook.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

/// The Secret's keys, PEM each; empty where a key is absent. Nothing in it is believed before it was verified.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct State {
    pub leaf: Vec<u8>,
    pub leaf_key: Vec<u8>,
    pub ca: Vec<u8>,
    pub ca_key: Vec<u8>,
    /// Authorities that may have signed a leaf that still serves.
    pub ca_previous: Vec<u8>,
}

impl State {
    pub fn read(secret: &Secret) -> Self {
        let value = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.clone());
        Self {
            leaf: value("tls.crt").unwrap_or_default(),
            leaf_key: value("tls.key").unwrap_or_default(),
            ca: value("ca.crt").unwrap_or_default(),
            ca_key: value("ca.key").unwrap_or_default(),
            ca_previous: value("ca-previous.crt").unwrap_or_default(),
        }
    }

    pub fn data(&self) -> BTreeMap<String, ByteString> {
        let keys = [
            ("tls.crt", &self.leaf),
            ("tls.key", &self.leaf_key),
            ("ca.crt", &self.ca),
            ("ca.key", &self.ca_key),
            ("ca-previous.crt", &self.ca_previous),
        ];
        let stated = keys.into_iter().filter(|(_, value)| !value.is_empty());
        stated.map(|(key, value)| (key.to_owned(), ByteString(value.clone()))).collect()
    }
}

impl fmt::Debug for State {
    /// Keys never reach a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = |pem: &Vec<u8>| String::from_utf8_lossy(pem).into_owned();
        formatter
            .debug_struct("State")
            .field("leaf", &public(&self.leaf))
            .field("ca", &public(&self.ca))
            .field("ca_previous", &public(&self.ca_previous))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_no_key_is_shown() {
        let state = State {
            leaf: b"leaf".to_vec(),
            leaf_key: b"hidden".to_vec(),
            ca: b"authority".to_vec(),
            ca_key: b"hidden too".to_vec(),
            ca_previous: Vec::new(),
        };
        let secret = Secret { data: Some(state.data()), ..Secret::default() };
        assert_eq!(State::read(&secret), state);
        assert!(!state.data().contains_key("ca-previous.crt"));
        assert!(!format!("{state:?}").contains("hidden"));
        assert_eq!(State::read(&Secret::default()), State::default());
    }
}
