//! Whom the system trusts to vouch for servers.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// Where systems keep them, all in one file.
const PLACES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/opt/homebrew/etc/openssl@3/cert.pem",
];

/// The certificates of the authorities that this system trusts (PEM): those of the file that `SSL_CERT_FILE` names, as
/// OpenSSL takes it, else those of where distributions keep them. Blocks.
///
/// # Errors
/// If there are none, with a text that says where they were looked for.
pub fn system_authorities() -> io::Result<Vec<u8>> {
    if let Some(named) = std::env::var_os("SSL_CERT_FILE").filter(|named| !named.is_empty()) {
        return of(&named);
    }
    let found = PLACES.iter().find_map(|place| std::fs::read(place).ok());
    found.ok_or_else(|| {
        let places = PLACES.join(", ");
        io::Error::other(format!(
            "this system keeps no certificates in {places}: say whom to trust"
        ))
    })
}

/// Of the file that the user named: if it cannot be read, no other is trusted instead.
fn of(named: &OsStr) -> io::Result<Vec<u8>> {
    std::fs::read(named).map_err(|error| {
        let named = Path::new(named).display();
        io::Error::other(format!("SSL_CERT_FILE {named} cannot be read: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_authorities_that_cannot_be_read_is_named() {
        let error = of(OsStr::new("/nowhere/ca.pem")).unwrap_err();
        let named = "SSL_CERT_FILE /nowhere/ca.pem cannot be read";
        assert!(error.to_string().starts_with(named), "{error}");
    }
}
