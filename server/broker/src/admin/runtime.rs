//! The broker's state by Apache's names (`GET_BROKER_RUNTIME_INFO`): `mqadmin brokerStatus` and
//! `clusterList`, dashboards and exporters read these. There are no thread pools here, so their queues
//! are always empty.

use std::fmt::Write as _;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{LogOffset, QueueOffset};
use store::pending::SCHEDULE_TOPIC;
use store::{Entry, MarksView, Queue, Reads, Wait};

use crate::Broker;
use crate::settings::Setting;
use crate::stats::Counter;

/// The version of Apache RocketMQ whose behaviour is served, as a number and as a name.
pub(crate) const VERSION: (i32, &str) = (479, "V5_3_3");

/// The thread pools a reader expects, and the capacity of their queues.
const POOLS: &[(&str, u32)] = &[
    ("send", 10_000),
    ("pull", 100_000),
    ("litePull", 100_000),
    ("query", 20_000),
    ("ack", 100_000),
];

impl Broker {
    /// The broker's state by Apache's names.
    pub fn runtime(&self) -> Vec<(String, String)> {
        let mut table = Table(Vec::with_capacity(64));
        self.identity(&mut table);
        self.rates(&mut table);
        self.totals(&mut table);
        for (pool, capacity) in POOLS {
            table.put(&format!("{pool}ThreadPoolQueueSize"), 0);
            table.put(&format!("{pool}ThreadPoolQueueCapacity"), capacity);
            table.put(&format!("{pool}ThreadPoolQueueHeadWaitTimeMills"), 0);
        }
        table.put("EndTransactionQueueSize", 0);
        table.put("EndTransactionThreadPoolQueueCapacity", 100_000);
        self.log_figures(&mut table);
        for name in ["timerReadBehind", "timerOffsetBehind", "timerCongestNum"] {
            table.put(name, 0);
        }
        let (now, minute) = (self.clock.mono(), Duration::from_secs(60));
        for (name, counter) in [
            ("timerEnqueueTps", &self.stats.timers_in),
            ("timerDequeueTps", &self.stats.timers_out),
        ] {
            table.put(name, format!("{:?}", counter.rate(now, minute)));
        }
        self.levels(&mut table);
        table.0
    }

    /// Of each delay level that was ever used: where the first message lies that still waits, and the
    /// end. What was appended again before its segment was deleted counts from its new place.
    fn levels(&self, table: &mut Table) {
        for id in 0..self.options.delay_levels.len() as u32 {
            let Some(queue) = self.store.find_queue(SCHEDULE_TOPIC, id) else {
                continue;
            };
            let (mut from, end) = (queue.start().0, queue.end().0);
            let mut to = end;
            while from < to {
                let middle = from + (to - from) / 2;
                match self.has_come(&queue, middle) {
                    Some(true) => from = middle + 1,
                    Some(false) => to = middle,
                    // Not in memory: what is that old has come long ago.
                    None => from = middle + 1,
                }
            }
            if end > 0 {
                table.put(
                    &format!("scheduleMessageOffset_{}", id + 1),
                    format!("{from},{end}"),
                );
            }
        }
    }

    /// Whether the delayed message in this place does not wait any more; `None` if its entry is not in
    /// memory.
    fn has_come(&self, queue: &Queue, at: u64) -> Option<bool> {
        let mut entry = Vec::with_capacity(1);
        match (self.store).entries(queue, QueueOffset(at), 1, Wait::No, &mut entry) {
            Ok(Reads::Done) => {
                let waits = |entry: &Entry| self.store.pending().contains(entry.log_offset);
                Some(!entry.first().is_some_and(waits))
            }
            _ => None,
        }
    }

    fn identity(&self, table: &mut Table) {
        table.put("brokerVersion", VERSION.0);
        table.put("brokerVersionDesc", VERSION.1);
        table.put("brokerActive", true);
        table.put("bootTimestamp", self.started_at);
        table.put(
            "runtime",
            running_time(self.clock.mono().saturating_sub(self.started)),
        );
        table.put(
            "startAcceptSendRequestTimeStamp",
            self.settings.number(Setting::AcceptSendsFrom),
        );
    }

    fn rates(&self, table: &mut Table) {
        let now = self.clock.mono();
        let rates = |counters: &[&Counter]| {
            let mut text = String::new();
            for seconds in [10, 60, 600] {
                let window = Duration::from_secs(seconds);
                let rate: f64 = counters
                    .iter()
                    .map(|counter| counter.rate(now, window))
                    .sum();
                let blank = if text.is_empty() { "" } else { " " };
                let _ = write!(text, "{blank}{rate:?}");
            }
            text
        };
        let stats = &self.stats;
        table.put("putTps", rates(&[&stats.put]));
        table.put("getFoundTps", rates(&[&stats.found]));
        table.put("getMissTps", rates(&[&stats.missed]));
        table.put("getTotalTps", rates(&[&stats.found, &stats.missed]));
        // 4.9 writes it with one r.
        for name in ["getTransferredTps", "getTransferedTps"] {
            table.put(name, rates(&[&stats.transferred]));
        }
    }

    fn totals(&self, table: &mut Table) {
        let (stats, days) = (&self.stats, self.stats.days());
        let (puts, bytes) = (stats.put.total(), stats.put_bytes.total());
        table.put("putMessageTimesTotal", puts);
        table.put("putMessageFailedTimes", stats.put_failed.total());
        table.put("putMessageSizeTotal", bytes);
        table.put(
            "putMessageAverageSize",
            format!("{:?}", bytes as f64 / puts.max(1) as f64),
        );
        let times = &stats.put_time;
        table.put("putMessageEntireTimeMax", times.longest());
        let longest = stats.longest_get_ms.load(Ordering::Relaxed);
        table.put("getMessageEntireTimeMax", longest);
        table.put("putMessageDistributeTime", times.distribution());
        for (name, share) in [("putLatency99", 0.99), ("putLatency999", 0.999)] {
            table.put(name, format!("{:.2}", times.quantile(share)));
        }
        table.put("dispatchMaxBuffer", 0);
        table.put("msgPutTotalYesterdayMorning", days.put_yesterday);
        table.put("msgPutTotalTodayMorning", days.put_today);
        // The broker's own topics are not counted here.
        table.put("msgPutTotalTodayNow", stats.put_by_users());
        table.put("msgGetTotalYesterdayMorning", days.got_yesterday);
        table.put("msgGetTotalTodayMorning", days.got_today);
        table.put("msgGetTotalTodayNow", stats.got_by_users());
    }

    fn log_figures(&self, table: &mut Table) {
        let marks: MarksView = self.store.marks();
        let start = self.store.log_start();
        let behind = |from: LogOffset, to: LogOffset| from.0.saturating_sub(to.0);
        table.put("commitLogMinOffset", start);
        table.put("commitLogMaxOffset", marks.appended);
        table.put(
            "dispatchBehindBytes",
            behind(marks.appended, marks.dispatched),
        );
        let unflushed = behind(marks.appended, marks.flushed);
        table.put("remainHowManyDataToFlush", human(unflushed));
        table.put("remainTransientStoreBufferNumbs", i32::MAX);
        table.put("pageCacheLockTimeMills", 0);
        let earliest = *self.earliest.lock().unwrap_or_else(PoisonError::into_inner);
        table.put(
            "earliestMessageTimeStamp",
            earliest.map_or(-1, |(_, stored_at)| stored_at),
        );
        if let Some(space) = self.store.space() {
            let used = space.total.saturating_sub(space.free) as f64 / space.total.max(1) as f64;
            table.put("commitLogDiskRatio", format!("{used:.2}"));
            let path = format!("commitLogDiskRatio_{}", self.store.place());
            table.put(&path, format!("{used:.2}"));
            table.put("consumeQueueDiskRatio", format!("{used:.2}"));
            let (total, free) = (human(space.total), human(space.free));
            table.put(
                "commitLogDirCapacity",
                format!("Total : {total}, Free : {free}."),
            );
        }
    }
}

struct Table(Vec<(String, String)>);

impl Table {
    fn put(&mut self, name: &str, value: impl ToString) {
        self.0.push((name.to_owned(), value.to_string()));
    }
}

fn running_time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {seconds} seconds ]")
}

/// Bytes as Apache's `UtilAll.humanReadableByteCount` words them.
fn human(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = ' ';
    for next in ['K', 'M', 'G', 'T', 'P', 'E'] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    format!("{value:.1} {unit}iB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_worded_like_apaches() {
        assert_eq!(human(206), "206 B");
        assert_eq!(human(252 << 30), "252.0 GiB");
        assert_eq!(
            running_time(Duration::from_secs(31 * 60 + 38)),
            "[ 0 days, 0 hours, 31 minutes, 38 seconds ]"
        );
    }
}
