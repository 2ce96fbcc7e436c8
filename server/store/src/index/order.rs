//! Puts the entries of a run in order.

use super::Item;

/// Sorts `items`. Hashes are spread evenly, so their upper two bytes bring an entry to within a few
/// places of where it belongs: two passes of counting, then small groups. A general sort of the same
/// buffer was three quarters of what deriving a message's keys cost. `space` is used, and keeps its
/// memory.
pub(super) fn sort(items: &mut Vec<Item>, space: &mut Vec<Item>) {
    scatter(items, space, 48);
    scatter(space, items, 56);
    for group in items.chunk_by_mut(|a, b| a.hash >> 48 == b.hash >> 48) {
        group.sort_unstable();
    }
}

/// Copies `from` to `to`, ordered by the byte of the hash at `shift`; what is equal stays in order.
fn scatter(from: &[Item], to: &mut Vec<Item>, shift: u32) {
    let byte = |item: &Item| usize::from((item.hash >> shift) as u8);
    let mut next = [0; 256];
    for item in from {
        next[byte(item)] += 1;
    }
    let mut sum = 0;
    for place in &mut next {
        sum += std::mem::replace(place, sum);
    }
    to.clear();
    to.resize(from.len(), Item::default());
    for item in from {
        let place = &mut next[byte(item)];
        to[*place] = *item;
        *place += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_a_plain_sort() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut space = Vec::new();
        for round in 0..200 {
            let few = round % 2 == 0;
            let mut items: Vec<Item> = (0..rng.usize(..3_000))
                .map(|_| Item {
                    hash: if few { rng.u64(..5) << 56 } else { rng.u64(..) },
                    at: rng.u64(..100),
                    stored_at: rng.i64(..3),
                })
                .collect();
            let mut plain = items.clone();
            plain.sort();
            sort(&mut items, &mut space);
            assert_eq!(items, plain);
        }
    }
}
