//! What the clients talk to: Posthouse as built, or Apache's own servers.
//!
//! `CONFORMANCE_TARGET=apache` puts Apache in Posthouse's place. A scenario that fails there is wrong itself; one that
//! passes there and fails against Posthouse has found a difference.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::process::Process;
use crate::toolchain::{self, Release};
use crate::{target, workshop};

/// Whether Apache's servers stand in for Posthouse in this run.
pub fn apache_stands_in() -> bool {
    std::env::var("CONFORMANCE_TARGET").is_ok_and(|target| target == "apache")
}

/// A running name server, broker, or both.
pub struct Server {
    /// Where clients find the name server.
    pub namesrv: String,
    /// Where the broker listens, if there is one.
    pub broker: Option<String>,
    /// Where HTTP is served (`http://127.0.0.1:8090`): by a standalone Posthouse alone.
    pub http: Option<String>,
    process: Process,
}

/// The server under test: name server and broker.
pub fn standalone() -> Server {
    standalone_with("")
}

/// The same with further lines of a configuration file, which both read.
pub fn standalone_with(settings: &str) -> Server {
    if apache_stands_in() {
        let extra = Extra {
            broker: settings,
            namesrv: settings,
            ..Extra::default()
        };
        apache_with(Release::V5, Apache::Both, &extra)
    } else {
        start_posthouse(Posthouse::Standalone, settings)
    }
}

/// Which Posthouse to start.
pub enum Posthouse<'a> {
    /// Name server and broker.
    Standalone,
    /// A name server alone.
    NameServer,
    /// A broker of this name that registers at this name server.
    Broker(&'a str, &'a str),
}

/// Settings under which a scenario about waiting is short.
const QUICK: &str = "transactionCheckInterval=3000\ntransactionCheckMax=3\n";

/// Starts Posthouse with ports of its own choice, and reads from its banner which.
pub fn posthouse(part: Posthouse<'_>) -> Server {
    start_posthouse(part, "")
}

fn start_posthouse(part: Posthouse<'_>, settings: &str) -> Server {
    let data = scratch("posthouse");
    let store = data.join("data").display().to_string();
    let mut arguments: Vec<String> = match &part {
        Posthouse::Standalone => vec![
            "standalone".into(),
            "--namesrv-addr".into(),
            "127.0.0.1:0".into(),
        ],
        Posthouse::NameServer => vec![
            "namesrv".into(),
            "--namesrv-addr".into(),
            "127.0.0.1:0".into(),
        ],
        Posthouse::Broker(_, namesrv) => vec!["broker".into(), "-n".into(), (*namesrv).into()],
    };
    if !matches!(part, Posthouse::NameServer) {
        arguments.extend(["--broker-addr".into(), "127.0.0.1:0".into()]);
    }
    arguments.extend(["--data".into(), store]);
    let http = match part {
        Posthouse::Standalone => "127.0.0.1:0",
        _ => "off",
    };
    arguments.extend(["--http-addr".into(), http.into()]);
    arguments.extend(["--metrics-addr".into(), "off".into()]);
    if !matches!(part, Posthouse::NameServer) {
        let config = data.join("broker.conf");
        let name = match &part {
            Posthouse::Broker(name, _) => name,
            _ => "broker-a",
        };
        std::fs::write(&config, format!("brokerName={name}\n{QUICK}{settings}")).unwrap();
        arguments.extend(["-c".into(), config.display().to_string()]);
    }
    let process = Process::hold(&binary(), &arguments, Some(&data));
    let read = |label: &str| {
        process
            .line(Duration::from_secs(60), |line| {
                labelled_address(line, label)
            })
            .unwrap_or_else(|why| {
                panic!("posthouse {arguments:?} printed no address of the {label}: {why}")
            })
    };
    let namesrv = match &part {
        Posthouse::Broker(_, namesrv) => (*namesrv).to_owned(),
        _ => read("name server"),
    };
    let broker = (!matches!(part, Posthouse::NameServer)).then(|| read("broker"));
    let http = matches!(part, Posthouse::Standalone).then(|| {
        let base = |line: &str| Some(line.trim_start().strip_prefix("HTTP ")?.trim().to_owned());
        process.line(Duration::from_secs(60), base).unwrap()
    });
    Server {
        namesrv,
        broker,
        http,
        process,
    }
}

/// The address in a banner line such as `  name server  127.0.0.1:9876`.
fn labelled_address(line: &str, label: &str) -> Option<String> {
    let line = line.to_ascii_lowercase();
    let after = line.trim_start().strip_prefix(label)?;
    let address = after.split(|c: char| c.is_whitespace() || ",;()".contains(c));
    address
        .filter(|word| word.parse::<std::net::SocketAddr>().is_ok())
        .map(str::to_owned)
        .next()
}

/// The binary: `POSTHOUSE_BIN`, else this profile's, brought up to date.
pub fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY
        .get_or_init(|| {
            if let Some(given) = std::env::var_os("POSTHOUSE_BIN") {
                return given.into();
            }
            let profile = if cfg!(debug_assertions) {
                "dev"
            } else {
                "release"
            };
            let mut cargo =
                Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args([
                "build",
                "--quiet",
                "--package",
                "posthouse",
                "--bin",
                "posthouse",
                "--profile",
                profile,
            ]);
            assert!(
                cargo.current_dir(crate::home()).status().unwrap().success(),
                "posthouse did not build"
            );
            target().join(if cfg!(debug_assertions) {
                "debug/posthouse"
            } else {
                "release/posthouse"
            })
        })
        .clone()
}

/// Which of Apache's servers to start, together in one JVM.
pub enum Apache<'a> {
    /// Name server and broker.
    Both,
    /// A name server alone.
    NameServer,
    /// A broker of this name that registers at this name server.
    Broker(&'a str, &'a str),
}

/// Starts Apache's 5.3.3 servers on free ports.
pub fn apache(part: Apache<'_>) -> Server {
    apache_of(Release::V5, part)
}

/// Starts Apache's servers of a release on free ports.
pub fn apache_of(release: Release, part: Apache<'_>) -> Server {
    apache_with(release, part, &Extra::default())
}

/// Lines of a broker's configuration with which Apache 5 asks of every request who makes it, and whether that user may.
/// There is one user, who may do everything: rocketmq, 12345678.
pub const AUTH: &str = "\
authenticationEnabled=true
authorizationEnabled=true
authenticationProvider=org.apache.rocketmq.auth.authentication.provider.DefaultAuthenticationProvider
authenticationMetadataProvider=org.apache.rocketmq.auth.authentication.provider.LocalAuthenticationMetadataProvider
authorizationProvider=org.apache.rocketmq.auth.authorization.provider.DefaultAuthorizationProvider
authorizationMetadataProvider=org.apache.rocketmq.auth.authorization.provider.LocalAuthorizationMetadataProvider
initAuthenticationUser={\"username\":\"rocketmq\",\"password\":\"12345678\"}
innerClientAuthenticationCredentials={\"accessKey\":\"rocketmq\",\"secretKey\":\"12345678\"}
";

/// What Apache's servers are started with beside the usual.
#[derive(Default)]
pub struct Extra<'a> {
    /// Options of the JVM.
    pub jvm: &'a [&'a str],
    /// Lines of the broker's configuration.
    pub broker: &'a str,
    /// Lines of the name server's configuration.
    pub namesrv: &'a str,
}

/// Starts Apache's servers of a release on free ports, with something beside the usual.
pub fn apache_with(release: Release, part: Apache<'_>, extra: &Extra<'_>) -> Server {
    let home = scratch("apache");
    // 4.9 does not start without these files.
    std::fs::create_dir(home.join("conf")).unwrap();
    for part in ["namesrv", "broker"] {
        let file = home.join(format!("conf/logback_{part}.xml"));
        std::fs::write(file, "<configuration/>").unwrap();
    }
    let mut words: Vec<String> = vec![home.display().to_string()];
    let namesrv = match &part {
        Apache::Broker(_, namesrv) => (*namesrv).to_owned(),
        _ => {
            let port = free_ports(1);
            let config = home.join("namesrv.conf");
            std::fs::write(&config, format!("listenPort={port}\n{}", extra.namesrv)).unwrap();
            words.extend(["namesrv".into(), config.display().to_string()]);
            format!("127.0.0.1:{port}")
        }
    };
    let broker = (!matches!(part, Apache::NameServer)).then(|| {
        let port = free_ports(4) + 2; // the VIP port is two below, the replication port one above
        let config = home.join("broker.conf");
        let name = match &part {
            Apache::Broker(name, _) => name,
            _ => "broker-a",
        };
        let lines = broker_config(name, &home, port, &namesrv) + extra.broker;
        std::fs::write(&config, lines).unwrap();
        words.extend(["broker".into(), config.display().to_string()]);
        format!("127.0.0.1:{port}")
    });
    let mut arguments: Vec<String> = [
        "-Xmx512m",
        "-XX:MaxDirectMemorySize=512m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
        "--add-opens=java.base/java.nio=ALL-UNNAMED",
        "-cp",
    ]
    .map(str::to_owned)
    .to_vec();
    let class_path = arguments.len() - 1;
    arguments.splice(
        class_path..class_path,
        extra.jvm.iter().map(|&option| option.to_owned()),
    );
    arguments.push(toolchain::java(release));
    arguments.push("Apache".into());
    arguments.extend(words);
    let process = Process::hold(Path::new("java"), &arguments, Some(&home));
    let ready = |line: &str| (line == "ready").then_some(());
    process
        .line(Duration::from_secs(180), ready)
        .unwrap_or_else(|why| panic!("Apache did not start: {why}"));
    Server {
        namesrv,
        broker,
        http: None,
        process,
    }
}

/// A cold Apache broker on a busy machine refuses sends that wait for 200 ms; of one-way ones nobody would learn.
fn broker_config(name: &str, home: &Path, port: u16, namesrv: &str) -> String {
    let store = home.join("store");
    format!(
        "brokerClusterName=DefaultCluster\nbrokerName={name}\nbrokerIP1=127.0.0.1\nnamesrvAddr={namesrv}\n\
         listenPort={port}\nhaListenPort={}\nstorePathRootDir={}\nstorePathCommitLog={}\n\
         mappedFileSizeCommitLog=67108864\nmappedFileSizeConsumeQueue=30000\n\
         recallMessageEnable=true\nenablePropertyFilter=true\n\
         waitTimeMillsInSendQueue=30000\nosPageCacheBusyTimeOutMills=30000\n{QUICK}",
        port + 1,
        store.display(),
        store.join("commitlog").display()
    )
}

/// The first of `n` neighbouring free ports. They lie below those that systems give to connections: such a one could be
/// taken between this look and the start of whoever is told it.
pub fn free_ports(n: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let listen = |port: u16| TcpListener::bind(("127.0.0.1", port));
    let begin = std::process::id().wrapping_mul(977);
    loop {
        let taken = NEXT.fetch_add(u32::from(n), Ordering::Relaxed);
        let first = 10_000 + (begin.wrapping_add(taken) % 20_000) as u16;
        let all: Result<Vec<_>, _> = (0..n).map(|i| listen(first + i)).collect();
        if all.is_ok() {
            return first;
        }
    }
}

/// A new folder that the process which uses it removes.
fn scratch(name: &str) -> PathBuf {
    let parent = workshop().join("scratch");
    std::fs::create_dir_all(&parent).unwrap();
    static SWEPT: std::sync::Once = std::sync::Once::new();
    SWEPT.call_once(|| sweep(&parent));
    let folder = tempfile::Builder::new()
        .prefix(name)
        .tempdir_in(parent)
        .unwrap();
    folder.keep()
}

/// Removes what runs of an hour ago or more left behind.
fn sweep(parent: &Path) {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries {
        let age = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .map(|at| at.elapsed());
        if age.is_ok_and(|age| age.is_ok_and(|age| age > Duration::from_secs(3_600))) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Server {
    /// The last lines that the server printed.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// Ends the server as an operator would.
    pub fn stop(self) {
        self.process.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_a_banner() {
        let line = "  Name server   127.0.0.1:9876";
        assert_eq!(
            labelled_address(line, "name server").unwrap(),
            "127.0.0.1:9876"
        );
        assert_eq!(
            labelled_address("broker broker-a at 127.0.0.1:10911 (VIP 10909)", "broker").unwrap(),
            "127.0.0.1:10911"
        );
        assert_eq!(labelled_address("durability SYNC_FLUSH", "broker"), None);
    }
}
