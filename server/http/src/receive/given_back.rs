//! Leases that are given back unless their caller got them.

use std::time::Duration;

use posthouse_client::{Leased, SimpleConsumer};

use crate::told::Promise;

/// A message that is given back comes again so soon.
const SOON: Duration = Duration::from_millis(1);

/// Messages on lease for a caller. Dropped before the caller got them, they are given back, unless another answer lent them.
pub(crate) struct Unless {
    consumer: SimpleConsumer,
    leased: Vec<Leased>,
    replayed: bool,
}

impl Unless {
    /// `replayed`: they were lent to this caller's request before.
    pub(crate) fn new(consumer: SimpleConsumer, leased: Vec<Leased>, replayed: bool) -> Unless {
        Unless {
            consumer,
            leased,
            replayed,
        }
    }

    pub(crate) fn was_lent_before(&self) -> bool {
        self.replayed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.leased.is_empty()
    }

    pub(crate) fn messages(&self) -> &[Leased] {
        &self.leased
    }
}

impl Promise for Unless {
    fn told(&mut self) {
        self.leased.clear();
    }
}

impl Drop for Unless {
    fn drop(&mut self) {
        // What was lent before may have been told then: those leases are somebody's.
        if self.leased.is_empty() || self.replayed {
            return;
        }
        let (consumer, leased) = (self.consumer.clone(), std::mem::take(&mut self.leased));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        // Not waited for by anybody: if it fails, the leases end by themselves.
        runtime.spawn(async move {
            for one in &leased {
                // Uncounted; a broker that cannot, counts.
                let given_back = consumer.release(&one.lease, Duration::ZERO, false).await;
                let given_back = match given_back {
                    Ok(_) => Ok(()),
                    Err(_) => consumer.extend(&one.lease, SOON).await.map(drop),
                };
                if let Err(error) = given_back {
                    tracing::debug!(%error, lease = %one.lease, "a lease whose caller is gone ends by itself");
                }
            }
        });
    }
}
