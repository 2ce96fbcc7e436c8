//! The command line. What it means is decided in [`crate::config`]; running it in [`crate::run`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Given, Role, Secret};
use crate::telemetry::Format;

/// A message broker and name server that RocketMQ's own clients use.
///
/// Without a command: standalone, that is name server and broker in one process.
#[derive(Debug, Parser)]
#[command(name = "posthouse", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    run: StandaloneArgs,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Run name server and broker in one process (the default).
    Standalone(StandaloneArgs),
    /// Run a name server.
    Namesrv(RunArgs),
    /// Run a broker that registers with name servers.
    Broker {
        #[command(flatten)]
        run: RunArgs,
        /// Name servers to register with, separated by `;` [default: NAMESRV_ADDR, or the file's namesrvAddr].
        #[arg(short = 'n', value_name = "HOST:PORT;…")]
        namesrvs: Option<String>,
    },
    /// Serve HTTP in front of a running cluster, Posthouse or Apache RocketMQ.
    Gateway {
        #[command(flatten)]
        run: RunArgs,
        /// The cluster's name servers, separated by `;` [default: NAMESRV_ADDR, or the file's namesrvAddr].
        #[arg(short = 'n', value_name = "HOST:PORT;…")]
        namesrvs: Option<String>,
    },
    /// Check or rebuild the store of a stopped broker.
    Store {
        #[command(subcommand)]
        chore: StoreSub,
    },
    /// Stop a running process and wait until it has ended.
    Stop {
        /// Which one; without it, whatever runs on the data folder.
        role: Option<StopRole>,
        #[command(flatten)]
        data: DataArg,
    },
}

#[derive(Debug, Subcommand)]
enum StoreSub {
    /// Open the store as a start does, read every record, and compare queues, key index and tables
    /// with the log.
    Check(DataArg),
    /// Throw away what is derived (queues, key index) and build it again from the log.
    Rebuild(DataArg),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum StopRole {
    Namesrv,
    Broker,
    Standalone,
}

#[derive(Debug, Args)]
struct DataArg {
    /// The data folder.
    #[arg(
        long,
        env = "POSTHOUSE_DATA",
        value_name = "DIR",
        default_value = "posthouse-data"
    )]
    data: PathBuf,
}

#[derive(Debug, Args)]
struct StandaloneArgs {
    #[command(flatten)]
    run: RunArgs,
    /// For trying things out: over HTTP, topics and groups are made by their first use. Loopback only.
    #[arg(long, env = "POSTHOUSE_DEV")]
    dev: bool,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The data folder; wins over storePathRootDir [default: ./posthouse-data].
    #[arg(long, env = "POSTHOUSE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the name server listens [default: 127.0.0.1:9876; port 0 picks one].
    #[arg(long, env = "POSTHOUSE_NAMESRV_ADDR", value_name = "HOST:PORT")]
    namesrv_addr: Option<String>,
    /// Where the broker listens [default: 127.0.0.1:10911; port 0 picks one].
    #[arg(long, env = "POSTHOUSE_BROKER_ADDR", value_name = "HOST:PORT")]
    broker_addr: Option<String>,
    /// Where HTTP listens, in a standalone and a gateway [default: 127.0.0.1:8090; port 0 picks one;
    /// off: nowhere].
    #[arg(long, env = "POSTHOUSE_HTTP_ADDR", value_name = "HOST:PORT|off")]
    http_addr: Option<String>,
    /// Where health and metrics for operators listen [default: 127.0.0.1:8091; port 0 picks one; off:
    /// nowhere].
    #[arg(long, env = "POSTHOUSE_METRICS_ADDR", value_name = "HOST:PORT|off")]
    metrics_addr: Option<String>,
    /// The keys that HTTP signs leases, cursors and other tokens with: a file of mode 0600, one key of 64
    /// hexadecimal digits a line, at most two; the first signs [default: a standalone keeps one in its
    /// data folder, a gateway makes one for each start].
    #[arg(long, env = "POSTHOUSE_TOKEN_SECRET_FILE", value_name = "FILE")]
    token_secret_file: Option<PathBuf>,
    /// A configuration file with RocketMQ's keys (.properties or .conf); a relative path is also
    /// looked for below ROCKETMQ_HOME and its conf folder.
    #[arg(
        short = 'c',
        long = "config",
        env = "POSTHOUSE_CONFIG",
        value_name = "FILE"
    )]
    config: Option<PathBuf>,
    /// Print the effective configuration, and end.
    #[arg(short = 'p', long = "print-config")]
    print: bool,
    /// Only warn of keys that do not exist.
    #[arg(long, env = "POSTHOUSE_LENIENT_CONFIG")]
    lenient_config: bool,
    /// Listen beyond loopback although nobody has to prove who they are.
    #[arg(long, env = "POSTHOUSE_INSECURE")]
    insecure: bool,
    /// Write namesrv.log and broker.log into this folder instead of the standard error stream.
    #[arg(long, env = "POSTHOUSE_LOG_DIR", value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, env = "POSTHOUSE_LOG_FORMAT", value_enum, default_value_t)]
    log_format: Format,
    /// error, warn, info, debug or trace, or a filter as in RUST_LOG [default: RUST_LOG, or info].
    #[arg(long, env = "POSTHOUSE_LOG_LEVEL", value_name = "LEVEL")]
    log_level: Option<String>,
    #[arg(long, env = "NAMESRV_ADDR", hide = true)]
    namesrvs_of_environment: Option<String>,
    // Everybody on the machine reads a command line: these are for the environment.
    #[arg(long, env = "POSTHOUSE_ACCESS_KEY", hide = true)]
    access_key_of_environment: Option<String>,
    #[arg(
        long,
        env = "POSTHOUSE_SECRET_KEY",
        hide = true,
        hide_env_values = true
    )]
    secret_key_of_environment: Option<Secret>,
    #[arg(long, env = "ROCKETMQ_HOME", hide = true)]
    rocketmq_home: Option<PathBuf>,
}

/// What is to be done.
#[derive(Debug)]
pub enum Command {
    /// Start, or print the configuration.
    Run(Box<Run>),
    /// Check a store.
    Check(PathBuf),
    /// Rebuild what is derived from the log.
    Rebuild(PathBuf),
    /// Stop what runs on a data folder: that role, or any.
    Stop(Option<Role>, PathBuf),
}

/// How to start.
#[derive(Debug)]
pub struct Run {
    /// What runs.
    pub role: Role,
    /// Addresses and folder.
    pub given: Given,
    /// `-c`
    pub config: Option<PathBuf>,
    /// The variable ROCKETMQ_HOME.
    pub rocketmq_home: Option<PathBuf>,
    /// `-p`
    pub print: bool,
    /// `--lenient-config`
    pub lenient: bool,
    /// `--log-dir`
    pub log_dir: Option<PathBuf>,
    /// `--log-format`
    pub log_format: Format,
    /// `--log-level`
    pub log_level: Option<String>,
}

impl Cli {
    /// The command in plain words.
    pub fn command(self) -> Command {
        match self.command {
            None => self.run.start(),
            Some(Sub::Standalone(run)) => run.start(),
            Some(Sub::Namesrv(run)) => run.start(Role::Namesrv, None),
            Some(Sub::Broker { run, namesrvs }) => run.start(Role::Broker, namesrvs),
            Some(Sub::Gateway { run, namesrvs }) => run.start(Role::Gateway, namesrvs),
            Some(Sub::Store {
                chore: StoreSub::Check(arg),
            }) => Command::Check(arg.data),
            Some(Sub::Store {
                chore: StoreSub::Rebuild(arg),
            }) => Command::Rebuild(arg.data),
            Some(Sub::Stop { role, data }) => {
                let role = role.map(|role| match role {
                    StopRole::Namesrv => Role::Namesrv,
                    StopRole::Broker => Role::Broker,
                    StopRole::Standalone => Role::Standalone,
                });
                Command::Stop(role, data.data)
            }
        }
    }
}

impl StandaloneArgs {
    fn start(self) -> Command {
        let mut command = self.run.start(Role::Standalone, None);
        if let Command::Run(run) = &mut command {
            run.given.dev = self.dev;
        }
        command
    }
}

impl RunArgs {
    fn start(self, role: Role, namesrvs: Option<String>) -> Command {
        let written = |text: Option<String>| text.filter(|text| !text.is_empty());
        let of_environment = written(self.namesrvs_of_environment);
        Command::Run(Box::new(Run {
            role,
            given: Given {
                data: self.data,
                namesrv_addr: self.namesrv_addr,
                broker_addr: self.broker_addr,
                http_addr: self.http_addr,
                metrics_addr: self.metrics_addr,
                token_secret_file: self.token_secret_file,
                namesrvs,
                namesrvs_of_environment: of_environment,
                access_key: written(self.access_key_of_environment),
                secret_key: (self.secret_key_of_environment).filter(|secret| !secret.0.is_empty()),
                insecure: self.insecure,
                dev: false,
            },
            config: self.config,
            rocketmq_home: self.rocketmq_home,
            print: self.print,
            lenient: self.lenient_config,
            log_dir: self.log_dir,
            log_format: self.log_format,
            log_level: self.log_level,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Command {
        let all = ["posthouse"].iter().chain(arguments);
        Cli::try_parse_from(all).unwrap().command()
    }

    fn run(arguments: &[&str]) -> Run {
        match parse(arguments) {
            Command::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_command_is_standalone_and_takes_its_options() {
        assert_eq!(run(&[]).role, Role::Standalone);
        let run = run(&["--data", "d", "--broker-addr", "127.0.0.1:0", "-p"]);
        assert_eq!(run.role, Role::Standalone);
        assert_eq!(run.given.data, Some(PathBuf::from("d")));
        assert!(run.print);
    }

    #[test]
    fn only_a_standalone_is_for_trying_things_out() {
        assert!(run(&["--dev"]).given.dev && run(&["standalone", "--dev"]).given.dev);
        assert!(!run(&["standalone"]).given.dev);
        for role in ["namesrv", "broker", "gateway"] {
            let refused = Cli::try_parse_from(["posthouse", role, "--dev"]);
            assert!(refused.is_err(), "{role}");
        }
    }

    #[test]
    fn a_broker_takes_name_servers_and_a_file_as_mqbroker_does() {
        let run = run(&["broker", "-n", "a:9876;b:9876", "-c", "conf/broker.conf"]);
        assert_eq!(run.role, Role::Broker);
        assert_eq!(run.given.namesrvs.as_deref(), Some("a:9876;b:9876"));
        assert_eq!(run.config, Some(PathBuf::from("conf/broker.conf")));
    }

    #[test]
    fn stop_takes_an_optional_role() {
        assert!(matches!(
            parse(&["stop", "--data", "d"]),
            Command::Stop(None, _)
        ));
        assert!(matches!(
            parse(&["stop", "namesrv"]),
            Command::Stop(Some(Role::Namesrv), _)
        ));
    }

    #[test]
    fn store_has_two_chores() {
        assert!(matches!(
            parse(&["store", "check", "--data", "d"]),
            Command::Check(_)
        ));
        assert!(matches!(
            parse(&["store", "rebuild", "--data", "d"]),
            Command::Rebuild(_)
        ));
    }

    #[test]
    fn a_secret_is_shown_in_no_form_of_what_was_asked() {
        let given = ["--secret-key-of-environment", "tell-nobody"];
        let all = ["posthouse"].iter().chain(&given);
        let cli = Cli::try_parse_from(all).unwrap();
        let before = format!("{cli:?}");
        let run = run(&given);
        let secret = run.given.secret_key.as_ref();
        assert_eq!(secret.map(|secret| secret.0.as_str()), Some("tell-nobody"));
        for shown in [before, format!("{run:?}")] {
            assert!(!shown.contains("tell-nobody"), "{shown}");
        }
    }

    #[test]
    fn the_definition_has_no_mistake() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
