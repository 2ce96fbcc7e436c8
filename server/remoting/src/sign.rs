//! Signed requests: `AccessKey`, and an HMAC-SHA1 of the fields and the body, as Apache's clients sign
//! (`AclClientRPCHook`) for access control 1.0 and 2.0 alike.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::command::Command;

const ACCESS_KEY: &str = "AccessKey";
const SECURITY_TOKEN: &str = "SecurityToken";
const SIGNATURE: &str = "Signature";

/// Whose requests they are. The secret is shown nowhere.
#[derive(Clone)]
pub struct Credentials {
    access_key: String,
    token: Option<String>,
    key: hmac::Key,
}

impl Credentials {
    /// A user's name and secret.
    pub fn new(access_key: impl Into<String>, secret_key: &str) -> Credentials {
        let kind = hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
        Credentials {
            access_key: access_key.into(),
            token: None,
            key: hmac::Key::new(kind, secret_key.as_bytes()),
        }
    }

    /// A token that goes with them (Java's `securityToken`).
    pub fn token(mut self, token: impl Into<String>) -> Credentials {
        self.token = Some(token.into());
        self
    }

    /// Adds whose request it is, and the signature of everything in it.
    pub fn sign(&self, mut command: Command) -> Command {
        command = command.with(ACCESS_KEY, &self.access_key);
        if let Some(token) = &self.token {
            command = command.with(SECURITY_TOKEN, token);
        }
        let mut fields: Vec<(&str, &str)> = (command.ext.iter().flatten())
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        // Java sorts by UTF-16 units, which is the order of bytes for the names there are.
        fields.sort_unstable();
        let mut content = hmac::Context::with_key(&self.key);
        for (_, value) in fields {
            content.update(value.as_bytes());
        }
        content.update(&command.body);
        let signature = STANDARD.encode(content.sign());
        command.with(SIGNATURE, signature)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "credentials of {}", self.access_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_apaches() {
        let command = Command::request(310)
            .with("topic", "T")
            .with("queueId", 0)
            .body(b"hello".to_vec());
        let signed = Credentials::new("rocketmq", "12345678").sign(command);
        assert_eq!(signed.field("AccessKey"), Some("rocketmq"));
        let signature = signed.field("Signature");
        assert_eq!(signature, Some("a4W8wTRSzqV7o/z09HM7NlAipQk="));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", Credentials::new("user", "secret-1").token("t-2"));
        assert_eq!(shown, "credentials of user");
    }
}
