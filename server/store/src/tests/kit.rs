//! A small store on a disk in memory, and what the tests do with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use model::record::View;
use model::{QueueId, QueueOffset, TopicName};

use crate::clock::ManualClock;
use crate::disk::memory::Memory;
use crate::disk::{Disk, Wait};
use crate::error::StageError;
use crate::index::Keys;
use crate::log::stage::{Draft, Staged};
use crate::options::{Flush, Options};
use crate::queue::Queue;
use crate::store::{Recovery, Store};

pub(crate) struct Kit {
    pub store: Store,
    pub clock: Arc<ManualClock>,
    pub disk: Arc<dyn Disk>,
    pub options: Options,
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

/// Small sizes, so that a test meets every limit.
pub(crate) fn options(flush: Flush) -> Options {
    Options {
        flush,
        segment_size: 64 << 10,
        reserve_step: 16 << 10,
        zero_ahead: 0,
        staged_max: 1 << 20,
        tail_max: 1 << 20,
        ..Options::default()
    }
}

pub(crate) fn draft<'a>(queue: &'a Arc<Queue>, body: &'a [u8]) -> Draft<'a> {
    Draft {
        queue,
        flag: 0,
        sys_flag: 0,
        born_at: 1,
        born_host: SocketAddr::from((Ipv4Addr::LOCALHOST, 5)),
        reconsume_times: 0,
        prepared_offset: 0,
        body,
        properties: "TAGS\u{1}a\u{2}",
        tags_code: 97,
        keys: Keys::Unread,
    }
}

impl Kit {
    pub fn new(flush: Flush) -> Kit {
        Kit::with(options(flush), Arc::new(Memory::default()))
    }

    pub fn with(options: Options, disk: Arc<dyn Disk>) -> Kit {
        let clock = Arc::new(ManualClock::new(1_000));
        let handed: Arc<ManualClock> = Arc::clone(&clock);
        let (store, _) = Store::open(options.clone(), Arc::clone(&disk), handed).unwrap();
        Kit {
            store,
            clock,
            disk,
            options,
        }
    }

    /// Opens the store again without closing it, as after `kill -9`.
    pub fn reopen(&mut self) -> Recovery {
        let clock: Arc<ManualClock> = Arc::clone(&self.clock);
        let opened = Store::open(self.options.clone(), Arc::clone(&self.disk), clock);
        let (store, recovery) = opened.unwrap();
        self.store = store;
        recovery
    }

    pub fn without_tail(mut self) -> Kit {
        self.options.tail_max = 0;
        self.reopen();
        self
    }

    pub fn try_send_to(&self, queue: &Arc<Queue>, body: &[u8]) -> Result<Staged, StageError> {
        self.store.stage(&draft(queue, body))
    }

    pub fn try_send(&self, name: &str, id: u32, body: &[u8]) -> Result<Staged, StageError> {
        let queue = self.store.queue(&topic(name), QueueId(id));
        self.try_send_to(&queue, body)
    }

    pub fn send(&self, name: &str, id: u32, body: &[u8]) -> Staged {
        self.try_send(name, id, body).unwrap()
    }

    pub fn batch(&self, name: &str, id: u32, bodies: &[&[u8]]) -> Vec<Staged> {
        let queue = self.store.queue(&topic(name), QueueId(id));
        let drafts: Vec<_> = bodies.iter().map(|body| draft(&queue, body)).collect();
        let mut staged = Vec::new();
        self.store.stage_all(&drafts, &mut staged).unwrap();
        staged
    }

    pub fn commit(&self) {
        self.store.write_out().unwrap();
        if self.options.flush == Flush::Sync {
            self.store.flush_step().unwrap();
        }
        self.store.dispatch(&mut |_| ());
    }

    /// The bodies a consumer of the queue sees.
    pub fn bodies(&self, name: &str, id: u32) -> Vec<Vec<u8>> {
        let Some(queue) = self.store.find_queue(name, id) else {
            return Vec::new();
        };
        let mut entries = Vec::new();
        let all = usize::MAX >> 1;
        let read = self
            .store
            .entries(&queue, QueueOffset(0), all, Wait::Yes, &mut entries);
        read.unwrap();
        let mut bytes = Vec::new();
        (self.store.read_runs(&entries, &mut bytes, Wait::Yes)).unwrap();
        let mut bodies = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let view = View::parse(rest).unwrap();
            bodies.push(view.body().to_vec());
            rest = &rest[view.len()..];
        }
        bodies
    }

    pub fn flip(&self, path: &str, at: u64) {
        let file = self.disk.open(path).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, at).unwrap();
        file.write_at(&[byte[0] ^ 0x10], at).unwrap();
    }

    /// Removes everything that is derived, so that the next start reads the whole log.
    pub fn forget_queues(&self) {
        for dir in ["queue", "queues"] {
            for name in self.disk.list(dir).unwrap() {
                self.disk.remove(&format!("{dir}/{name}")).unwrap();
            }
        }
        let _ = self.disk.remove("pending");
    }
}
