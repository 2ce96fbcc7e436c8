//! How a broker is: what goes through it, how full its disk is, what it can.

use std::collections::BTreeMap;

use remoting::Command;
use remoting::body::{EpochList, KvTable};
use remoting::code::request;

use super::Admin;
use crate::client::Inner;
use crate::error::Result;

/// How a broker is, as it says itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerState {
    /// The version of RocketMQ that it is or behaves as, as `V5_3_3`.
    pub version: Option<String>,
    /// Messages stored a second, over the last ten seconds.
    pub put_rate: Option<f64>,
    /// Messages handed to consumers a second, over the last ten seconds.
    pub get_rate: Option<f64>,
    /// How much of the disk that its log lies on is used: 0 to 1.
    pub disk_used_ratio: Option<f64>,
    /// The number of its mastership, where a controller gives one.
    pub epoch: Option<u64>,
    /// It serves the requests that only Posthouse's brokers know.
    pub is_posthouse: bool,
}

impl Admin {
    /// How the broker at an address of [`Admin::cluster`] is.
    ///
    /// # Errors
    /// If it refuses or gives no answer.
    pub async fn broker_state(&self, address: &str) -> Result<BrokerState> {
        let (client, limit) = (&self.client, self.client.config.timeout);
        let channel = client.channels.to(address).await?;
        let command = Command::request(request::GET_BROKER_RUNTIME_INFO);
        let answer = channel.call(command, limit).await?;
        let told: KvTable = Inner::body(&channel, &answer)?;
        let is_posthouse = channel.is_posthouse(&client.id, limit).await?;
        let epoch = match is_posthouse {
            true => None,
            false => {
                let command = Command::request(request::GET_BROKER_EPOCH_CACHE);
                // Brokers without a controller, and those before 5.0, refuse.
                let answer = channel.call(command, limit).await.ok();
                let told = answer.map(|answer| Inner::body::<EpochList>(&channel, &answer));
                let last = told
                    .transpose()?
                    .and_then(|told| told.epoch_list.last().copied());
                last.and_then(|last| u64::try_from(last.epoch).ok())
            }
        };
        Ok(read(&told.table, is_posthouse, epoch))
    }
}

fn read(told: &BTreeMap<String, String>, is_posthouse: bool, epoch: Option<u64>) -> BrokerState {
    let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
    // Over the last 10, 60 and 600 seconds.
    let rate = |name: &str| number(told.get(name)?.split_whitespace().next()?);
    BrokerState {
        version: told.get("brokerVersionDesc").cloned(),
        put_rate: rate("putTps"),
        // Before 5.0 it has one r.
        get_rate: rate("getTransferredTps").or_else(|| rate("getTransferedTps")),
        disk_used_ratio: told.get("commitLogDiskRatio").and_then(|used| number(used)),
        epoch,
        is_posthouse,
    }
}
