//! Many results and many messages at once, as buffers that JavaScript reads when it needs to.

use ffi::slab::{Last, Strings};
use napi::bindgen_prelude::{Buffer, Uint32Array};
use napi_derive::napi;
use posthouse_client::{SendStatus, Sent};

use crate::error::Failure;

/// Received messages; see [`ffi::slab`] for the numbers.
#[napi(object, object_from_js = false)]
pub struct Frame {
    /// Bodies and texts.
    pub slab: Buffer,
    /// Numbers of each message.
    pub meta: Uint32Array,
    /// What the numbers of strings mean.
    pub strings: Vec<String>,
}

impl From<ffi::slab::Frame> for Frame {
    fn from(frame: ffi::slab::Frame) -> Frame {
        Frame {
            slab: frame.slab.into(),
            meta: frame.meta.into(),
            strings: frame.strings.iter().map(|text| text.to_string()).collect(),
        }
    }
}

/// Results of sends.
///
/// Numbers of each: id (low, high), status, topic, broker, queue, offset (low, high), then where the text
/// begins in `slab` and how long its parts are: message id, offset message id, recall handle; whether an earlier
/// send with its idempotency key had stored it; and, if it failed, one more than the number of its failure.
#[napi(object, object_from_js = false)]
pub struct Results {
    /// Texts.
    pub slab: Buffer,
    /// Numbers of each result.
    pub meta: Uint32Array,
    /// What the numbers of strings mean.
    pub strings: Vec<String>,
    /// What went wrong.
    pub failures: Vec<Failure>,
}

/// Numbers a result.
const META: usize = 14;

/// Puts results into buffers.
pub fn results(ended: Vec<(u64, ffi::Result<Sent>)>) -> Results {
    let mut slab: Vec<u8> = Vec::with_capacity(ended.len() * TEXT);
    let mut meta: Vec<u32> = Vec::with_capacity(ended.len() * META);
    let (mut strings, mut failures) = (Strings::default(), Vec::new());
    let (mut topics, mut brokers) = <(Last<_>, Last<_>)>::default();
    for (id, result) in ended {
        let mut numbers = [0_u32; META];
        numbers[..2].copy_from_slice(&halves(id));
        match result {
            Err(error) => {
                failures.push(error.into());
                numbers[META - 1] = failures.len() as u32;
            }
            Ok(sent) => {
                numbers[2] = status(sent.status);
                numbers[3] = topics.number(&sent.queue.topic, &mut strings);
                numbers[4] = brokers.number(&sent.queue.broker, &mut strings);
                numbers[5] = sent.queue.id;
                numbers[6..8].copy_from_slice(&halves(sent.queue_offset));
                numbers[8] = slab.len() as u32;
                numbers[12] = sent.replayed.into();
                let handle = sent.recall_handle.as_deref().unwrap_or_default();
                for (at, text) in [&sent.id, &sent.offset_id, handle].into_iter().enumerate() {
                    numbers[9 + at] = text.len() as u32;
                    slab.extend_from_slice(text.as_bytes());
                }
            }
        }
        meta.extend_from_slice(&numbers);
    }
    Results {
        slab: slab.into(),
        meta: meta.into(),
        strings: strings.into_texts(),
        failures,
    }
}

/// Bytes of the two ids of a result.
const TEXT: usize = 64;

fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

fn status(status: SendStatus) -> u32 {
    match status {
        SendStatus::Stored => 0,
        SendStatus::FlushDiskTimeout => 1,
        SendStatus::FlushSlaveTimeout => 2,
        SendStatus::SlaveNotAvailable => 3,
    }
}
