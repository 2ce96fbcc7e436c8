//! What is said to a name server: 103 and 104, with the fields that Apache's 5.3.3 broker sends.

use model::topic::{DataVersion, TopicConfig};
use remoting::Command;
use remoting::body::{RegisterBroker, TopicConfigTable};
use remoting::code::request;

use super::Identity;

/// A registration of these topics under a version of the table.
pub fn register(identity: &Identity, topics: &[TopicConfig], version: DataVersion) -> Command {
    let body = RegisterBroker {
        filter_server_list: Vec::new(),
        topic_config_serialize_wrapper: TopicConfigTable::new(version, topics),
    };
    let body = body.to_json();
    broker(request::REGISTER_BROKER, identity)
        .with("haServerAddr", &identity.ha_address)
        .with("enableActingMaster", false)
        .with("compressed", false)
        .with("bodyCrc32", crc32(&body))
        .body(body)
}

/// We are going.
pub fn unregister(identity: &Identity) -> Command {
    broker(request::UNREGISTER_BROKER, identity)
}

fn broker(code: i32, identity: &Identity) -> Command {
    Command::request(code)
        .with("brokerName", &identity.broker)
        .with("brokerAddr", &identity.address)
        .with("clusterName", &identity.cluster)
        .with("brokerId", identity.id)
}

/// Apache's checksum: CRC-32 without its top bit.
fn crc32(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7FFF_FFFF
}
