//! Brokers are asked for several things at once where an answer needs one for each queue; few enough that nobody
//! else waits for these.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use crate::problem::{self, Problem};

/// What is asked for at once.
const AT_ONCE: usize = 16;

/// Does a piece of work for each of these, and gives the results in their order.
///
/// # Errors
/// The first that was met; what was begun beside it is given up.
pub(crate) async fn each<I, R, W>(
    items: impl IntoIterator<Item = I>,
    work: impl Fn(I) -> W,
) -> Result<Vec<R>, Problem>
where
    R: Send + 'static,
    W: Future<Output = Result<R, Problem>> + Send + 'static,
{
    let mut items = items.into_iter().enumerate();
    let (mut running, mut results) = (JoinSet::new(), BTreeMap::new());
    loop {
        while running.len() < AT_ONCE
            && let Some((place, item)) = items.next()
        {
            let work = work(item);
            running.spawn(async move { (place, work.await) });
        }
        let Some(done) = running.join_next().await else {
            return Ok(results.into_values().collect());
        };
        let (place, result) = done.map_err(|_| Problem::new(&problem::INTERNAL))?;
        results.insert(place, result?);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn some_run_at_once_and_all_come_in_order() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = |number: usize| {
            let (running, most) = (running.clone(), most.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // The later ones are done first.
                for _ in number % AT_ONCE..AT_ONCE {
                    tokio::task::yield_now().await;
                }
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(number)
            }
        };
        let all = each(0..100, work).await.unwrap();
        assert!(all.into_iter().eq(0..100));
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
    }

    #[tokio::test]
    async fn the_first_that_fails_ends_it() {
        let work = |number: usize| async move {
            match number {
                3 => Err(Problem::new(&problem::TOPIC_NOT_FOUND)),
                4.. => std::future::pending().await,
                _ => Ok(()),
            }
        };
        let failed = each(0..100, work).await.unwrap_err();
        assert_eq!(failed.to_json(None)["status"], 404);
    }
}
