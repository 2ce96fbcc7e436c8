//! Bugs planted on purpose, so that the tests which must find them can be tested.
//!
//! They exist in debug builds only and sleep unless POSTHOUSE_SEEDED_BUG names one.

use std::sync::Arc;

use remoting::server::Service;

/// The service, or the service with a planted bug.
#[cfg(not(debug_assertions))]
pub fn service(service: Arc<dyn Service>) -> Arc<dyn Service> {
    service
}

/// The service, or the service with a planted bug.
#[cfg(debug_assertions)]
pub fn service(service: Arc<dyn Service>) -> Arc<dyn Service> {
    match std::env::var("POSTHOUSE_SEEDED_BUG").as_deref() {
        Ok("answer-before-write") => Arc::new(bugs::AnswerBeforeWrite::new(service)),
        _ => service,
    }
}

/// The bug planted in what the broker does, if one is.
pub fn broker() -> broker::Planted {
    #[cfg(debug_assertions)]
    {
        let planted = match std::env::var("POSTHOUSE_SEEDED_BUG").as_deref() {
            Ok("delivered-in-two-steps") => broker::Planted::DeliveredInTwoSteps,
            Ok("committed-in-two-steps") => broker::Planted::CommittedInTwoSteps,
            Ok("leases-without-end") => broker::Planted::LeasesWithoutEnd,
            _ => broker::Planted::Nothing,
        };
        if planted != broker::Planted::Nothing {
            tracing::error!(?planted, "this broker has a planted bug");
        }
        planted
    }
    #[cfg(not(debug_assertions))]
    broker::Planted::Nothing
}

/// Never returns if the planted bug is an end without end.
pub fn end() {
    #[cfg(debug_assertions)]
    while std::env::var("POSTHOUSE_SEEDED_BUG").as_deref() == Ok("never-ends") {
        std::thread::park();
    }
}

#[cfg(debug_assertions)]
mod bugs {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use model::{Level, LogOffset};
    use remoting::Frame;
    use remoting::server::{Outcome, Peer, Refusal, Run, Service};

    /// Answers leave without waiting for their mark, and only every twentieth batch is written.
    pub struct AnswerBeforeWrite {
        service: Arc<dyn Service>,
        batches: AtomicU64,
    }

    impl AnswerBeforeWrite {
        pub fn new(service: Arc<dyn Service>) -> AnswerBeforeWrite {
            tracing::error!("this broker has a planted bug: it answers before it writes");
            AnswerBeforeWrite {
                service,
                batches: AtomicU64::new(0),
            }
        }
    }

    impl Service for AnswerBeforeWrite {
        fn call(&self, peer: &Peer, request: &Frame<'_>, run: Run, out: &mut Vec<u8>) -> Outcome {
            self.service.call(peer, request, run, out)
        }

        fn commit(&self) -> Result<(), Refusal> {
            match self.batches.fetch_add(1, Ordering::Relaxed) % 20 {
                0 => self.service.commit(),
                _ => Ok(()),
            }
        }

        fn reached(&self, _level: Level) -> LogOffset {
            LogOffset(u64::MAX)
        }

        fn failed(&self) -> Option<Refusal> {
            self.service.failed()
        }

        fn late(&self, level: Level) -> i32 {
            self.service.late(level)
        }

        fn mark_timeout(&self) -> Duration {
            self.service.mark_timeout()
        }

        fn opened(&self, peer: &Arc<Peer>) {
            self.service.opened(peer);
        }

        fn closed(&self, peer: &Peer) {
            self.service.closed(peer);
        }

        fn answered(&self, peer: &Peer, response: &Frame<'_>) {
            self.service.answered(peer, response);
        }
    }
}
