//! Clients: heartbeats, who is in a group, queue locks, the check of filters.

use std::sync::atomic::Ordering;

use broker::Notice;
use remoting::body::{
    CheckClient, ConsumerIds, HeartbeatData, LockAnswer, LockRequest, ProducerConnection,
};
use remoting::code::{OWN_CODES, response};
use remoting::header::{ConsumerGroupHeader, ProducerGroupHeader, UnregisterHeader};
use remoting::server::Outcome;

use crate::ask::{Ask, Served};
use crate::{Clients, Endpoint};
use crate::{from, to};

pub(crate) fn heartbeat(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let wants_own = ask.frame.ext.get("posthouse").is_some();
    let beat = from::heartbeat(ask.read::<HeartbeatData>()?);
    let answer = endpoint.broker.heartbeat(&ask.caller(), &beat)?;
    ask.answer(answer, |ask, beat| {
        let mut reply = ask.reply(response::SUCCESS);
        if let Some(divergence) = &beat.divergence {
            reply = reply.remark(divergence);
        }
        let reply = reply
            .flag("IS_SUPPORT_HEART_BEAT_V2", true)
            .flag("IS_SUB_CHANGE", beat.subscriptions_changed);
        // Only for those who ask: Apache's clients expect what Apache's brokers say.
        match wants_own {
            true => reply.field("posthouse", OWN_CODES).finish(),
            false => reply.finish(),
        }
        for group in beat.changed {
            let mut command = Clients::command(&Notice::IdsChanged { group });
            command.opaque = endpoint.behind.fetch_sub(1, Ordering::Relaxed);
            command.encode(ask.out);
        }
    })
}

pub(crate) fn leave(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = UnregisterHeader::read(ask.frame)?;
    endpoint.broker.leave(
        &ask.caller(),
        header.client_id,
        header.producer_group,
        header.consumer_group,
    );
    ask.reply(response::SUCCESS).empty_fields().finish();
    Ok(Outcome::Done)
}

pub(crate) fn members(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ConsumerGroupHeader::read(ask.frame)?;
    let ids = ConsumerIds {
        consumer_id_list: endpoint.broker.members(header.consumer_group)?,
    };
    ask.reply(response::SUCCESS)
        .empty_fields()
        .body_bytes(&remoting::body::to_vec(&ids));
    Ok(Outcome::Done)
}

/// Asked at the start of a consumer whose filter is not plain tags. Apache answers 0 to no body.
pub(crate) fn check(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    if !ask.frame.body.is_empty() {
        let check = ask.read::<CheckClient>()?;
        if let Some(subscription) = &check.subscription_data {
            let kind = subscription.expression_type.as_deref();
            (endpoint.broker).check_expression(kind, &subscription.sub_string)?;
        }
    }
    ask.done()
}

pub(crate) fn lock(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let request = ask.read::<LockRequest>()?;
    let queues: Vec<_> = request.mq_set.iter().map(from::queue).collect();
    let (group, client) = (&request.consumer_group, &request.client_id);
    let locked = endpoint.broker.lock(group, client, &queues)?;
    ask.body(&LockAnswer {
        locked: locked.iter().map(to::queue).collect(),
    })
}

pub(crate) fn unlock(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let request = ask.read::<LockRequest>()?;
    let queues: Vec<_> = request.mq_set.iter().map(from::queue).collect();
    let (group, client) = (&request.consumer_group, &request.client_id);
    endpoint.broker.unlock(group, client, &queues);
    ask.done()
}

pub(crate) fn consumers(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ConsumerGroupHeader::read(ask.frame)?;
    let group = header.consumer_group;
    let connections = endpoint.broker.consumer_connections(group)?;
    ask.body(&to::consumer_connection(&connections))
}

pub(crate) fn producers(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ProducerGroupHeader::read(ask.frame)?;
    let group = header.producer_group;
    let connections = endpoint.broker.producer_connections(group)?;
    ask.body(&ProducerConnection {
        connection_set: connections.iter().map(to::connection).collect(),
    })
}
