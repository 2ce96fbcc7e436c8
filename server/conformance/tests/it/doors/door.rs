//! A broker over HTTP, as curl sees it, and Java beside it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use conformance::clients::Client;
use serde_json::{Value, json};

use crate::{shared, skipped};

/// Only a hang ends here.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// A topic and a group of one test, both made over HTTP, with the topic that ends the Java half.
pub(super) struct Door {
    pub(super) base: String,
    pub(super) topic: String,
    pub(super) group: String,
}

impl Door {
    /// None where Apache stands in, or a program is missing.
    pub(super) fn open() -> Option<Door> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if skipped(&["java", "mvn", "curl"]) {
            return None;
        }
        let base = shared().http.clone()?;
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let (topic, group) = (format!("door-{n}"), format!("readers-{n}"));
        let door = Door { base, topic, group };
        for topic in [&door.topic, &format!("{}-stop", door.topic)] {
            door.made(&format!("topics/{topic}"));
        }
        door.made(&format!("groups/{}", door.group));
        Some(door)
    }

    pub(super) fn made(&self, path: &str) {
        let (status, answer) = self.ask(&["-X", "PUT"], path);
        assert_eq!(status, 201, "{answer}");
    }

    /// What curl is answered: a status, and a body that is JSON or nothing.
    pub(super) fn ask(&self, arguments: &[&str], path: &str) -> (u16, Value) {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-w", "\n%{http_code}"]).args(arguments);
        curl.arg(format!("{}/v1/{path}", self.base));
        let output = curl.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let (body, status) = said.rsplit_once('\n').unwrap();
        let status = status.parse().unwrap();
        assert_ne!(status, 0, "{}", String::from_utf8_lossy(&output.stderr));
        let body = if body.is_empty() { "null" } else { body };
        (status, serde_json::from_str(body).unwrap())
    }

    /// As [`Door::ask`] with a JSON body; anything but success is a failure.
    pub(super) fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(&["--json", &body.to_string()], path);
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    pub(super) fn publish(&self, body: &Value) -> Value {
        self.post(&format!("topics/{}/messages", self.topic), body)
    }

    pub(super) fn receive(&self, query: &str) -> (u16, Value) {
        let (group, topic) = (&self.group, &self.topic);
        let path = format!("groups/{group}/messages:receive?topic={topic}&tag=*&{query}");
        self.ask(&["-X", "POST"], &path)
    }

    /// What is there now or comes soon, acked.
    pub(super) fn take(&self, query: &str) -> Vec<Value> {
        let (status, answer) = self.receive(query);
        assert_eq!(status, 200, "{answer}");
        let messages = answer["messages"].as_array().unwrap().clone();
        let leases: Vec<&Value> = messages.iter().map(|one| &one["lease_id"]).collect();
        if !leases.is_empty() {
            let path = format!("groups/{}/leases:ack", self.group);
            let acked = self.post(&path, &json!({ "lease_ids": leases }));
            assert_eq!(acked["failed"], 0, "{acked}");
        }
        messages
    }

    /// Takes until `n` messages came.
    pub(super) fn take_all(&self, n: usize) -> Vec<Value> {
        let end = Instant::now() + LIMIT;
        let mut all = Vec::new();
        while all.len() < n {
            assert!(Instant::now() < end, "{n} messages, but: {all:#?}");
            all.extend(self.take("wait=5s&max=32"));
        }
        all
    }

    /// Asks until an answer is what is wanted.
    pub(super) fn until(
        &self,
        what: &str,
        mut ask: impl FnMut() -> (u16, Value),
        wanted: impl Fn(u16, &Value) -> bool,
    ) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let (status, answer) = ask();
            if wanted(status, &answer) {
                return answer;
            }
            assert!(Instant::now() < end, "no {what}: {status} {answer}");
        }
    }

    pub(super) fn until_nothing_is_left(&self) {
        let path = format!("groups/{}/lag", self.group);
        let ask = || self.ask(&[], &path);
        self.until("lag of 0", ask, |status, lag| {
            status == 200 && lag["lag"] == 0
        });
    }

    /// Plays Java's half beside `ours`, and gives what each made.
    pub(super) fn beside<T>(
        &self,
        java: &Client,
        scenario: &str,
        more: &[(&str, &str)],
        ours: impl FnOnce() -> T,
    ) -> (Vec<Value>, T) {
        let mut settings = vec![
            ("topic", self.topic.as_str()),
            ("group", self.group.as_str()),
        ];
        settings.extend(more);
        std::thread::scope(|scope| {
            let theirs = scope.spawn(|| java.play(scenario, &settings));
            let ours = ours();
            (theirs.join().unwrap(), ours)
        })
    }

    /// Ends the Java half.
    pub(super) fn stop(&self) {
        let path = format!("topics/{}-stop/messages", self.topic);
        self.post(&path, &json!({ "body": "stop" }));
    }
}

/// A stream of a group that acks what it is sent.
pub(super) struct Followed(std::thread::JoinHandle<Vec<Value>>);

impl Followed {
    pub(super) fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Everything that came.
    pub(super) fn end(self) -> Vec<Value> {
        self.0.join().unwrap()
    }
}

impl Door {
    /// Follows the group over SSE, to the end of the stream.
    pub(super) fn follow(&self, query: &str) -> Followed {
        let path = format!("{}/v1/groups/{}/stream?{query}", self.base, self.group);
        let mut curl = Command::new("curl");
        curl.args([
            "-sSN",
            "--fail",
            "-m",
            "120",
            "-H",
            "Accept: text/event-stream",
        ]);
        let mut curl = (curl.arg(path).stdin(Stdio::null()).stdout(Stdio::piped()))
            .spawn()
            .unwrap();
        let lines = BufReader::new(curl.stdout.take().unwrap()).lines();
        let own = Door {
            base: self.base.clone(),
            topic: self.topic.clone(),
            group: self.group.clone(),
        };
        Followed(std::thread::spawn(move || {
            let mut got = Vec::new();
            for line in lines.map_while(Result::ok) {
                let Some(data) = line.strip_prefix("data: ") else {
                    continue;
                };
                let message: Value = serde_json::from_str(data).unwrap();
                let path = format!("groups/{}/leases:ack", own.group);
                let acked = own.post(&path, &json!({ "lease_ids": [message["lease_id"]] }));
                assert_eq!(acked["failed"], 0, "{acked}");
                got.push(message);
            }
            assert!(curl.wait().unwrap().success());
            got
        }))
    }
}
