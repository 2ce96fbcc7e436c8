//! What is handed out and comes back: leases, transactions, cursors, pages, tickets. Each says by itself
//! what it is for, and is signed, so that any node of the cluster can serve it and nobody can make one up.
//!
//! ```text
//! le_ base64url( key id: 2 bytes | payload | the first 16 bytes of HMAC-SHA256(key, prefix key-id payload) )
//! ```
//! The prefix is under the signature: a cursor is no lease. A payload is not secret.

mod secret;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

pub use secret::{Error as SecretError, Secret};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message on loan.
    Lease,
    /// A transaction that is open or was resolved.
    Transaction,
    /// One question what became of a transaction.
    Check,
    /// Where the answer to a message goes.
    Reply,
    /// A position in a topic.
    Cursor,
    /// Where a list goes on.
    Page,
    /// The right to open one stream.
    Ticket,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Lease => "le_",
            Kind::Transaction => "tx_",
            Kind::Check => "ck_",
            Kind::Reply => "rt_",
            Kind::Cursor => "c1.",
            Kind::Page => "pt_",
            Kind::Ticket => "st_",
        }
    }
}

const KEY_ID: usize = 2;
const MAC: usize = 16;
/// The longest token that is looked at. A cursor has an offset for each queue, and topics may have a
/// thousand.
const LONGEST: usize = 12 << 10;

/// Signs tokens, and reads what was signed here or by another node with the same secret.
pub(crate) struct Tokens {
    /// The first signs; all are believed.
    keys: Vec<Key>,
}

struct Key {
    id: [u8; KEY_ID],
    /// The states behind the padded keys, so that they are hashed once and not for each token.
    begun: hmac::Key,
}

impl Tokens {
    pub(crate) fn new(secret: &Secret) -> Tokens {
        let key = |key: &[u8; secret::LENGTH]| {
            let digest = hmac_sha256::Hash::hash(key);
            Key {
                id: [digest[0], digest[1]],
                begun: hmac::Key::new(hmac::HMAC_SHA256, key),
            }
        };
        Tokens {
            keys: secret.keys().map(key).collect(),
        }
    }

    /// Appends a token. It has no character that URLs, JSON or headers would escape.
    pub(crate) fn push(&self, kind: Kind, payload: &[u8], out: &mut String) {
        out.push_str(kind.prefix());
        let Some(key) = self.keys.first() else {
            return;
        };
        let mut bytes = Vec::with_capacity(KEY_ID + payload.len() + MAC);
        bytes.extend_from_slice(&key.id);
        bytes.extend_from_slice(payload);
        let mac = key.mac(kind, &bytes);
        bytes.extend_from_slice(&mac.as_ref()[..MAC]);
        URL_SAFE_NO_PAD.encode_string(&bytes, out);
    }

    /// The same as a text of its own.
    pub(crate) fn sign(&self, kind: Kind, payload: &[u8]) -> String {
        let mut out = String::with_capacity(32 + payload.len() * 4 / 3);
        self.push(kind, payload, &mut out);
        out
    }

    /// The payload, if this is a token of this kind that one of the keys signed.
    pub(crate) fn read(&self, kind: Kind, text: &str) -> Option<Vec<u8>> {
        let text = text.strip_prefix(kind.prefix())?;
        if text.len() > LONGEST {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let signed = bytes.len().checked_sub(MAC)?;
        let (content, mac) = bytes.split_at(signed);
        let id = content.get(..KEY_ID)?;
        let mut candidates = self.keys.iter().filter(|key| key.id == id);
        let genuine = candidates.any(|key| same(&key.mac(kind, content).as_ref()[..MAC], mac));
        if !genuine {
            return None;
        }
        bytes.truncate(signed);
        bytes.drain(..KEY_ID);
        Some(bytes)
    }
}

impl Key {
    fn mac(&self, kind: Kind, content: &[u8]) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&self.begun);
        mac.update(kind.prefix().as_bytes());
        mac.update(content);
        mac.sign()
    }
}

/// Compares in a time that does not tell where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(keys: &str) -> Tokens {
        Tokens::new(&Secret::parse(keys).unwrap())
    }

    fn key(byte: u8) -> String {
        format!("{byte:02x}").repeat(32) + "\n"
    }

    #[test]
    fn a_token_comes_back_as_it_was_signed_and_only_so() {
        let tokens = tokens(&key(1));
        let text = tokens.sign(Kind::Lease, b"orders 17");
        assert!(text.starts_with("le_"));
        assert_eq!(tokens.read(Kind::Lease, &text).unwrap(), b"orders 17");
        // Another kind, another text, a letter more or less or changed: no token.
        assert_eq!(tokens.read(Kind::Page, &text), None);
        assert_eq!(tokens.read(Kind::Page, &text.replace("le_", "pt_")), None);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(tokens.read(Kind::Lease, &changed), None, "{changed}");
        }
        for text in [
            "",
            "le_",
            "le_AAAA",
            &text[..text.len() - 1],
            &format!("{text}A"),
        ] {
            assert_eq!(tokens.read(Kind::Lease, text), None, "{text}");
        }
    }

    #[test]
    fn the_last_letter_has_no_second_spelling() {
        // Base64's last letter may have bits that decode to nothing.
        let tokens = tokens(&key(1));
        for length in 0..3 {
            let text = tokens.sign(Kind::Cursor, &[7; 3][..length]);
            let (start, last) = text.split_at(text.len() - 1);
            let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let others = letters.chars().filter(|letter| !last.contains(*letter));
            let read = |letter| tokens.read(Kind::Cursor, &format!("{start}{letter}"));
            assert_eq!(others.filter_map(read).count(), 0);
        }
    }

    #[test]
    fn keys_are_rotated_without_a_gap() {
        let (old, new) = (key(1), key(2));
        let by_old = tokens(&old).sign(Kind::Lease, b"x");
        let by_new = tokens(&new).sign(Kind::Lease, b"x");
        // First every node learns the new key, then every node signs with it, then the old one goes.
        let learns = tokens(&format!("{old}{new}"));
        let signs = tokens(&format!("{new}{old}"));
        for node in [&learns, &signs] {
            assert!(node.read(Kind::Lease, &by_old).is_some());
            assert!(node.read(Kind::Lease, &by_new).is_some());
        }
        assert_eq!(signs.sign(Kind::Lease, b"x"), by_new);
        assert_eq!(tokens(&new).read(Kind::Lease, &by_old), None);
    }

    #[test]
    fn signatures_are_the_standards() {
        let tokens = tokens(&key(1));
        let text = tokens.sign(Kind::Lease, b"orders 17");
        let bytes = URL_SAFE_NO_PAD.decode(&text[3..]).unwrap();
        let (content, mac) = bytes.split_at(bytes.len() - MAC);
        let signed = [b"le_", content].concat();
        assert_eq!(mac, &hmac_sha256::HMAC::mac(signed, [1; 32])[..MAC]);
    }
}
