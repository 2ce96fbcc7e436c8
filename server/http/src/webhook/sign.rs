//! What tells a receiver that a call is ours: Standard Webhooks' signature, HMAC-SHA256 over the call's id,
//! its time and its body.

use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::chance;

/// Before every secret.
const PREFIX: &str = "whsec_";
/// Bytes of a secret.
const LENGTH: usize = 32;

/// A new secret.
///
/// # Errors
/// If the system gives no random bytes.
pub(crate) fn secret() -> io::Result<String> {
    let key = chance::bytes::<LENGTH>()?;
    Ok(format!("{PREFIX}{}", BASE64_STANDARD.encode(key)))
}

/// The headers of a signed call.
pub(crate) struct Signed {
    pub headers: [(&'static str, String); 3],
}

impl Signed {
    /// Signs a body. `at` is in seconds since the Unix epoch.
    pub(crate) fn new(secret: &str, id: &str, at: i64, body: &[u8]) -> Signed {
        let key = secret.strip_prefix(PREFIX).unwrap_or(secret);
        let key = BASE64_STANDARD.decode(key).unwrap_or_default();
        let signed = [format!("{id}.{at}.").as_bytes(), body].concat();
        let mac = hmac_sha256::HMAC::mac(signed, key);
        Signed {
            headers: [
                ("webhook-id", id.to_owned()),
                ("webhook-timestamp", at.to_string()),
                (
                    "webhook-signature",
                    format!("v1,{}", BASE64_STANDARD.encode(mac)),
                ),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's libraries.
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = br#"{"test": 2432232314}"#;
        let signed = Signed::new(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        let [_, _, (name, signature)] = &signed.headers;
        assert_eq!(*name, "webhook-signature");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(super::secret().unwrap().len(), PREFIX.len() + 44);
    }
}
