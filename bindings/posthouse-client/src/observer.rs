//! Who is told what a client does, for traces and figures.

use std::time::Duration;

use crate::error::Error;
use crate::message::Message;
use crate::producer::Sent;
use crate::push_consumer::Settle;
use crate::received::Received;

/// Is told what a client sends and consumes, on the task that does it: it must be quick. Every method
/// does nothing unless it is written.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use posthouse_client::{Config, Error, Message, Observer, Sent};
///
/// struct Traces;
///
/// impl Observer for Traces {
///     fn sending(&self, message: &mut Message) {
///         let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
///         message.properties.push(("traceparent".into(), context.into()));
///     }
///
///     fn sent(&self, topic: &str, result: Result<&Sent, &Error>, took: Duration) {
///         println!("{topic}: {} after {took:?}", if result.is_ok() { "sent" } else { "failed" });
///     }
/// }
///
/// let config = Config::new("127.0.0.1:9876").observer(Arc::new(Traces));
/// ```
pub trait Observer: Send + Sync {
    /// A message is about to be sent. What is added to it goes with it: a trace's context, for example.
    /// Messages of a batch come one by one.
    fn sending(&self, _message: &mut Message) {}

    /// A send ended, its repetitions included; of a batch, one of its requests.
    fn sent(&self, _topic: &str, _result: Result<&Sent, &Error>, _took: Duration) {}

    /// A message is about to be handed to a push consumer's handler.
    fn consuming(&self, _group: &str, _message: &Received) {}

    /// The handler is done with it.
    fn consumed(&self, _group: &str, _message: &Received, _settle: Settle, _took: Duration) {}
}
