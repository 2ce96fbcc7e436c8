//! Python and Node beside what else people use, in one run each: confluent-kafka with the broker that librdkafka mocks,
//! and rocketmq-client-nodejs with Apache's proxy. What they need is pinned beside the programs (`python/bench`,
//! `node/beside`), comes from the registries when this is asked for, and is no part of the packages or of their tests.

use std::fs;
use std::io::Error;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::languages::started;
use crate::parts::target;
use crate::python::environment;
use crate::report::Report;
use crate::{node, python};

/// How long a JVM may take to open its door.
const START: Duration = Duration::from_secs(120);

/// Python beside confluent-kafka.
pub fn confluent(report: &mut Report) {
    let bench = Path::new(python::FOLDER).join("bench");
    let place = target().join("beside/python");
    let pinned = bench.join("requirements.txt");
    let mut tools = environment(
        &place,
        &[
            "--require-hashes".as_ref(),
            "-r".as_ref(),
            pinned.as_os_str(),
        ],
    );
    if report.run("Python: what it is beside", &mut tools)
        && report.run("Python: installed beside it", &mut python::install(&place))
    {
        let mut run = Command::new(place.join("bin/python"));
        heading("Python");
        report.run(
            "Python: beside confluent-kafka",
            run.arg(bench.join("beside.py")),
        );
    }
}

/// Node beside rocketmq-client-nodejs.
pub fn apache(report: &mut Report) {
    let folder = Path::new(node::FOLDER).join("beside");
    let work = target().join("beside/apache");
    let mut client = Command::new("npm");
    client.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    let mut jars = Command::new("mvn");
    jars.args(["-q", "-B", "-f"]).arg(folder.join("pom.xml"));
    jars.arg("dependency:copy-dependencies");
    jars.arg(format!("-DoutputDirectory={}", work.join("lib").display()));
    if report.run("Node: what it is beside", client.current_dir(&folder))
        && report.run("Node: Apache's proxy", &mut jars)
    {
        match Apache::start(&work).and_then(|apache| Ok((apache, started()?))) {
            Ok((apache, (_ours, address))) => {
                let mut run = Command::new("node");
                heading("Node");
                run.args(["beside.mjs", "--url", &address, "--proxy", &apache.proxy]);
                run.args(["--namesrv", &apache.namesrv]).env("HOME", &work);
                report.run(
                    "Node: beside rocketmq-client-nodejs",
                    run.current_dir(node::FOLDER),
                );
            }
            Err(why) => {
                println!("{why}");
                let name = "Node: beside rocketmq-client-nodejs";
                report.run(name, &mut Command::new("false"));
            }
        }
    }
}

fn heading(language: &str) {
    println!("\n| {language} | Rate | CPU a message of the process | ours by theirs |");
    println!("|---|---|---|---|");
}

/// Apache's name server, and its proxy with the broker inside; they are killed in the end.
struct Apache {
    processes: Vec<Child>,
    namesrv: String,
    proxy: String,
}

impl Apache {
    fn start(work: &Path) -> Result<Apache, String> {
        let [namesrv, proxy, remoting, replicas] =
            free_ports().map_err(|error| error.to_string())?;
        let [_, _, broker, _] = free_ports().map_err(|error| error.to_string())?;
        let settings = write_settings(work, namesrv, proxy, remoting, broker, replicas);
        let conf = settings.map_err(|error| format!("{}: {error}", work.display()))?;
        let mut apache = Apache {
            processes: Vec::new(),
            namesrv: format!("127.0.0.1:{namesrv}"),
            proxy: format!("127.0.0.1:{proxy}"),
        };
        let file = |name: &str| conf.join(name).display().to_string();
        let words = [
            "org.apache.rocketmq.namesrv.NamesrvStartup",
            "-c",
            &file("namesrv.conf"),
        ];
        apache.run(work, "namesrv", &["-Xms256m", "-Xmx256m"], &words, namesrv)?;
        let words = [
            "org.apache.rocketmq.proxy.ProxyStartup",
            "-pm",
            "local",
            "-n",
            &apache.namesrv.clone(),
            "-bc",
            &file("broker.conf"),
            "-pc",
            &file("proxy.json"),
        ];
        let memory = ["-Xms2g", "-Xmx2g", "-XX:MaxDirectMemorySize=4g"];
        apache.run(work, "proxy", &memory, &words, proxy)?;
        Ok(apache)
    }

    /// Starts a JVM; its door is open when this returns.
    fn run(
        &mut self,
        work: &Path,
        name: &str,
        flags: &[&str],
        words: &[&str],
        door: u16,
    ) -> Result<(), String> {
        let said = work.join(format!("{name}.log"));
        let wrong = |error: Error| format!("{name}: {error}");
        let log = fs::File::create(&said).map_err(wrong)?;
        let mut command = Command::new("java");
        command
            .args(flags)
            .args(["--add-exports=java.base/sun.nio.ch=ALL-UNNAMED"]);
        command.args(["--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp"]);
        command
            .arg(format!("{0}/conf:{0}/lib/*", work.display()))
            .args(words);
        command
            .env("ROCKETMQ_HOME", work)
            .env("HOME", work)
            .stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(wrong)?).stderr(log);
        self.processes.push(command.spawn().map_err(wrong)?);
        let until = Instant::now() + START;
        while std::net::TcpStream::connect(("127.0.0.1", door)).is_err() {
            let ended = self.processes.last_mut().map(Child::try_wait);
            if matches!(ended, Some(Ok(Some(_)))) || Instant::now() > until {
                let text = fs::read_to_string(&said).unwrap_or_default();
                return Err(format!(
                    "Apache's {name} did not open its door, and said: {text}"
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The folder with what the processes read. They store on an empty folder, with asynchronous flush, and log warnings.
fn write_settings(
    work: &Path,
    namesrv: u16,
    proxy: u16,
    remoting: u16,
    broker: u16,
    replicas: u16,
) -> std::io::Result<PathBuf> {
    let (conf, store) = (work.join("conf"), work.join("store"));
    let _ = fs::remove_dir_all(&store);
    fs::create_dir_all(&conf)?;
    let store = store.display();
    let files = [
        (
            "namesrv.conf",
            format!("listenPort={namesrv}\nbindAddress=127.0.0.1\n"),
        ),
        (
            "broker.conf",
            format!(
                "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\nbrokerIP1=127.0.0.1\n\
                 listenPort={broker}\nhaListenPort={replicas}\nstorePathRootDir={store}\n\
                 storePathCommitLog={store}/commitlog\nflushDiskType=ASYNC_FLUSH\n\
                 useEpollNativeSelector=true\ntransferMsgByHeap=false\nwarmMapedFileEnable=true\n"
            ),
        ),
        (
            "proxy.json",
            format!(
                r#"{{"rocketMQClusterName": "DefaultCluster", "grpcServerPort": {proxy}, "remotingListenPort": {remoting}}}"#
            ),
        ),
    ];
    for (name, text) in files {
        fs::write(conf.join(name), text)?;
    }
    for name in ["namesrv", "broker", "proxy"] {
        fs::write(conf.join(format!("rmq.{name}.logback.xml")), LOGBACK)?;
    }
    Ok(conf)
}

const LOGBACK: &str = r#"<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %p %c - %m%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"#;

/// Ports of which nobody has the one two below either: Apache's broker takes that as well.
fn free_ports() -> std::io::Result<[u16; 4]> {
    let mut held = Vec::new();
    let mut ports = [0; 4];
    for port in &mut ports {
        *port = loop {
            let door = TcpListener::bind(("127.0.0.1", 0))?;
            let found = door.local_addr()?.port();
            let below = TcpListener::bind(("127.0.0.1", found - 2));
            held.push(door);
            if let Ok(below) = below {
                held.push(below);
                break found;
            }
        };
    }
    Ok(ports)
}
