//! One request on its way through the door, and how a refusal is answered.

use broker::{Answer, Caller, ConnectionId};
use remoting::body::{self, BodyError};
use remoting::code::{not_supported, request, response};
use remoting::header::HeaderError;
use remoting::server::{Outcome, Peer, Run};
use remoting::{Frame, Head, Place, Reply, Room};
use serde::de::DeserializeOwned;

use crate::{Endpoint, pop, recall, send, status};

/// A request and where its answer goes.
pub(crate) struct Ask<'a> {
    pub peer: &'a Peer,
    pub frame: &'a Frame<'a>,
    pub run: Run,
    pub out: &'a mut Vec<u8>,
}

/// What became of a request, or why it was refused.
pub(crate) type Served = Result<Outcome, Refused>;

/// Why a request was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// By the broker.
    Broker(broker::Error),
    /// Its header lacks a field, or one makes no sense.
    Header(HeaderError),
    /// Its body cannot be read.
    Body(BodyError),
    /// It contradicts the protocol otherwise.
    Invalid(String),
    /// Nobody serves its code here.
    NotSupported,
}

impl From<broker::Error> for Refused {
    fn from(error: broker::Error) -> Refused {
        Refused::Broker(error)
    }
}

impl From<HeaderError> for Refused {
    fn from(error: HeaderError) -> Refused {
        Refused::Header(error)
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Refused {
        Refused::Body(error)
    }
}

impl<'a> Ask<'a> {
    pub fn new(peer: &'a Peer, frame: &'a Frame<'a>, run: Run, out: &'a mut Vec<u8>) -> Ask<'a> {
        Ask {
            peer,
            frame,
            run,
            out,
        }
    }

    /// Who asks, in the broker's words.
    pub fn caller(&self) -> Caller {
        Caller {
            connection: ConnectionId(self.peer.id.0),
            ticket: self.run.ticket,
            remote: self.peer.remote,
            language: self.frame.language as u8,
            version: self.frame.version,
            may_wait: self.run.again.is_none(),
            oneway: self.frame.is_oneway(),
        }
    }

    fn head(&self) -> Head {
        Head {
            opaque: self.frame.opaque,
            serialize: self.frame.serialize,
        }
    }

    /// Begins the answer.
    pub fn reply(&mut self, code: i32) -> Reply<'_> {
        let head = self.head();
        Reply::new(self.out, head, code)
    }

    /// Begins the answer whose body already lies in `out` from `body_at` on.
    pub fn reply_before(&mut self, body_at: usize, code: i32) -> Reply<'_> {
        let head = self.head();
        Reply::before(self.out, body_at, head, code)
    }

    /// Leaves room for the header of an answer whose body is written first.
    pub fn leave<'r>(&mut self, room: &'r Room) -> Place<'r> {
        room.leave(self.out, self.frame.serialize)
    }

    /// Begins the answer whose body lies behind that room.
    pub fn reply_placed<'r>(&'r mut self, place: Place<'r>, code: i32) -> Reply<'r> {
        let head = self.head();
        Reply::placed(self.out, place, head, code)
    }

    /// Writes success without fields and body.
    pub fn success(&mut self) {
        self.reply(response::SUCCESS).finish();
    }

    /// Answers success without fields and body.
    pub fn done(&mut self) -> Served {
        self.success();
        Ok(Outcome::Done)
    }

    /// Answers success with a JSON body.
    pub fn body(&mut self, value: &impl serde::Serialize) -> Served {
        self.write_body(value);
        Ok(Outcome::Done)
    }

    pub fn write_body(&mut self, value: &impl serde::Serialize) {
        self.reply(response::SUCCESS)
            .body(|out| body::write(value, body::Dialect::Standard, out));
    }

    /// Reads the request's body.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Refused> {
        Ok(body::from_slice(self.frame.body)?)
    }

    /// Turns the broker's answer into an outcome; `write` writes what there is to say.
    pub fn answer<T>(&mut self, answer: Answer<T>, write: impl FnOnce(&mut Self, T)) -> Served {
        Ok(match answer {
            Answer::Ready(value) => {
                write(self, value);
                Outcome::Done
            }
            Answer::After(mark, value) => {
                write(self, value);
                Outcome::After(mark)
            }
            Answer::Hold(limit) => Outcome::Hold(limit),
            Answer::Cold(job) => Outcome::Cold(job),
        })
    }
}

impl Refused {
    fn code(&self) -> i32 {
        match self {
            Refused::Broker(error) => status::code(error),
            Refused::Header(_) | Refused::Body(_) | Refused::Invalid(_) => response::SYSTEM_ERROR,
            Refused::NotSupported => response::REQUEST_CODE_NOT_SUPPORTED,
        }
    }

    fn remark(&self, code: i32) -> String {
        match self {
            Refused::Broker(error) => error.to_string(),
            Refused::Header(error) => error.to_string(),
            Refused::Body(error) => error.to_string(),
            Refused::Invalid(text) => text.clone(),
            Refused::NotSupported => not_supported(code),
        }
    }

    /// Writes the refusal. Where Apache has a header class for the answer, there are `extFields` even
    /// in a refusal; where reading the request failed, there are none.
    pub fn answer(&self, endpoint: &Endpoint, ask: &mut Ask<'_>) {
        use request::*;
        let code = ask.frame.code;
        let remark = self.remark(code);
        let reply = ask.reply(self.code()).remark(&remark);
        let Refused::Broker(error) = self else {
            return reply.finish();
        };
        match code {
            SEND_MESSAGE
            | SEND_MESSAGE_V2
            | SEND_BATCH_MESSAGE
            | SEND_REPLY_MESSAGE
            | SEND_REPLY_MESSAGE_V2 => {
                send::common_fields(endpoint, reply).finish();
            }
            PULL_MESSAGE | LITE_PULL_MESSAGE => match status::forbidden(error) {
                Some(kind) => reply.number("forbiddenType", kind).finish(),
                None => reply.empty_fields().finish(),
            },
            POP_MESSAGE | PEEK_MESSAGE => pop::nothing(reply).finish(),
            RECALL_MESSAGE => recall::region(endpoint, reply).finish(),
            QUERY_MESSAGE => reply
                .number("indexLastUpdateTimestamp", 0)
                .number("indexLastUpdatePhyoffset", 0)
                .finish(),
            QUERY_CONSUMER_OFFSET | UPDATE_CONSUMER_OFFSET | GET_CONSUMER_LIST_BY_GROUP => {
                reply.empty_fields().finish();
            }
            _ => reply.finish(),
        }
    }
}
