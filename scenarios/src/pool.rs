//! Several threads, whose results come in the order of the work.
//!
//! Seeds are independent, and threads finish them in any order. What is concluded from them (the first failure, the seed
//! that shows a figure, whether a hunt is over) must not depend on which thread was faster.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Results that wait to be taken, for each thread: a slow taker holds the threads up before memory grows.
const WAITING: usize = 4;

/// Does pieces of work 0, 1, 2, ... on `threads` threads, and gives each result to `take` on this thread, in that order.
///
/// A thread ends when `work` has nothing for it. What lies behind a piece of work without a result is never taken. No
/// piece is begun once `take` breaks; its value is the answer.
pub fn ordered<R: Send, B>(
    threads: usize,
    work: impl Fn(usize) -> Option<R> + Sync,
    mut take: impl FnMut(usize, R) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel(threads.max(1) * WAITING);
        for _ in 0..threads.max(1) {
            let (send, next, work) = (send.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(result) = work(n) else { return };
                    if send.send((n, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let (mut early, mut taken) = (BTreeMap::new(), 0);
        // The receiver goes when this loop is left: threads end at their next result.
        for (n, result) in receive {
            early.insert(n, result);
            while let Some(result) = early.remove(&taken) {
                take(taken, result)?;
                taken += 1;
            }
        }
        ControlFlow::Continue(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Pieces whose number divides by three take longest.
    fn uneven(n: usize) -> usize {
        std::thread::sleep(Duration::from_micros(if n.is_multiple_of(3) { 900 } else { 50 }));
        n * n
    }

    #[test]
    fn results_come_in_order_however_long_each_takes() {
        let mut taken = Vec::new();
        let end = ordered(
            4,
            |n| (n < 60).then(|| uneven(n)),
            |n, square| {
                taken.push((n, square));
                ControlFlow::<()>::Continue(())
            },
        );
        assert!(end.is_continue());
        assert_eq!(taken, (0..60).map(|n| (n, n * n)).collect::<Vec<_>>());
    }

    #[test]
    fn a_break_ends_the_work_and_is_the_answer() {
        let begun = AtomicUsize::new(0);
        let work = |n| {
            begun.fetch_add(1, Ordering::Relaxed);
            Some(uneven(n))
        };
        let end = ordered(3, work, |n, _| if n == 10 { ControlFlow::Break("ten") } else { ControlFlow::Continue(()) });
        assert_eq!(end, ControlFlow::Break("ten"));
        assert!(begun.load(Ordering::Relaxed) <= 11 + 3 * WAITING + 2 * 3, "threads end soon");
    }

    #[test]
    fn what_lies_behind_work_without_a_result_is_not_taken() {
        let mut taken = Vec::new();
        let work = |n| (n != 5 && n < 20).then(|| uneven(n));
        let _ = ordered(3, work, |n, _| {
            taken.push(n);
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(taken, [0, 1, 2, 3, 4]);
    }
}
