//! Which function serves which request code.
//!
//! The codes and texts are those of Apache's `DefaultRequestProcessor` and `ClientRequestProcessor`. A
//! code that is not in the one `match` below answers 3.

mod brokers;
mod settings;
mod topics;

#[cfg(test)]
mod tests;

use remoting::code::{not_supported, request, response};
use remoting::server::{Again, Outcome, Peer, Run, Service};
use remoting::{Frame, Head, Reply};

use crate::server::NameServer;

/// One request and where its answer goes.
pub(crate) struct Ask<'a> {
    peer: &'a Peer,
    frame: &'a Frame<'a>,
    /// Whether its cold job has run.
    warm: bool,
    out: &'a mut Vec<u8>,
}

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct Refused {
    code: i32,
    remark: String,
}

impl Refused {
    fn error(remark: impl Into<String>) -> Refused {
        Refused {
            code: response::SYSTEM_ERROR,
            remark: remark.into(),
        }
    }
}

type Served = Result<Outcome, Refused>;

impl<'a> Ask<'a> {
    fn field(&self, name: &str) -> Option<&'a str> {
        self.frame.ext.get(name)
    }

    /// A field that must be there.
    fn need(&self, name: &str) -> Result<&'a str, Refused> {
        let value = self.field(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Refused::error(format!("the custom field <{name}> is null")))
    }

    /// A number that must be there.
    fn need_number(&self, name: &str) -> Result<i64, Refused> {
        let text = self.need(name)?;
        let number = text.parse().ok();
        number.ok_or_else(|| {
            Refused::error(format!("the custom field <{name}> is no number: {text}"))
        })
    }

    /// Java's reading of a truth: only `true`, in any case.
    fn truth(&self, name: &str) -> Option<bool> {
        Some(self.field(name)?.eq_ignore_ascii_case("true"))
    }

    fn reply(&mut self, code: i32) -> Reply<'_> {
        let head = Head {
            opaque: self.frame.opaque,
            serialize: self.frame.serialize,
        };
        Reply::new(self.out, head, code)
    }

    /// Answers a plain success.
    fn done(&mut self) -> Served {
        self.reply(response::SUCCESS).finish();
        Ok(Outcome::Done)
    }

    /// Answers a success with a body.
    fn body(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Served {
        self.reply(response::SUCCESS).body(write);
        Ok(Outcome::Done)
    }
}

impl Service for NameServer {
    fn call(&self, peer: &Peer, frame: &Frame<'_>, run: Run, out: &mut Vec<u8>) -> Outcome {
        let warm = run.again == Some(Again::Warm);
        let mut ask = Ask {
            peer,
            frame,
            warm,
            out,
        };
        self.serve(&mut ask).unwrap_or_else(|refused| {
            ask.reply(refused.code).remark(&refused.remark).finish();
            Outcome::Done
        })
    }

    fn closed(&self, peer: &Peer) {
        self.lost(peer.id.0);
    }
}

impl NameServer {
    fn serve(&self, ask: &mut Ask<'_>) -> Served {
        match ask.frame.code {
            request::PUT_KV_CONFIG => self.put_kv(ask),
            request::GET_KV_CONFIG => self.find_kv(ask),
            request::DELETE_KV_CONFIG => self.delete_kv(ask),
            request::GET_KVLIST_BY_NAMESPACE => self.list_kv(ask),
            request::UPDATE_NAMESRV_CONFIG => self.update_config(ask),
            request::GET_NAMESRV_CONFIG => self.show_config(ask),
            request::REGISTER_BROKER => self.register(ask),
            request::UNREGISTER_BROKER => self.unregister(ask),
            request::BROKER_HEARTBEAT => self.heartbeat(ask),
            request::QUERY_DATA_VERSION => self.data_version(ask),
            request::GET_BROKER_MEMBER_GROUP => self.member_group(ask),
            request::GET_BROKER_CLUSTER_INFO => self.cluster_info(ask),
            request::WIPE_WRITE_PERM_OF_BROKER => self.wipe_write(ask),
            request::ADD_WRITE_PERM_OF_BROKER => self.add_write(ask),
            request::GET_ROUTEINFO_BY_TOPIC => self.route(ask),
            request::REGISTER_TOPIC_IN_NAMESRV => self.register_topic(ask),
            request::DELETE_TOPIC_IN_NAMESRV => self.delete_topic(ask),
            request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER
            | request::GET_UNIT_TOPIC_LIST
            | request::GET_HAS_UNIT_SUB_TOPIC_LIST
            | request::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => self.topic_list(ask),
            request::GET_TOPICS_BY_CLUSTER => self.topics_of_cluster(ask),
            request::GET_SYSTEM_TOPIC_LIST_FROM_NS => self.system_topics(ask),
            code => Err(Refused {
                code: response::REQUEST_CODE_NOT_SUPPORTED,
                remark: not_supported(code),
            }),
        }
    }
}
