//! What name servers know of a topic's brokers, for members of groups that have their queues shared out
//! by a broker (400).

use std::sync::mpsc;
use std::time::Duration;

use remoting::Command;
use remoting::body::{self, TopicRoute};
use remoting::code::{request, response};

use super::Register;
use super::remote::resolve;

/// How long one name server may take.
const LIMIT: Duration = Duration::from_secs(3);

/// The bit of a permission that lets consumers read.
const READ: u32 = 4;

/// The brokers of a topic and how many queues each has to read, as the first name server knows it that
/// knows the topic: the one of this process, then those of the list. Waits for the network.
pub fn brokers_of(register: &Register, topic: &str) -> Vec<(String, u32)> {
    let local = register.local.as_ref();
    let here = local.and_then(|server| server.routes().route(topic, false));
    let route = here.or_else(|| {
        let servers = register.remotes.iter().map(|remote| remote.server());
        let servers: Vec<String> = servers.map(str::to_owned).collect();
        asked(register, servers, topic.to_owned())
    });
    let queues = route.map(|route| route.queue_datas).unwrap_or_default();
    let read = queues.into_iter().filter(|queues| queues.perm & READ != 0);
    read.map(|queues| (queues.broker_name, queues.read_queue_nums))
        .collect()
}

/// Asks one name server after the other on the registrations' thread, and waits for what they say.
fn asked(register: &Register, servers: Vec<String>, topic: String) -> Option<TopicRoute> {
    let runtime = register.runtime.get()?;
    let limit = LIMIT * servers.len() as u32 + LIMIT;
    let (say, said) = mpsc::channel();
    runtime.spawn(async move {
        for server in servers {
            if let Some(route) = ask(&server, &topic).await {
                let _ = say.send(route); // who asked may have given up
                return;
            }
        }
    });
    // An error: nobody knows it, nobody answers, or the thread ends.
    said.recv_timeout(limit).ok()
}

async fn ask(server: &str, topic: &str) -> Option<TopicRoute> {
    for client in resolve(server).await.ok()? {
        let question = Command::request(request::GET_ROUTEINFO_BY_TOPIC).with("topic", topic);
        match client.invoke(question, LIMIT).await {
            Ok(answer) if answer.code == response::SUCCESS => {
                return body::from_slice(&answer.body).ok();
            }
            Ok(_) => return None,
            Err(error) => {
                tracing::debug!(server, %error, "a name server was not asked for a route")
            }
        }
    }
    None
}
