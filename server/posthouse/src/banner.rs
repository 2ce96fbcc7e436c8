//! The lines a started server prints: what runs where, how safe it is, and one thing to try.

use crate::config::{BrokerRole, Config, Role};
use crate::node::Broker;
use crate::server::Server;

/// The banner.
pub fn text(server: &Server) -> String {
    let config = server.config();
    let mut lines = vec![format!(
        "Posthouse {} {}, process {}",
        env!("CARGO_PKG_VERSION"),
        config.role.as_str(),
        std::process::id()
    )];
    let mut row = |what: &str, text: String| lines.push(format!("  {what:<12} {text}"));
    if let Some(address) = server.namesrv_address() {
        row("name server", address.to_string());
    }
    if let Some(broker) = server.broker() {
        of_broker(config, broker, &mut row);
    }
    if let Some(address) = server.http().address() {
        let whose = match config.role {
            Role::Gateway => format!(
                "  in front of {}; whoever reaches it has the rights that the cluster gives {}",
                config.broker.namesrvs.join(";"),
                match &config.http.user {
                    Some(user) => format!("its user {}", user.name),
                    None => "everybody".to_owned(),
                }
            ),
            _ => String::new(),
        };
        row("HTTP", format!("http://{address}{whose}"));
        if config.http.dev {
            row(
                "dev",
                "over HTTP, a topic or group that is not there is made by its first use; for this machine alone"
                    .to_owned(),
            );
        }
        if config.role == Role::Gateway && config.http.token_secret_file.is_none() {
            row("tokens", "leases, cursors and transactions end with this process; --token-secret-file keeps them".to_owned());
        }
    }
    if let Some(address) = server.http().management_address() {
        row("metrics", format!("http://{address}/metrics"));
    }
    let data = std::path::absolute(&config.data).unwrap_or_else(|_| config.data.clone());
    if config.role != Role::Gateway {
        row("data", data.display().to_string());
    }
    if config.insecure && !listens_on_loopback(server) {
        row("WARNING", "no authentication: whoever reaches these addresses can read, write and delete every message".to_owned());
    }
    if server.is_unheard() {
        row(
            "WARNING",
            format!(
                "no name server of {} has answered yet; clients find this broker when one does",
                config.broker.namesrvs.join(";")
            ),
        );
    }
    row("to try", to_try(server));
    lines.join("\n")
}

fn of_broker(config: &Config, broker: &Broker, row: &mut impl FnMut(&str, String)) {
    let (address, advertised) = (broker.address(), broker.advertised());
    let told = match address == advertised {
        true => String::new(),
        false => format!(", clients are told {advertised}"),
    };
    let Config {
        broker: settings, ..
    } = config;
    row(
        "broker",
        format!("{address}  {} of {}{told}", settings.name, settings.cluster),
    );
    let durability = match settings.sync_flush {
        true => "SYNC_FLUSH: a send is answered when the disk has it",
        false => {
            "ASYNC_FLUSH: a send is answered when the system has it; a power cut may lose the last 200 ms"
        }
    };
    row("durability", durability.to_owned());
    if settings.role == BrokerRole::SyncMaster {
        row(
            "WARNING",
            "SYNC_MASTER without a slave: each send is stored, and answered SLAVE_NOT_AVAILABLE"
                .to_owned(),
        );
    }
    let recovery = broker.recovery();
    if recovery.cut > 0 {
        row(
            "recovered",
            format!(
                "{} bytes that were never answered were cut off the log's end",
                recovery.cut
            ),
        );
    }
    if !recovery.quarantined.is_empty() {
        row(
            "WARNING",
            format!(
                "{} damaged places in the log; their messages are kept aside, see the log",
                recovery.quarantined.len()
            ),
        );
    }
}

fn listens_on_loopback(server: &Server) -> bool {
    let broker = server.broker().map(Broker::address);
    let http = [server.http().address(), server.http().management_address()];
    let all = [server.namesrv_address(), broker].into_iter().chain(http);
    let mut all = all.flatten();
    all.all(|address| address.ip().is_loopback())
}

/// One line that does something with what runs: with curl, else from the folder of a RocketMQ release.
fn to_try(server: &Server) -> String {
    if let Some(address) = server.http().address() {
        let base = match address.ip().is_unspecified() {
            true => format!("http://127.0.0.1:{}", address.port()),
            false => format!("http://{address}"),
        };
        let topic = format!("{base}/v1/topics/hello");
        let publish = format!("curl --json '{{\"body\":\"hi\"}}' {topic}/messages");
        return match server.config().http.dev {
            true => publish,
            false => format!("curl -X PUT {topic} && {publish}"),
        };
    }
    let own = server
        .namesrv_address()
        .map(|address| match address.ip().is_unspecified() {
            true => format!("127.0.0.1:{}", address.port()),
            false => address.to_string(),
        });
    match (own, server.broker()) {
        (Some(namesrv), Some(_)) => format!(
            "NAMESRV_ADDR={namesrv} sh bin/tools.sh org.apache.rocketmq.example.quickstart.Producer"
        ),
        (Some(namesrv), None) => format!("sh bin/mqadmin clusterList -n {namesrv}"),
        (None, _) => format!(
            "sh bin/mqadmin clusterList -n '{}'",
            server.config().broker.namesrvs.join(";")
        ),
    }
}
