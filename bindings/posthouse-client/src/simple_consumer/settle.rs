//! Settling leases without their messages, and many at once.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use remoting::Command;
use remoting::body::{self, BatchAck, BatchAckRequest};
use remoting::client::CallError;
use remoting::code::{request, response};

use super::SimpleConsumer;
use crate::error::{Error, Result};
use crate::lease::Lease;
use crate::push_consumer::Settle;

/// A lease's place beside those of the same pop must be so near, or it is acked by itself: bits are sent for
/// all places between.
const SPAN: u64 = 4_096;

impl SimpleConsumer {
    /// The messages are done. Those of one broker are told it together; each lease has its own outcome, in
    /// the order of the leases, as that of [`SimpleConsumer::ack`].
    pub async fn ack_all<'l>(
        &self,
        leases: impl IntoIterator<Item = &'l Lease>,
    ) -> Vec<Result<bool>> {
        let leases: Vec<&Lease> = leases.into_iter().collect();
        let mut outcomes: Vec<Option<Result<bool>>> = leases.iter().map(|_| None).collect();
        let mut by_broker: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, lease) in leases.iter().enumerate() {
            by_broker.entry(lease.broker()).or_default().push(place);
        }
        for places in by_broker.into_values() {
            let one = places.len() == 1;
            let together = match one {
                true => Ok(None),
                false => self.ack_together(&leases, &places).await,
            };
            for (index, place) in places.into_iter().enumerate() {
                outcomes[place] = Some(match &together {
                    // What a broker of before 5.1 does not know, and a single ack, is told one by one.
                    Ok(None) => self.ack(leases[place]).await,
                    Ok(Some(done)) => Ok(done.get(index).copied().unwrap_or(true)),
                    Err(error) => Err(same(error)),
                });
            }
        }
        let told = |outcome: Option<Result<bool>>| outcome.unwrap_or(Err(Error::Closed));
        outcomes.into_iter().map(told).collect()
    }

    /// To the group's dead-letter topic with the message of this lease, of which only its place in the log
    /// and its id are known; and the lease is over.
    ///
    /// # Errors
    /// If the broker that lent it refuses or gives no answer.
    pub async fn dead_letter_at(&self, lease: &Lease, log_offset: u64, id: &str) -> Result<()> {
        let command = Command::request(request::CONSUMER_SEND_MSG_BACK)
            .with("offset", log_offset)
            .with("group", &self.group)
            .with("delayLevel", -1)
            .with("originMsgId", id)
            .with("originTopic", lease.topic())
            .with("unitMode", false)
            .with("maxReconsumeTimes", 16);
        let channel = self.lender(lease).await?;
        channel.call(command, self.client.config.timeout).await?;
        self.client.counters.settled(Settle::Reject);
        self.end(lease).await?;
        Ok(())
    }

    /// One request for leases of one broker: whether each is done. `None`: it does not know such requests.
    async fn ack_together(&self, leases: &[&Lease], places: &[usize]) -> Result<Option<Vec<bool>>> {
        let Some(first) = places.first() else {
            return Ok(Some(Vec::new()));
        };
        let channel = self.lender(leases[*first]).await?;
        let acks = bits(&self.group, places.iter().map(|place| leases[*place]));
        let Some((acks, bits)) = acks else {
            return Ok(None);
        };
        let broker_name = leases[*first].broker().to_owned();
        let request = BatchAckRequest { acks, broker_name };
        let command = Command::request(request::BATCH_ACK_MESSAGE).body(body::to_vec(&request));
        match channel.call(command, self.client.config.timeout).await {
            Ok(answer) => {
                let not_held = answer.read(|frame| frame.ext.get("notHeld").map(str::to_owned));
                let not_held =
                    not_held.map_err(|error| Error::malformed(channel.address(), error))?;
                let not_held = not_held.unwrap_or_default();
                let not_held: HashSet<&str> = not_held.split(';').collect();
                let bits = bits.iter().map(|(ack, at)| format!("{ack} {at}"));
                let done: Vec<bool> = bits.map(|bit| !not_held.contains(&*bit)).collect();
                let count = done.iter().filter(|done| **done).count();
                self.client.counters.acknowledged(count);
                Ok(Some(done))
            }
            Err(error) if error.code() == Some(response::REQUEST_CODE_NOT_SUPPORTED) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Which of the acks a lease became, and its offset.
type Bit = (usize, u64);

/// Leases of the same pop and queue as bits from the pop's first offset on, and the bit of each lease. `None` if
/// they lie too far apart.
fn bits<'l>(
    group: &str,
    leases: impl Iterator<Item = &'l Lease>,
) -> Option<(Vec<BatchAck>, Vec<Bit>)> {
    let mut acks: Vec<(BatchAck, Vec<u8>)> = Vec::new();
    let mut places = Vec::new();
    for lease in leases {
        let ack = lease.batch_ack(group)?;
        let at = lease.offset().checked_sub(u64::try_from(ack.start).ok()?)?;
        if at >= SPAN {
            return None;
        }
        let known = acks.iter().position(|(own, _)| *own == ack);
        let known = known.unwrap_or_else(|| {
            acks.push((ack, Vec::new()));
            acks.len() - 1
        });
        let set = &mut acks[known].1;
        let (byte, bit) = ((at / 8) as usize, at % 8);
        if set.len() <= byte {
            set.resize(byte + 1, 0);
        }
        set[byte] |= 1 << bit;
        places.push((known, lease.offset()));
    }
    let encoded = acks.into_iter().map(|(ack, set)| BatchAck {
        bits: STANDARD.encode(set),
        ..ack
    });
    Some((encoded.collect(), places))
}

/// What happened to a request happened to every lease in it.
fn same(error: &Error) -> Error {
    match error {
        Error::Refused(refusal) => Error::Refused(refusal.clone()),
        Error::Timeout(last) => Error::Timeout(Box::new(same(last))),
        Error::UnknownBroker(broker) => Error::UnknownBroker(broker.clone()),
        Error::NoRoute(topic) => Error::NoRoute(topic.clone()),
        Error::Call { address, source } => Error::Call {
            address: address.clone(),
            source: match source {
                CallError::Connect(to, error) => CallError::Connect(*to, error.kind().into()),
                CallError::Broken(to) => CallError::Broken(*to),
                _ => CallError::Timeout,
            },
        },
        Error::Malformed { address, what } => Error::malformed(address, what),
        _ => Error::Closed,
    }
}
