//! The lines a started server prints: what runs where, how safe it is, and one thing to try.

use crate::server::Server;

/// The banner.
pub fn text(server: &Server) -> String {
    let mut lines = vec![format!(
        "Posthouse {} {}",
        env!("CARGO_PKG_VERSION"),
        server.config().role.as_str()
    )];
    if let Some(address) = server.namesrv_address() {
        lines.push(format!("  name server  {address}"));
    }
    lines.join("\n")
}
