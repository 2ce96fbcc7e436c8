//! Who gets which queues, and how: 400, 401, 402.

use broker::{Assign, MessageModel, Mode};
use remoting::body::{
    self, Assignment, AssignmentAnswer, AssignmentRequest, RequestMode, RequestModes,
};

use crate::ask::{Ask, Served};
use crate::{Endpoint, to};

pub(crate) fn assignment(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let request = ask.read::<AssignmentRequest>()?;
    let assign = Assign {
        group: &request.consumer_group,
        topic: &request.topic,
        client: &request.client_id,
        strategy: &request.strategy_name,
        model: match request.message_model {
            body::MessageModel::Broadcasting => MessageModel::Broadcasting,
            body::MessageModel::Clustering => MessageModel::Clustering,
        },
    };
    let answer = endpoint.broker.assign(&ask.caller(), &assign)?;
    ask.answer(answer, |ask, assigned| {
        let queues = assigned.queues.map(|queues| {
            let one = |assignment: &broker::Assignment| Assignment {
                message_queue: to::queue(&assignment.queue),
                mode: name(assignment.mode).to_owned(),
            };
            queues.iter().map(one).collect()
        });
        ask.write_body(&AssignmentAnswer {
            message_queue_assignments: queues,
        });
    })
}

fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Pull => "PULL",
        Mode::Pop => "POP",
    }
}

pub(crate) fn set_mode(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let request = ask.read::<RequestMode>()?;
    let mode = match request.mode.as_str() {
        "POP" => Mode::Pop,
        _ => Mode::Pull,
    };
    let (group, topic) = (&request.consumer_group, &request.topic);
    let share = request.pop_share_queue_num;
    let answer = endpoint
        .broker
        .set_request_mode(group, topic, mode, share)?;
    ask.answer(answer, |ask, ()| ask.success())
}

/// What a slave of Apache copies from its master.
pub(crate) fn modes(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let mut table = RequestModes::default();
    for set in endpoint.broker.request_modes() {
        let groups = (table.message_request_mode_map)
            .entry(set.topic.to_string())
            .or_default();
        let mode = RequestMode {
            consumer_group: set.group.to_string(),
            mode: name(set.mode).to_owned(),
            pop_share_queue_num: set.share,
            topic: set.topic.to_string(),
        };
        groups.insert(set.group.to_string(), mode);
    }
    ask.body(&table)
}
