//! A real clock and shorthand.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::TopicName;
use store::disk::real::Real;
use store::{Clock, Draft, Error, Keys, Options, Queue, Recovery, Store};

pub struct RealClock(Instant);

impl RealClock {
    pub fn start() -> Arc<RealClock> {
        Arc::new(RealClock(Instant::now()))
    }
}

impl Clock for RealClock {
    #[allow(clippy::disallowed_methods)] // this is where a test's time comes from
    fn wall(&self) -> i64 {
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis() as i64
    }

    fn mono(&self) -> Duration {
        self.0.elapsed()
    }
}

pub fn open(path: &Path, options: Options) -> Result<(Store, Recovery), Error> {
    Store::open(
        options,
        Arc::new(Real::new(path).unwrap()),
        RealClock::start(),
    )
}

pub fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

pub fn draft<'a>(queue: &'a Arc<Queue>, body: &'a [u8]) -> Draft<'a> {
    Draft {
        queue,
        flag: 0,
        sys_flag: 0,
        born_at: 1,
        born_host: SocketAddr::from((Ipv4Addr::LOCALHOST, 5)),
        reconsume_times: 0,
        prepared_offset: 0,
        body,
        properties: "UNIQ_KEY\u{1}7F0000010000000000000000000000ff\u{2}WAIT\u{1}true\u{2}",
        tags_code: 0,
        keys: Keys::Unread,
    }
}
