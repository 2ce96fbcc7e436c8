//! What each step does, with the client's own words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use posthouse_client::{
    Begin, ConsumeFrom, Decision, Deliver, Error, Filter, Message, Model, ProducerOptions,
    PullOptions, PushOptions, Receive, Received, Settle, TopicConfig, TopicName,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;

use super::play::{Play, Refused, Seen, body};

type Saw = Result<Value, Refused>;

pub async fn play(play: &mut Play, step: &Value) -> Saw {
    match step["do"].as_str().unwrap() {
        "topic" => topic(play, step).await,
        "send" => send(play, step).await,
        "transaction" => transaction(play, step).await,
        "recall" => recall(play, step).await,
        "push" => push(play, step).await,
        "pull" => pull(play, step).await,
        "pop" => pop(play, step).await,
        "reply" => reply(play, step).await,
        "request" => request(play, step).await,
        other => panic!("no step is called {other}"),
    }
}

async fn topic(play: &mut Play, step: &Value) -> Saw {
    // An admin says names as brokers do.
    let name = play.name(step, "topic");
    let name = TopicName::parse(&play.client.names().full(&name)).unwrap();
    let queues = step["queues"].as_u64().unwrap() as u32;
    let admin = play.client.admin();
    let config = TopicConfig::new(name.clone(), queues);
    admin.put_topic(&config).await?;
    // Apache's brokers tell name servers a moment later.
    while admin.queues(name.as_str()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(Value::Null)
}

fn message(topic: &str, of: &Value) -> Message {
    let text = of["body"].as_str().unwrap();
    let mut message = Message::new(
        topic,
        text.repeat(of["repeat"].as_u64().unwrap_or(1) as usize),
    );
    if let Some(tag) = of["tag"].as_str() {
        message = message.tag(tag);
    }
    for key in of["keys"].as_array().into_iter().flatten() {
        message = message.key(key.as_str().unwrap());
    }
    for (name, value) in of["properties"].as_object().into_iter().flatten() {
        message = message.property(name, value.as_str().unwrap());
    }
    if let Some(key) = of["shardingKey"].as_str() {
        message = message.sharding_key(key);
    }
    if let Some(level) = of["delayLevel"].as_u64() {
        message = message.deliver(Deliver::Level(level as u8));
    }
    if let Some(ms) = of["delayMs"].as_u64() {
        message = message.deliver(Deliver::After(Duration::from_millis(ms)));
    }
    message
}

async fn send(play: &mut Play, step: &Value) -> Saw {
    let topic = play.name(step, "topic");
    let producer = play
        .client
        .producer(&play.name(&json!({"g": "sends"}), "g"))?;
    let all = step["messages"].as_array().unwrap();
    let messages = all.iter().map(|of| message(&topic, of));
    let mut sent = Vec::new();
    match step["how"].as_str() {
        None => {
            for message in messages {
                sent.push(producer.send(message).await?);
            }
        }
        Some("batch") => {
            let batch = producer.send_batch(messages.collect()).await;
            sent = batch.map_err(|failed| failed.error)?;
        }
        Some("oneway") => {
            for message in messages {
                producer.send_oneway(message).await?;
            }
        }
        Some(other) => panic!("nothing is sent {other}"),
    }
    if let Some(name) = step["as"].as_str() {
        let handle = sent.last().and_then(|sent| sent.recall_handle.clone());
        play.handles.insert(name.to_owned(), handle);
    }
    let queues: BTreeSet<_> = sent.iter().map(|sent| &sent.queue).collect();
    Ok(json!({"count": sent.len(), "queues": queues.len()}))
}

async fn recall(play: &mut Play, step: &Value) -> Saw {
    let handle = &play.handles[step["of"].as_str().unwrap()];
    let handle = handle.as_ref().ok_or(Refused::NoHandle)?;
    let producer = play
        .client
        .producer(&play.name(&json!({"g": "sends"}), "g"))?;
    Ok(json!({"recalled": producer.recall(handle).await?.recalled}))
}

fn decision(text: &Value) -> Decision {
    match text.as_str().unwrap() {
        "commit" => Decision::Commit,
        "rollback" => Decision::Rollback,
        "unknown" => Decision::Unknown,
        other => panic!("nobody decides {other}"),
    }
}

async fn transaction(play: &mut Play, step: &Value) -> Saw {
    let topic = play.name(step, "topic");
    let group = play.name(&json!({"g": "decides"}), "g");
    let (asked, mut checks) = unbounded_channel();
    let answer = step.get("check").map_or(Decision::Unknown, decision);
    let options = ProducerOptions::default();
    let producer = play
        .client
        .transaction_producer(&group, options, move |check| {
            let _ = asked.send(body(&check.message));
            async move { answer }
        })?;
    let message = Message::new(topic, step["body"].as_str().unwrap().to_owned());
    let half = producer.begin(message, &Begin::default()).await?;
    let decided = decision(&step["decide"]);
    play.client.resolve(&half.transaction, decided).await?;
    if step.get("check").is_none() {
        return Ok(Value::Null);
    }
    Ok(json!({"bodies": [checks.recv().await]}))
}

fn filter(step: &Value) -> Filter {
    let filter = &step["filter"];
    match (filter["tags"].as_str(), filter["sql"].as_str()) {
        (Some(tags), _) => Filter::tags(tags),
        (_, Some(sql)) => Filter::sql(sql),
        _ => Filter::All,
    }
}

fn push_options(step: &Value) -> PushOptions {
    PushOptions {
        from: ConsumeFrom::First,
        orderly: step["orderly"] == true,
        model: match step["model"].as_str() {
            Some("broadcasting") => Model::Broadcasting,
            _ => Model::Clustering,
        },
        max_attempts: step["maxAttempts"].as_u64().map(|max| max as u32),
        suspend: Duration::from_millis(100),
        rebalance_period: Duration::from_secs(1),
        ..PushOptions::default()
    }
}

async fn push(play: &mut Play, step: &Value) -> Saw {
    let (group, topic) = (play.name(step, "group"), play.name(step, "topic"));
    let fails: BTreeMap<String, u64> = step["fails"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(body, times)| (body.clone(), times.as_u64().unwrap()))
        .collect();
    let fails = Arc::new(Mutex::new(fails));
    let (sender, mut came) = unbounded_channel();
    let mut members = Vec::new();
    for member in 0..step["members"].as_u64().unwrap_or(1) {
        let client = match member {
            0 => play.client.clone(),
            _ => play.another_client(),
        };
        let (fails, sender) = (fails.clone(), sender.clone());
        let handler = move |message: Received| {
            let mut fails = fails.lock().unwrap();
            let left = fails.get_mut(&body(&message)).filter(|left| **left > 0);
            let settle = match left {
                Some(left) => {
                    *left -= 1;
                    Settle::Retry(Some(1))
                }
                None => Settle::Ack,
            };
            let _ = sender.send((message, settle == Settle::Ack));
            async move { settle }
        };
        let wanted = [(topic.as_str(), filter(step))];
        let member = client.push_consumer(&group, &wanted, push_options(step), handler);
        members.push(member.await?);
    }
    let (until, deliveries) = (
        step["until"].as_u64().unwrap() as usize,
        step["deliveries"].as_u64().unwrap_or(0) as usize,
    );
    let (mut seen, mut count) = (Seen::default(), 0);
    while seen.acked.len() < until || count < deliveries {
        let (message, acked) = came.recv().await.unwrap();
        seen.came(message, acked);
        count += 1;
    }
    for member in members {
        member.shutdown().await;
    }
    // What came too much is seen too.
    while let Ok((message, acked)) = came.try_recv() {
        seen.came(message, acked);
    }
    Ok(seen.tell())
}

async fn pull(play: &mut Play, step: &Value) -> Saw {
    let topic = play.name(step, "topic");
    let topic = play.client.names().full(&topic).into_owned();
    let group = play.name(step, "group");
    let consumer = play.client.pull_consumer(&group, PullOptions::default())?;
    let admin = play.client.admin();
    // A dead-letter topic is made by the first dead letter.
    let queues = loop {
        match admin.queues(&topic).await {
            Ok(queues) => break queues,
            Err(Error::NoRoute(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => return Err(error.into()),
        }
    };
    consumer.assign(&queues).await?;
    let offset = step["offset"].as_u64().unwrap_or(0);
    for queue in &queues {
        // Apache's brokers have a message in its queue a moment after they answered for it, and send whoever is ahead of
        // the queue back to its begin.
        while admin.max_offset(queue).await? < offset {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        consumer.seek(queue, offset)?;
    }
    let mut seen = Seen::default();
    while (seen.acked.len() as u64) < step["until"].as_u64().unwrap() {
        for message in consumer.poll(Duration::from_secs(5)).await? {
            seen.came(message, true);
        }
    }
    consumer.shutdown().await;
    Ok(seen.tell())
}

async fn pop(play: &mut Play, step: &Value) -> Saw {
    let topic = play.name(step, "topic");
    let consumer = play.client.simple_consumer(&play.name(step, "group"))?;
    let receive = Receive {
        invisible: Duration::from_millis(step["invisibleMs"].as_u64().unwrap_or(60_000)),
        wait: Duration::from_secs(5),
        ..Receive::default()
    };
    let acked = step["ack"].as_array();
    let mut seen = Seen::default();
    while (seen.acked.len() as u64) < step["until"].as_u64().unwrap() {
        for leased in consumer.receive(&topic, &receive).await? {
            let text = body(&leased.message);
            if acked.is_none_or(|acked| acked.contains(&json!(text))) {
                consumer.ack(&leased.lease).await?;
            }
            if let Some(ms) = step["change"][&text].as_u64() {
                let time = Duration::from_millis(ms);
                consumer.extend(&leased.lease, time).await?;
            }
            seen.came(leased.message, true);
        }
    }
    Ok(seen.tell())
}

async fn reply(play: &mut Play, step: &Value) -> Saw {
    let (group, topic) = (play.name(step, "group"), play.name(step, "topic"));
    let replier = play
        .client
        .producer(&play.name(&json!({"g": "replies"}), "g"))?;
    let with = step["with"].as_str().unwrap().to_owned();
    let handler = move |question: Received| {
        let (replier, text) = (replier.clone(), with.replace("{}", &body(&question)));
        async move {
            if let Err(error) = replier.reply(&question, text).await {
                eprintln!("the requester asks again: {error}");
            }
            Settle::Ack
        }
    };
    let wanted = [(topic.as_str(), Filter::All)];
    let consumer = play
        .client
        .push_consumer(&group, &wanted, push_options(step), handler);
    let consumer = consumer.await?;
    play.behind.push(consumer);
    Ok(Value::Null)
}

async fn request(play: &mut Play, step: &Value) -> Saw {
    let topic = play.name(step, "topic");
    let producer = play
        .client
        .producer(&play.name(&json!({"g": "asks"}), "g"))?;
    loop {
        let question = Message::new(topic.as_str(), step["body"].as_str().unwrap().to_owned());
        match producer.request(question, Duration::from_secs(10)).await {
            Ok(reply) => return Ok(json!({"bodies": [body(&reply)]})),
            Err(Error::NoReply(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
