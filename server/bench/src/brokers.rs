//! Starting and killing the brokers that are measured: ours, and Apache's with the flags under which
//! it is fastest on a small machine.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::admin::Admin;
use crate::cell::Target;
use crate::send::Wrong;

/// Which broker.
#[derive(Clone, Debug)]
pub enum Make {
    /// Ours: the path of the binary.
    Posthouse(PathBuf),
    /// Apache's: the folder that [`fetch_apache`] filled.
    Apache(PathBuf),
    /// None: [`crate::toy`], what our transport alone would do on this machine now.
    Toy,
}

impl Make {
    /// What the tables call it.
    pub fn name(&self) -> &'static str {
        match self {
            Make::Posthouse(_) => "posthouse",
            Make::Apache(_) => "apache",
            Make::Toy => "toy",
        }
    }
}

/// A running broker; it is killed when it is dropped.
pub struct Broker {
    make: Make,
    sync: bool,
    data: PathBuf,
    port: u16,
    namesrv_port: u16,
    processes: Vec<Child>,
}

impl Broker {
    /// Starts a broker on an empty folder. It may not be ready yet.
    pub fn start(make: &Make, data: &Path, sync: bool) -> io::Result<Broker> {
        if data.exists() {
            fs::remove_dir_all(data)?;
        }
        fs::create_dir_all(data)?;
        let port = free_port()?;
        let mut broker = Broker {
            make: make.clone(),
            sync,
            data: data.to_owned(),
            port,
            namesrv_port: port + 3,
            processes: Vec::new(),
        };
        if let Make::Apache(home) = make {
            let namesrv =
                broker.spawn(apache_namesrv(home, data, broker.namesrv_port)?, "namesrv")?;
            broker.processes.push(namesrv);
            broker.wait(SocketAddr::from(([127, 0, 0, 1], broker.namesrv_port)))?;
        }
        broker.start_again()?;
        Ok(broker)
    }

    /// Starts the broker's process on what is in its folder.
    pub fn start_again(&mut self) -> io::Result<()> {
        let flush = if self.sync {
            "SYNC_FLUSH"
        } else {
            "ASYNC_FLUSH"
        };
        let config = self.data.join("broker.conf");
        let command = match &self.make {
            Make::Posthouse(binary) => {
                fs::write(&config, format!("flushDiskType={flush}\n"))?;
                let mut command = Command::new(binary);
                command
                    .arg("standalone")
                    .args([
                        "--namesrv-addr",
                        &format!("127.0.0.1:{}", self.namesrv_port),
                    ])
                    .args(["--broker-addr", &format!("127.0.0.1:{}", self.port)])
                    .args(["--http-addr", &self.http().to_string()])
                    .args(["--metrics-addr", "off"])
                    .arg("--data")
                    .arg(self.data.join("store"))
                    .arg("-c")
                    .arg(&config);
                command
            }
            Make::Apache(home) => {
                let store = self.data.join("store");
                let text = format!(
                    "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\n\
                     brokerIP1=127.0.0.1\nlistenPort={}\nstorePathRootDir={store}\n\
                     storePathCommitLog={store}/commitlog\nflushDiskType={flush}\n\
                     autoCreateTopicEnable=true\nuseEpollNativeSelector=true\n\
                     transferMsgByHeap=false\nwarmMapedFileEnable=true\n\
                     timerWheelEnable=true\nenablePropertyFilter=true\nrecallMessageEnable=true\n",
                    self.port,
                    store = store.display(),
                );
                fs::write(&config, text)?;
                let mut command = java(home, BROKER_FLAGS);
                command
                    .arg("org.apache.rocketmq.broker.BrokerStartup")
                    .args(["-n", &format!("127.0.0.1:{}", self.namesrv_port)])
                    .arg("-c")
                    .arg(&config);
                command
            }
            Make::Toy => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["toy", "--addr", &self.address().to_string()]);
                command
            }
        };
        let process = self.spawn(command, "broker")?;
        self.processes.push(process);
        Ok(())
    }

    fn spawn(&self, mut command: Command, what: &str) -> io::Result<Child> {
        let log = File::create(self.data.join(format!("{what}.log")))?;
        command
            .env("HOME", &self.data)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }

    /// Waits until something listens.
    pub fn wait(&self, address: SocketAddr) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs(60);
        while let Err(error) = std::net::TcpStream::connect(address) {
            if Instant::now() > until {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Waits until a send is accepted.
    pub fn wait_for_send(&mut self) -> Result<(), Wrong> {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let sent = Admin::connect(self.address()).and_then(|mut a| a.send_one("TBW102"));
            if sent.as_ref().is_ok_and(|&code| code == 0) {
                return Ok(());
            }
            let ended = self.processes.last_mut().map(Child::try_wait);
            let ended = matches!(ended, Some(Ok(Some(_))));
            if ended || Instant::now() > until {
                let log = fs::read_to_string(self.data.join("broker.log")).unwrap_or_default();
                let last: Vec<_> = log.lines().rev().take(5).collect();
                return Err(Wrong(format!("no send is accepted: {sent:?} {last:?}")));
            }
            thread::sleep(Duration::from_micros(500));
        }
    }

    /// Ends the broker's process at once, as a power cut of the process would.
    pub fn kill(&mut self) -> io::Result<()> {
        if let Some(mut process) = self.processes.pop() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Where our server speaks HTTP.
    fn http(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port + 4))
    }

    /// Where clients find the name server.
    pub fn namesrv(&self) -> String {
        format!("127.0.0.1:{}", self.namesrv_port)
    }

    /// Where its data and its output go.
    pub fn folder(&self) -> &Path {
        &self.data
    }

    /// The broker's process.
    pub fn pid(&self) -> Option<u32> {
        self.processes.last().map(Child::id)
    }

    /// What cells need to know.
    pub fn target(&self) -> Target {
        let is_ours = matches!(self.make, Make::Posthouse(_));
        Target {
            address: self.address(),
            pid: self.pid(),
            ordered: !matches!(self.make, Make::Apache(_)),
            http: is_ours.then(|| self.http()),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        for mut process in self.processes.drain(..).rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(self.data.join("store"));
    }
}

/// Fetches Apache's jars from Maven Central into this folder, once.
pub fn fetch_apache(folder: &Path) -> io::Result<Make> {
    let jars = folder.join("lib");
    if !jars.join("rocketmq-broker-5.3.3.jar").exists() {
        eprintln!("fetching Apache RocketMQ 5.3.3 from Maven Central …");
        let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("apache/pom.xml");
        let status = Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(pom)
            .arg("dependency:copy-dependencies")
            .arg(format!("-DoutputDirectory={}", jars.display()))
            .status()?;
        if !status.success() {
            return Err(io::Error::other(
                "mvn could not fetch Apache RocketMQ 5.3.3",
            ));
        }
    }
    let conf = folder.join("conf");
    fs::create_dir_all(&conf)?;
    for name in ["rmq.broker.logback.xml", "rmq.namesrv.logback.xml"] {
        fs::write(conf.join(name), LOGBACK)?;
    }
    Ok(Make::Apache(folder.to_owned()))
}

/// Warnings only: what it logs by default costs CPU that is not the broker's work.
const LOGBACK: &str = r#"<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %p %c - %m%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"#;

const BROKER_FLAGS: &[&str] = &[
    "-server",
    "-Xms2g",
    "-Xmx2g",
    "-XX:+UseG1GC",
    "-XX:MaxDirectMemorySize=4g",
    "-XX:-OmitStackTraceInFastThrow",
];

const NAMESRV_FLAGS: &[&str] = &["-Xms256m", "-Xmx256m"];

fn apache_namesrv(home: &Path, data: &Path, port: u16) -> io::Result<Command> {
    let config = data.join("namesrv.conf");
    fs::write(
        &config,
        format!("listenPort={port}\nbindAddress=127.0.0.1\n"),
    )?;
    let mut command = java(home, NAMESRV_FLAGS);
    command
        .arg("org.apache.rocketmq.namesrv.NamesrvStartup")
        .arg("-c")
        .arg(config);
    Ok(command)
}

/// A JVM with Apache's jars.
pub fn java(home: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new("java");
    command
        .args(flags)
        .arg("--add-exports=java.base/sun.nio.ch=ALL-UNNAMED")
        .arg("--add-opens=java.base/java.nio=ALL-UNNAMED")
        .arg("-cp")
        .arg(format!("{0}/conf:{0}/lib/*", home.display()))
        .env("ROCKETMQ_HOME", home);
    command
}

/// A port whose neighbours from −2 to +4 are free as well: the VIP port, the replicas' port, the name
/// server's, and HTTP's. Below those that systems give to connections, of which cells have thousands.
fn free_port() -> io::Result<u16> {
    let begin = std::process::id().wrapping_mul(977);
    for step in 0..2_000 {
        let port = 10_002 + (begin.wrapping_add(step * 8) % 20_000) as u16;
        let around = [port - 2, port, port + 1, port + 3, port + 4];
        if around
            .iter()
            .all(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        {
            return Ok(port);
        }
    }
    Err(io::Error::other("no free ports"))
}
