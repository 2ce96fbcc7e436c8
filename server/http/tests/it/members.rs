//! What a group's members say of themselves.

use std::time::Instant;

use posthouse_client::{Client, Filter, PushConsumer, PushOptions, Settle};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::door::{LIMIT, ask, client};
use crate::messages::{group, publish, run, topic};

/// The group's only member, as soon as it is like that.
fn until(group: &str, is_like: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + LIMIT;
    loop {
        let told = ask("GET", &format!("/v1/groups/{group}/clients")).expect(200);
        let member = told.json()["items"][0].clone();
        if is_like(&member) {
            return member;
        }
        assert!(Instant::now() < end, "{member}");
    }
}

/// A member that pulls, and is at work on what it got until it may go on: what it acks is out no more.
pub async fn busy_member(
    client: &Client,
    group: &str,
    topic: &str,
) -> (PushConsumer, watch::Sender<bool>) {
    let wanted = [(topic, Filter::All)];
    let (go_on, may) = watch::channel(false);
    let consume = move |_| {
        let mut may = may.clone();
        async move {
            let _ = may.wait_for(|may| *may).await;
            Settle::Ack
        }
    };
    let member = client.push_consumer(group, &wanted, PushOptions::default(), consume);
    (member.await.unwrap(), go_on)
}

#[test]
fn members_say_since_when_they_are_there_and_what_they_have_in_hand() {
    let (other, topic, group) = (topic("clock"), topic("in-hand"), group("in-hand"));
    let now = || {
        let clock = json!({"body": "what time is it?"});
        let stored = publish(&other, &clock).expect(201).json();
        stored["stored_at"].as_str().unwrap().to_owned()
    };
    let before = now();
    run(async {
        let client = client();
        let (member, go_on) = busy_member(&client, &group, &topic).await;
        let here = |is_like: fn(&Value) -> bool| {
            let group = group.clone();
            tokio::task::spawn_blocking(move || until(&group, is_like))
        };
        let told = here(|own| own["in_flight"] == 0).await.unwrap();
        assert_eq!(
            (&told["client_id"], &told["protocol"]),
            (&json!(client.id()), &json!("remoting"))
        );
        let since = told["since"].as_str().unwrap().to_owned();
        assert!((before..=now()).contains(&since), "{told}");
        let to = topic.clone();
        let published = tokio::task::spawn_blocking(move || {
            for n in 0..3 {
                publish(&to, &json!({"body": n.to_string()})).expect(201);
            }
        });
        published.await.unwrap();
        here(|own| own["in_flight"] == 3).await.unwrap();
        // Its runtime stands still while this asks: nobody waits for it long.
        let silent = until(&group, |own| own["since"].is_null());
        assert_eq!(
            (&silent["client_id"], &silent["in_flight"]),
            (&told["client_id"], &Value::Null)
        );
        go_on.send_replace(true);
        here(|own| own["in_flight"] == 0).await.unwrap();
        member.shutdown().await;
        client.shutdown().await;
    });
    assert_eq!(until(&group, Value::is_null), Value::Null);
}
