//! What Apache has no requests for: 310000 to 310013. `server/docs/protocol.md` is their description.

use broker::{Ack, Checker, DeadLetter, Error, Listed, Operation, Release, TransactionState, Work};
use model::{GroupName, TopicName};
use remoting::body::{
    AskedLeases, CheckerInfo, CheckerList, DelayedList, DelayedMessage, GoneDeadLetters, LeasesOut,
    OpenTransaction, OperationInfo, TransactionList,
};
use remoting::code::response;
use remoting::header::{
    CheckersHeader, ConsumerGroupHeader, DeadLetterHeader, LeasesHeader, ListHeader,
    OperationHeader, PurgeHeader, RedriveHeader, ReleaseHeader, TransactionStateHeader,
};

use remoting::server::Outcome;

use crate::Endpoint;
use crate::ask::{Ask, Served};

pub(crate) fn delayed(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ListHeader::read(ask.frame)?;
    let (topic, after, max) = (header.topic, header.after, header.max);
    let answer = (endpoint.broker).list_delayed(&ask.caller(), topic, after, max)?;
    ask.answer(answer, |ask, Listed { messages, next }| {
        let messages = messages.into_iter().map(|message| DelayedMessage {
            due_at: message.due,
            level: message.level,
            log_offset: message.log_offset.0,
            queue_id: message.queue,
            recall_handle: message.recall_handle,
            stored_at: message.stored_at,
            topic: message.topic,
            unique_key: message.unique_key,
        });
        ask.write_body(&DelayedList {
            messages: messages.collect(),
            next: next.map(|next| next.to_string()),
        });
    })
}

pub(crate) fn transactions(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ListHeader::read(ask.frame)?;
    let (topic, after, max) = (header.topic, header.after, header.max);
    let answer = (endpoint.broker).list_transactions(&ask.caller(), topic, after, max)?;
    ask.answer(answer, |ask, Listed { messages, next }| {
        let transactions = messages.into_iter().map(|half| OpenTransaction {
            checks: half.checks,
            expires_at: half.expires_at,
            group: half.group,
            log_offset: half.log_offset.0,
            next_check_at: half.due,
            queue_id: half.queue,
            queue_offset: half.queue_offset.0,
            stored_at: half.stored_at,
            topic: half.topic,
            unique_key: half.unique_key,
        });
        ask.write_body(&TransactionList {
            transactions: transactions.collect(),
            next: next.map(|next| next.to_string()),
        });
    })
}

pub(crate) fn transaction(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = TransactionStateHeader::read(ask.frame)?;
    let (queue_offset, log_offset) = (header.queue_offset, header.log_offset);
    let (caller, group) = (ask.caller(), header.producer_group);
    let answer = (endpoint.broker).transaction_state(&caller, group, queue_offset, log_offset)?;
    ask.answer(answer, |ask, state| {
        let reply = ask.reply(response::SUCCESS);
        match state {
            TransactionState::Pending { checks, expires_at } => {
                let reply = reply.field("state", "pending");
                let reply = reply.number("checks", i64::from(checks));
                match expires_at {
                    Some(at) => reply.number("expiresAt", at).finish(),
                    None => reply.finish(),
                }
            }
            TransactionState::Committed => reply.field("state", "committed").finish(),
            TransactionState::RolledBack => reply.field("state", "rolled-back").finish(),
            TransactionState::TimedOut => reply.field("state", "timed-out").finish(),
        }
    })
}

pub(crate) fn release(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ReleaseHeader::read(ask.frame)?;
    let release = Release {
        ack: Ack {
            group: header.consumer_group,
            topic: header.topic,
            queue: header.queue_id,
            offset: header.offset,
            receipt: header.receipt,
        },
        delay: header.delay_ms,
        count_attempt: header.count_attempt,
    };
    let answer = endpoint.broker.release(&ask.caller(), &release)?;
    ask.answer(answer, held)
}

pub(crate) fn dead_letter(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = DeadLetterHeader::read(ask.frame)?;
    let letter = DeadLetter {
        ack: Ack {
            group: header.consumer_group,
            topic: header.topic,
            queue: header.queue_id,
            offset: header.offset,
            receipt: header.receipt,
        },
        reason: header.reason,
    };
    let answer = endpoint.broker.dead_letter(&ask.caller(), &letter)?;
    ask.answer(answer, held)
}

fn held(ask: &mut Ask<'_>, held: bool) {
    ask.reply(response::SUCCESS).flag("held", held).finish();
}

pub(crate) fn redrive(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = RedriveHeader::read(ask.frame)?;
    let positive = |number: i64, name: &str| {
        let wrong = || Error::Invalid(format!("{name} {number}"));
        u64::try_from(number)
            .ok()
            .filter(|&n| n > 0)
            .ok_or_else(wrong)
    };
    let rate = header.per_second.map(i64::from);
    let rate = rate.map(|rate| positive(rate, "perSecond")).transpose()?;
    let work = Work::Redrive {
        to: header.to.map(str::to_owned),
        from: header.from.map(str::to_owned),
        limit: (header.limit.map(|limit| positive(limit, "limit"))).transpose()?,
        per_second: rate.and_then(|rate| u32::try_from(rate).ok()),
    };
    let answer = (endpoint.broker).start_operation(header.consumer_group, work, header.once)?;
    ask.answer(answer, |ask, started| {
        write(ask, &started.operation, started.replayed)
    })
}

pub(crate) fn purge(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = PurgeHeader::read(ask.frame)?;
    let work = Work::Purge {
        before: header.before,
    };
    let answer = (endpoint.broker).start_operation(header.consumer_group, work, header.once)?;
    ask.answer(answer, |ask, started| {
        write(ask, &started.operation, started.replayed)
    })
}

pub(crate) fn operation(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = OperationHeader::read(ask.frame)?;
    let missing = || Error::OperationMissing(header.id.to_owned());
    let operation = endpoint.broker.operation(header.id).ok_or_else(missing)?;
    write(ask, &operation, false);
    Ok(Outcome::Done)
}

pub(crate) fn cancel(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = OperationHeader::read(ask.frame)?;
    let missing = || Error::OperationMissing(header.id.to_owned());
    let cancelled = endpoint.broker.cancel_operation(header.id)?;
    let answer = cancelled.ok_or_else(missing)?;
    ask.answer(answer, |ask, operation| write(ask, &operation, false))
}

pub(crate) fn gone(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ConsumerGroupHeader::read(ask.frame)?;
    let gone = endpoint.broker.gone_dead_letters(header.consumer_group)?;
    ask.body(&GoneDeadLetters { gone })
}

pub(crate) fn leases(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = LeasesHeader::read(ask.frame)?;
    let body: AskedLeases = match ask.frame.body.is_empty() {
        true => AskedLeases::default(),
        false => ask.read()?,
    };
    let asked: Vec<Ack<'_>> = (body.leases.iter().take(LEASES_AT_ONCE))
        .map(|lease| Ack {
            group: header.consumer_group,
            topic: &lease.topic,
            queue: lease.queue_id,
            offset: lease.offset,
            receipt: &lease.receipt,
        })
        .collect();
    let (group, topic) = (header.consumer_group, header.topic);
    let (in_flight, out) = endpoint.broker.leases_out(group, topic, &asked);
    ask.body(&LeasesOut { in_flight, out })
}

pub(crate) fn put_checker(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let wanted: CheckerInfo = ask.read()?;
    let checker = Checker {
        topic: TopicName::parse(&wanted.topic).map_err(Error::from)?,
        group: GroupName::parse(&wanted.producer_group).map_err(Error::from)?,
        url: wanted.url,
        secret: wanted.secret,
        created_at: wanted.created_at,
    };
    let answer = endpoint.broker.put_checker(checker)?;
    ask.answer(answer, done)
}

pub(crate) fn checkers(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = CheckersHeader::read(ask.frame)?;
    let checkers = endpoint.broker.checkers(header.topic).into_iter();
    let checkers = checkers.map(|checker| CheckerInfo {
        created_at: checker.created_at,
        producer_group: checker.group.to_string(),
        secret: checker.secret,
        topic: checker.topic.to_string(),
        url: checker.url,
    });
    ask.body(&CheckerList {
        checkers: checkers.collect(),
    })
}

pub(crate) fn delete_checker(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = CheckersHeader::read(ask.frame)?;
    let topic = header.topic.unwrap_or_default();
    let answer = endpoint.broker.delete_checker(topic)?;
    ask.answer(answer, done)
}

fn done(ask: &mut Ask<'_>, (): ()) {
    ask.reply(response::SUCCESS).finish();
}

/// Leases that are looked up for one request; those behind are not answered.
const LEASES_AT_ONCE: usize = 1_024;

fn write(ask: &mut Ask<'_>, operation: &Operation, replayed: bool) {
    let kind = match operation.work {
        Work::Redrive { .. } => "redrive",
        Work::Purge { .. } => "purge",
    };
    ask.write_body(&OperationInfo {
        done: operation.done,
        group: operation.group.to_string(),
        id: operation.id.clone(),
        kind: kind.to_owned(),
        replayed,
        started_at: operation.started_at,
        state: operation.state.as_str().to_owned(),
        total: operation.total,
        why: operation.why.clone(),
    });
}
