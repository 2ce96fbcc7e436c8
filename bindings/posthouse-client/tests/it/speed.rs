//! What a confirmed send costs the client: one connection, 64 messages of 1 KiB under way.
//!
//! `cargo test --release -p posthouse-client --test it speed -- --ignored --nocapture`

use std::time::{Duration, Instant};

use bytes::Bytes;
use posthouse_client::{Client, Config, Message, TopicConfig, TopicName};

use crate::places::{fresh, over_tcp, run};

const UNDER_WAY: usize = 64;
const WARM: Duration = Duration::from_secs(2);
const TIME: Duration = Duration::from_secs(8);

#[test]
#[ignore = "a measurement, for a quiet machine"]
fn sends_of_one_producer() {
    run(async {
        let client = match std::env::var("SPEED_NAMESRV") {
            Ok(address) => Client::new(Config::new(&address)),
            Err(_) => over_tcp(),
        };
        let topic: std::sync::Arc<str> = fresh("speed").into();
        let config = TopicConfig::new(TopicName::parse(&topic).unwrap(), 8);
        client.admin().put_topic(&config).await.unwrap();
        let producer = client.producer("speed").unwrap();
        let body = Bytes::from(vec![b'x'; 1024]);
        producer
            .send(Message::new(topic.clone(), body.clone()))
            .await
            .unwrap();
        for time in [WARM, TIME] {
            let (begun, cpu) = (Instant::now(), thread_cpu());
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..UNDER_WAY {
                let (producer, topic, body) = (producer.clone(), topic.clone(), body.clone());
                tasks.spawn(async move {
                    let mut sent = 0_u64;
                    while begun.elapsed() < time {
                        let message = Message::new(topic.clone(), body.clone());
                        producer.send(message).await.unwrap();
                        sent += 1;
                    }
                    sent
                });
            }
            let mut sent = 0;
            while let Some(count) = tasks.join_next().await {
                sent += count.unwrap();
            }
            let used = thread_cpu() - cpu;
            println!(
                "{:.0} sends a second, {:.2} µs client CPU each",
                sent as f64 / begun.elapsed().as_secs_f64(),
                used.as_secs_f64() * 1e6 / sent as f64
            );
        }
        client.shutdown().await;
    });
}

/// Time that this thread, the runtime's only one, was on a CPU.
fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let on_cpu = stat.split(' ').next().unwrap();
    Duration::from_nanos(on_cpu.parse().unwrap())
}
