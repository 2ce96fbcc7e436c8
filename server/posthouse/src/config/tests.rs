use super::*;

fn resolve(role: Role, given: &Given, file: &str) -> Config {
    let raw = RawConfig::parse(file.as_bytes(), "f", false).unwrap();
    Config::resolve(role, given, raw).unwrap()
}

fn broker_of(file: &str) -> Config {
    resolve(Role::Broker, &Given::default(), file)
}

fn given(broker_addr: &str) -> Given {
    Given {
        broker_addr: Some(broker_addr.to_owned()),
        ..Given::default()
    }
}

fn tutorial() -> [(&'static str, &'static str); 4] {
    [
        (
            "broker-a",
            include_str!("../../testdata/tutorial/broker-a.properties"),
        ),
        (
            "broker-b",
            include_str!("../../testdata/tutorial/broker-b.properties"),
        ),
        (
            "broker-a-s",
            include_str!("../../testdata/tutorial/broker-a-s.properties"),
        ),
        (
            "broker-b-s",
            include_str!("../../testdata/tutorial/broker-b-s.properties"),
        ),
    ]
}

#[test]
fn nothing_given_is_a_safe_standalone_on_loopback() {
    let config = resolve(Role::Standalone, &Given::default(), "");
    assert_eq!(config.broker.listen.to_string(), "127.0.0.1:10911");
    assert_eq!(config.namesrv.listen.to_string(), "127.0.0.1:9876");
    assert_eq!(config.data, Path::new("posthouse-data"));
    assert!(config.broker.sync_flush);
    assert_eq!(
        (config.broker.cluster.as_str(), config.broker.name.as_str()),
        ("DefaultCluster", "broker-a")
    );
    assert_eq!(config.refusals(), []);
}

#[test]
fn the_tutorials_files_mean_what_they_say() {
    for (name, file) in tutorial() {
        let config = broker_of(file);
        let broker = &config.broker;
        assert_eq!(broker.cluster, "rocketmq-cluster", "{name}");
        assert_eq!(broker.default_queues, 4);
        assert_eq!(broker.reserved, Duration::from_secs(120 * 3_600));
        assert_eq!(broker.max_message_size, 65_536);
        assert_eq!(broker.disk_max_used, 88);
        assert_eq!(broker.namesrvs.len(), 2);
        assert_eq!(config.data, Path::new("/usr/local/rocketmq/store"));
        let is_slave = name.ends_with("-s");
        assert_eq!(broker.role == BrokerRole::Slave, is_slave);
        assert_eq!(broker.sync_flush, !is_slave);
        let refused_as_slave = matches!(config.refusals()[0], Refusal::Slave(_));
        assert_eq!(refused_as_slave, is_slave);
    }
}

#[test]
fn the_tutorials_commented_keys_are_known_too() {
    for (name, file) in tutorial() {
        let switched_on: Vec<String> = file
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if rest.is_ascii() && rest.contains('=') => rest.to_owned(),
                _ => line.to_owned(),
            })
            .collect();
        let text = switched_on.join("\n");
        assert!(
            RawConfig::parse(text.as_bytes(), name, false).is_ok(),
            "{name}"
        );
        assert!(
            text.lines()
                .any(|line| line.starts_with("flushCommitLogLeastPages"))
        );
    }
}

#[test]
fn the_option_wins_over_the_file_and_the_file_over_the_default() {
    let file = "storePathRootDir=/from/file\nlistenPort=20911\nnamesrvAddr=127.0.0.1:1";
    let from_file = broker_of(file);
    assert_eq!(from_file.data, Path::new("/from/file"));
    assert_eq!(from_file.broker.listen.to_string(), "127.0.0.1:20911");
    let options = Given {
        data: Some("/from/option".into()),
        broker_addr: Some("127.0.0.1:0".into()),
        namesrvs: Some("127.0.0.1:2; 127.0.0.1:3".into()),
        namesrvs_of_environment: Some("127.0.0.1:4".into()),
        ..Given::default()
    };
    let config = resolve(Role::Broker, &options, file);
    assert_eq!(config.data, Path::new("/from/option"));
    assert_eq!(config.broker.listen.port(), 0);
    assert_eq!(config.broker.namesrvs, ["127.0.0.1:2", "127.0.0.1:3"]);
}

#[test]
fn the_environments_name_servers_are_a_brokers_last_resort() {
    let environment = Given {
        namesrvs_of_environment: Some("127.0.0.1:4".into()),
        ..Given::default()
    };
    let broker = resolve(Role::Broker, &environment, "");
    assert_eq!(broker.broker.namesrvs, ["127.0.0.1:4"]);
    assert_eq!(
        resolve(Role::Broker, &environment, "namesrvAddr=127.0.0.1:1")
            .broker
            .namesrvs,
        ["127.0.0.1:1"]
    );
    let standalone = resolve(Role::Standalone, &environment, "");
    assert!(standalone.broker.namesrvs.is_empty());
    assert!(standalone.notes[0].contains("NAMESRV_ADDR"));
}

#[test]
fn a_slave_is_refused_by_role_and_by_id() {
    for file in ["brokerRole=SLAVE", "brokerId=1"] {
        let refusals = broker_of(file).refusals();
        assert!(refusals[0].to_string().starts_with(file), "{refusals:?}");
        assert!(
            refusals[0]
                .to_string()
                .contains("there is no replication yet")
        );
    }
}

#[test]
fn a_remote_name_server_is_refused_while_only_loopback_listens() {
    let refusals = broker_of("namesrvAddr=127.0.0.1:9876;192.0.2.7:9876").refusals();
    assert!(
        matches!(&refusals[..], [Refusal::RemoteNamesrv { namesrv, .. }] if namesrv == "192.0.2.7:9876")
    );
    let left = Given {
        insecure: true,
        ..given("0.0.0.0:10911")
    };
    assert_eq!(
        resolve(Role::Broker, &left, "namesrvAddr=192.0.2.7:9876").refusals(),
        []
    );
    assert_eq!(broker_of("namesrvAddr=localhost:9876").refusals(), []);
}

#[test]
fn leaving_loopback_wants_insecure() {
    for (options, file) in [
        (given("0.0.0.0:10911"), ""),
        (Given::default(), "bindAddress=0.0.0.0"),
        (Given::default(), "brokerIP1=192.0.2.1"),
    ] {
        let config = resolve(Role::Broker, &options, file);
        assert!(
            matches!(config.refusals()[..], [Refusal::Insecure { .. }]),
            "{file}"
        );
        let meant = Given {
            insecure: true,
            ..options
        };
        assert_eq!(resolve(Role::Broker, &meant, file).refusals(), []);
    }
    let namesrv = Given {
        namesrv_addr: Some("0.0.0.0:9876".into()),
        ..Given::default()
    };
    assert_eq!(resolve(Role::Namesrv, &namesrv, "").refusals().len(), 1);
}

#[test]
fn the_unspecified_address_is_never_told_to_clients() {
    let everywhere = resolve(Role::Broker, &given("0.0.0.0:10911"), "");
    assert!(!everywhere.broker.advertised.is_unspecified());
    let told = resolve(Role::Broker, &given("0.0.0.0:10911"), "brokerIP1=192.0.2.1");
    assert_eq!(told.broker.advertised.to_string(), "192.0.2.1");
    let raw = RawConfig::parse(b"brokerIP1=0.0.0.0", "f", false).unwrap();
    assert!(matches!(
        Config::resolve(Role::Broker, &Given::default(), raw),
        Err(Error::Unspecified(_))
    ));
}

#[test]
fn an_advertised_address_alone_leaves_loopback_and_a_loopback_one_does_not() {
    assert!(
        broker_of("brokerIP1=192.0.2.1")
            .broker
            .listen
            .ip()
            .is_unspecified()
    );
    assert!(
        broker_of("brokerIP1=127.0.0.1")
            .broker
            .listen
            .ip()
            .is_loopback()
    );
    assert_eq!(
        broker_of("brokerIP1=192.0.2.1\nbindAddress=127.0.0.1")
            .notes
            .len(),
        1
    );
}

#[test]
fn a_standalones_port_in_the_file_is_the_brokers() {
    let standalone = resolve(Role::Standalone, &Given::default(), "listenPort=20911");
    assert_eq!(standalone.broker.listen.port(), 20911);
    assert_eq!(standalone.namesrv.listen.port(), 9876);
    assert_eq!(
        resolve(Role::Namesrv, &Given::default(), "listenPort=19876")
            .namesrv
            .listen
            .port(),
        19876
    );
}

#[test]
fn an_address_without_a_port_says_what_is_meant() {
    let raw = RawConfig::default();
    let error = Config::resolve(Role::Broker, &given("127.0.0.1"), raw).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("--broker-addr 127.0.0.1: is not HOST:PORT")
    );
}

#[test]
fn what_is_printed_reads_back_as_the_same() {
    for (_, file) in tutorial() {
        let first = broker_of(file).properties();
        let lines: Vec<String> = first
            .iter()
            .map(|(key, value)| remoting::body::properties::write(key, value))
            .collect();
        assert_eq!(broker_of(&lines.join("\n")).properties(), first);
        assert!(
            first.contains(&("sendMessageThreadPoolNums".into(), "128".into()))
                || !file.contains("\nsendMessage")
        );
        assert!(first.contains(&("defaultTopicQueueNums".into(), "4".into())));
    }
}

#[test]
fn a_relative_file_is_also_looked_for_below_rocketmq_home() {
    let home = tempfile::tempdir().unwrap();
    let conf = home.path().join("conf");
    std::fs::create_dir(&conf).unwrap();
    std::fs::write(conf.join("only-here.conf"), "").unwrap();
    let found = locate(Path::new("only-here.conf"), Some(home.path()));
    assert_eq!(found, conf.join("only-here.conf"));
    assert_eq!(
        locate(Path::new("nowhere.conf"), Some(home.path())),
        Path::new("nowhere.conf")
    );
}

#[test]
fn a_gateway_speaks_for_the_user_that_file_or_environment_name() {
    let file = "namesrvAddr=127.0.0.1:1\naccessKey=shop\nsecretKey=of the file\n";
    let of_file = resolve(Role::Gateway, &Given::default(), file);
    assert_eq!(of_file.http.user.as_ref().unwrap().name, "shop");
    let shown = of_file.properties();
    let value = |name: &str| shown.iter().find(|(key, _)| key == name).unwrap().1.clone();
    assert_eq!(
        (value("accessKey"), value("secretKey")),
        ("shop".into(), "***".into())
    );
    let environment = Given {
        access_key: Some("till".into()),
        secret_key: Some(Secret("of the environment".into())),
        ..Given::default()
    };
    assert!(!format!("{environment:?}").contains("of the environment"));
    let config = resolve(Role::Gateway, &environment, file);
    assert_eq!(config.http.user.unwrap().name, "till");
    // A standalone is its own cluster.
    let standalone = resolve(Role::Standalone, &environment, "");
    assert!(standalone.http.user.is_none());
    let raw = RawConfig::parse(b"namesrvAddr=127.0.0.1:1\nsecretKey=x", "file", false).unwrap();
    let half = Config::resolve(Role::Gateway, &Given::default(), raw).unwrap_err();
    assert_eq!(
        half.to_string(),
        "there is secretKey but no accessKey: a gateway signs with both, or with none"
    );
}

#[test]
fn a_file_with_a_secret_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.conf");
    std::fs::write(&path, "accessKey=shop\nsecretKey=x\n").unwrap();
    let read = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        RawConfig::read(&path, false).map_err(|error| error.to_string())
    };
    assert!(read(0o600).is_ok());
    let open = read(0o640).unwrap_err();
    assert!(open.ends_with("(mode 640): chmod 600 it"), "{open}");
}
