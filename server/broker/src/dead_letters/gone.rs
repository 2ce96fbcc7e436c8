//! A set of positions as ranges. Pure.

use std::collections::BTreeMap;

/// Positions that are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gone(BTreeMap<u64, u64>);

impl Gone {
    /// Adds the range.
    pub fn add(&mut self, mut from: u64, mut to: u64) {
        if from >= to {
            return;
        }
        if let Some((&before, &end)) = self.0.range(..=from).next_back()
            && end >= from
        {
            from = before;
            to = to.max(end);
        }
        let touched: Vec<u64> = self.0.range(from..=to).map(|(&start, _)| start).collect();
        for start in touched {
            to = to.max(self.0.remove(&start).unwrap_or(0));
        }
        self.0.insert(from, to);
    }

    /// Whether a position is gone.
    pub fn contains(&self, at: u64) -> bool {
        let before = self.0.range(..=at).next_back();
        before.is_some_and(|(_, &end)| at < end)
    }

    /// How many of a range are not gone.
    pub fn left(&self, from: u64, to: u64) -> u64 {
        let cut = |(start, end): (u64, u64)| end.min(to).saturating_sub(start.max(from));
        to.saturating_sub(from) - self.ranges().map(cut).sum::<u64>()
    }

    /// Forgets what is below a position.
    pub fn forget_below(&mut self, start: u64) {
        self.0.retain(|_, end| *end > start);
    }

    /// The ranges in order: first position, position behind the last.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(&from, &to)| (from, to))
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one_and_the_set_is_what_was_added() {
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..500 {
            let (mut gone, mut plain) = (Gone::default(), [false; 64]);
            for _ in 0..rng.usize(..12) {
                let from = rng.u64(..60);
                let to = from + rng.u64(..8);
                gone.add(from, to.min(64));
                (from..to.min(64)).for_each(|at| plain[at as usize] = true);
            }
            for at in 0..64 {
                assert_eq!(gone.contains(at), plain[at as usize], "{gone:?} {at}");
            }
            let left = plain.iter().filter(|gone| !**gone).count();
            assert_eq!(gone.left(0, 64), left as u64);
            let ranges: Vec<_> = gone.ranges().collect();
            assert!(
                ranges.windows(2).all(|pair| pair[0].1 < pair[1].0),
                "{ranges:?}"
            );
        }
    }
}
