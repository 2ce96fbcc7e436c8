//! A place in a topic: the next offset of each queue. What is signed and handed out as an event's id.
//!
//! ```text
//! hash of the topic's name u32 | for each broker: length of its name u8, name, queues as a number, one number a queue
//! ```
//! Numbers are of seven bits a byte, the lowest first, so that a place in eight young queues takes 30
//! bytes.

use posthouse_client::Queue;

/// The next offset of each queue, in the order of the topic's queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place(pub Vec<u64>);

impl Place {
    /// The next offset of one queue.
    pub(crate) fn set(&mut self, queue: usize, next: u64) {
        if let Some(own) = self.0.get_mut(queue) {
            *own = next;
        }
    }

    /// The bytes of a cursor. `queues` are sorted, and their ids of each broker dense from 0.
    pub(crate) fn write(&self, topic: &str, queues: &[Queue]) -> Vec<u8> {
        let mut out = hash(topic).to_be_bytes().to_vec();
        let mut all = queues.iter().zip(&self.0).peekable();
        while let Some((first, _)) = all.peek() {
            let broker = first.broker.clone();
            out.push(u8::try_from(broker.len()).unwrap_or(u8::MAX));
            out.extend(broker.bytes().take(usize::from(u8::MAX)));
            let mut own = Vec::new();
            while let Some((_, next)) = all.next_if(|(queue, _)| queue.broker == broker) {
                own.push(*next);
            }
            push(&mut out, own.len() as u64);
            own.into_iter().for_each(|next| push(&mut out, next));
        }
        out
    }

    /// Reads a cursor of this topic. A queue that it does not know is new since: it begins at its start.
    pub(crate) fn read(bytes: &[u8], topic: &str, queues: &[Queue]) -> Option<Place> {
        let (head, mut rest) = bytes.split_at_checked(4)?;
        if head != hash(topic).to_be_bytes() {
            return None;
        }
        let mut place = Place(vec![0; queues.len()]);
        while !rest.is_empty() {
            let (length, behind) = rest.split_first()?;
            let (broker, behind) = behind.split_at_checked(usize::from(*length))?;
            rest = behind;
            for id in 0..pull(&mut rest)? {
                let next = pull(&mut rest)?;
                let known =
                    |queue: &Queue| queue.broker.as_bytes() == broker && u64::from(queue.id) == id;
                if let Some(at) = queues.iter().position(known) {
                    *place.0.get_mut(at)? = next;
                }
            }
        }
        Some(place)
    }
}

/// FNV-1a: a cursor of another topic is told apart, and nobody can forge one anyway.
fn hash(topic: &str) -> u32 {
    topic.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn push(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn pull(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues() -> Vec<Queue> {
        let of = |broker: &str, id| Queue::new("t", broker, id);
        vec![of("a", 0), of("a", 1), of("b", 0)]
    }

    #[test]
    fn a_place_is_read_back_and_a_new_queue_begins_at_its_start() {
        let place = Place(vec![0, u64::MAX, 300]);
        let bytes = place.write("t", &queues());
        assert_eq!(Place::read(&bytes, "t", &queues()), Some(place));
        let mut more = queues();
        more.insert(2, Queue::new("t", "a", 2));
        let grown = Place::read(&bytes, "t", &more).unwrap();
        assert_eq!(grown.0, [0, u64::MAX, 0, 300]);
        assert_eq!(Place::read(&bytes, "u", &queues()), None);
    }

    #[test]
    fn what_is_cut_off_is_no_place() {
        let bytes = Place(vec![1, 2, 300]).write("t", &queues());
        let whole = [4, bytes.len()];
        for end in 0..bytes.len() {
            let read = Place::read(&bytes[..end], "t", &queues());
            // A cut between two brokers reads as a cursor from before the second one came.
            assert!(read.is_none() || whole.contains(&end) || end == 9, "{end}");
        }
    }

    #[test]
    fn a_place_in_eight_young_queues_is_short() {
        let queues: Vec<Queue> = (0..8).map(|id| Queue::new("t", "broker-a", id)).collect();
        assert!(Place(vec![1_000; 8]).write("t", &queues).len() <= 30);
    }
}
