//! Many requests at once: run one after the other, committed together, and answered together.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use model::{Level, Mark};
use tokio::time::{Instant, timeout_at};

use super::{Asked, Local, Short};
use crate::answer::Answer;
use crate::client::CallError;
use crate::frame::Decoder;
use crate::server::hub::LOCAL;
use crate::server::{Again, Outcome, Refusal, Run};

/// What came of a request; `None` if it was one-way.
type Told = Result<Option<Answer>, CallError>;

/// Requests that were run, and what they staged was committed. Their answers may have to wait until that is as
/// safe as they want it.
pub struct Burst {
    slots: Vec<Slot>,
    answers: Bytes,
    /// Nothing of what was staged counts.
    refused: Option<Refusal>,
}

/// What became of one request.
enum Slot {
    /// It ran to its end: where its answer lies, and the mark that must be reached before that is told.
    Ran(Range<usize>, Option<Mark>),
    /// It was one-way, or nothing is answered.
    Nothing,
    /// It runs again under its ticket, behind this work if there is some.
    Again(u64, Vec<u8>, Option<Box<dyn FnOnce() + Send>>),
    Failed(CallError),
}

impl Local {
    /// Runs requests that lie one behind the other, on the caller's thread, and commits what they staged. Ends
    /// at the first bytes that are no frame.
    pub fn begin(&self, requests: &[u8]) -> Burst {
        let mut decoder = Decoder::new();
        let (mut slots, mut answers) = (Vec::new(), Vec::new());
        let (mut rest, mut staged) = (requests, false);
        while let Ok(Some(length)) = Decoder::peek(rest)
            && let Some((request, behind)) = rest.split_at_checked(length)
        {
            let slot = self.run_one(&mut decoder, request, &mut answers, &mut staged);
            slots.push(slot);
            rest = behind;
        }
        let refused = match staged {
            true => self.service.commit().err(),
            false => None,
        };
        Burst {
            slots,
            answers: answers.into(),
            refused,
        }
    }

    fn run_one(
        &self,
        decoder: &mut Decoder,
        request: &[u8],
        answers: &mut Vec<u8>,
        staged: &mut bool,
    ) -> Slot {
        let frame = match decoder.decode(request) {
            Ok(frame) => frame,
            Err(error) => return Slot::Failed(CallError::Frame(error)),
        };
        let ticket = self.hub.connection_id(LOCAL).0;
        let run = Run {
            again: None,
            ticket,
        };
        let start = answers.len();
        let call = || self.service.call(&self.peer, &frame, run, &mut *answers);
        let outcome = catch_unwind(AssertUnwindSafe(call));
        let mark = match outcome {
            Ok(Outcome::Done) => None,
            Ok(Outcome::After(mark)) => Some(mark),
            not_yet => {
                answers.truncate(start);
                return match not_yet {
                    Ok(Outcome::Cold(job)) => Slot::Again(ticket, request.to_vec(), Some(job)),
                    Ok(_) => Slot::Again(ticket, request.to_vec(), None),
                    Err(_) => Slot::Failed(CallError::Panicked),
                };
            }
        };
        *staged |= mark.is_some();
        // What is said unasked may stand behind the answer; a caller in the process asks by itself.
        let written = answers.get(start..).map(Decoder::peek);
        let length = match written {
            Some(Ok(Some(length))) if !frame.is_oneway() => length,
            _ => 0,
        };
        answers.truncate(start + length);
        match length {
            0 => Slot::Nothing,
            _ => Slot::Ran(start..answers.len(), mark),
        }
    }

    /// The answers, in the order of the requests, if all of them may be told already; else the burst again.
    ///
    /// # Errors
    /// The burst: to be handed to [`Local::finish`].
    pub fn answers(&self, burst: Burst) -> Result<Vec<Told>, Burst> {
        let done = burst.slots.iter().all(|slot| match slot {
            Slot::Ran(_, Some(mark)) => burst.refused.is_some() || self.has(*mark),
            Slot::Ran(_, None) | Slot::Nothing | Slot::Failed(_) => true,
            Slot::Again(..) => false,
        });
        if !done {
            return Err(burst);
        }
        let Burst {
            slots,
            answers,
            refused,
        } = burst;
        let refused = refused.map(Short::Refused);
        let tell = |slot| match slot {
            Slot::Ran(at, mark) => Ok(Some(told(
                &answers,
                at,
                refused.as_ref().filter(|_| mark.is_some()),
            ))),
            Slot::Failed(error) => Err(error),
            Slot::Nothing | Slot::Again(..) => Ok(None),
        };
        Ok(slots.into_iter().map(tell).collect())
    }

    /// The answers, in the order of the requests; waits until they may be told. Requests that had to run again
    /// end at `until`.
    pub async fn finish(&self, burst: Burst, until: Instant) -> Vec<Told> {
        let Burst {
            slots,
            answers,
            refused,
        } = burst;
        let refused = refused.map(Short::Refused);
        let mut late = None;
        for level in [Level::Appended, Level::Flushed, Level::Confirmed] {
            let marks = slots.iter().filter_map(|slot| match slot {
                Slot::Ran(_, mark) => mark.filter(|mark| mark.level == level),
                _ => None,
            });
            if let (None, None, Some(last)) = (&refused, &late, marks.max_by_key(|mark| mark.at)) {
                late = self.until(last).await.err();
            }
        }
        let mut all = Vec::with_capacity(slots.len());
        for slot in slots {
            all.push(match slot {
                Slot::Nothing => Ok(None),
                Slot::Failed(error) => Err(error),
                Slot::Ran(at, mark) => {
                    let short = match (&refused, mark) {
                        (_, None) => None,
                        (Some(refused), Some(_)) => Some(refused),
                        (None, Some(mark)) => late.as_ref().filter(|_| !self.has(mark)),
                    };
                    Ok(Some(told(&answers, at, short)))
                }
                Slot::Again(ticket, request, job) => {
                    let ran = timeout_at(until, self.run_again(ticket, request, job));
                    ran.await.unwrap_or(Err(CallError::Timeout))
                }
            });
        }
        all
    }

    async fn run_again(
        &self,
        ticket: u64,
        request: Vec<u8>,
        job: Option<Box<dyn FnOnce() + Send>>,
    ) -> Told {
        let Some(job) = job else {
            return self.run(ticket, Asked::whole(&request), None).await;
        };
        let done = tokio::task::spawn_blocking(job).await;
        done.map_err(|_| CallError::Panicked)?;
        let asked = Asked::whole(&request);
        self.run(ticket, asked, Some(Again::Warm)).await
    }
}

/// The answer that lies there, or what is told instead.
fn told(answers: &Bytes, at: Range<usize>, short: Option<&Short>) -> Answer {
    let answer = answers.slice(at);
    match short {
        Some(short) => Answer::new(short.instead_of(answer.to_vec()).into()),
        None => Answer::new(answer),
    }
}
