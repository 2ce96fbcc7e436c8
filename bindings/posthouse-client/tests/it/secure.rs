//! TLS and signed requests, at Apache's servers 5.3.3 with both required.

use std::time::Duration;

use conformance::servers::{self, Apache, Extra};
use conformance::toolchain::{self, Release};
use posthouse_client::{
    Client, Config, ConsumeFrom, Credentials, Filter, Message, PushOptions, Settle, Tls,
    TopicConfig, TopicName,
};
use tokio::sync::mpsc::unbounded_channel;

use crate::places::{fresh, run};

#[test]
fn apache_takes_what_is_sealed_and_signed_and_nothing_else() {
    if let Some(why) = toolchain::missing(&["java", "mvn"]) {
        eprintln!("skipped: {why}");
        return;
    }
    let extra = Extra {
        // Its self-signed certificate is made at the start, and nobody's authority signed it.
        jvm: &["-Dtls.server.mode=enforcing", "-Dtls.enable=true"],
        broker: servers::AUTH,
        ..Extra::default()
    };
    let server = servers::apache_with(Release::V5, Apache::Both, &extra);
    let plain = || Config::new(&server.namesrv);
    let sealed = || plain().tls(Tls::trusting_anybody(None).unwrap());
    let signed = |secret| sealed().credentials(Credentials::new("rocketmq", secret));
    run(async {
        let client = Client::new(signed("12345678"));
        let topic = fresh("secured");
        let config = TopicConfig::new(TopicName::parse(&topic).unwrap(), 2);
        client.admin().put_topic(&config).await.unwrap();
        while client.admin().queues(&topic).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let producer = client.producer(&fresh("shop")).unwrap();
        let big = "sealed ".repeat(100_000);
        for body in ["one", &big] {
            let message = Message::new(topic.as_str(), body.to_owned()).key("größe");
            producer.send(message).await.unwrap();
        }
        let (sender, mut came) = unbounded_channel();
        let (wanted, group) = ([(topic.as_str(), Filter::All)], fresh("group"));
        let options = PushOptions {
            from: ConsumeFrom::First,
            rebalance_period: Duration::from_secs(1),
            ..PushOptions::default()
        };
        let consumer = client
            .push_consumer(&group, &wanted, options, move |message| {
                let _ = sender.send(message.body.len());
                async { Settle::Ack }
            })
            .await
            .unwrap();
        let mut lengths = [came.recv().await.unwrap(), came.recv().await.unwrap()];
        lengths.sort_unstable();
        assert_eq!(lengths, [3, big.len()]);
        consumer.shutdown().await;
        client.shutdown().await;

        for (config, why) in [
            (sealed(), "nobody's"),
            (signed("another secret"), "a wrong signature"),
        ] {
            let client = Client::new(config);
            let producer = client.producer(&fresh("shop")).unwrap();
            let refused = producer.send(Message::new(topic.as_str(), "x")).await;
            assert_eq!(refused.unwrap_err().code(), Some(16), "{why}");
            client.shutdown().await;
        }
        // What is not sealed is not even heard.
        let client = Client::new(plain().credentials(Credentials::new("rocketmq", "12345678")));
        let producer = client.producer(&fresh("shop")).unwrap();
        let unheard = producer.send(Message::new(topic.as_str(), "x")).await;
        assert_eq!(unheard.unwrap_err().code(), None);
        client.shutdown().await;
        // A certificate that no authority signed is none to who asks for one.
        let nobodys = include_bytes!("../../testdata/authority.pem");
        let doubts = plain().tls(Tls::trusting(nobodys, None).unwrap());
        let client = Client::new(doubts);
        let refused = client.admin().topics().await.unwrap_err();
        assert!(refused.code().is_none(), "{refused:?}");
        client.shutdown().await;
    });
    server.stop();
}

#[test]
fn what_is_no_certificate_is_refused() {
    let none = Tls::trusting(b"", None).unwrap_err();
    assert_eq!(none.to_string(), "TLS: there is no certificate");
    let name = Tls::trusting_anybody(None).unwrap().named("no name");
    assert!(name.is_err());
}
