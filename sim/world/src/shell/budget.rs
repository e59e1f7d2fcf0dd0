//! What peers may take of a process's memory: requests are paid for as their bytes come, answers until they are sent.
//!
//! A frame's length is a claim that costs nothing. If the budget of requests is used up, one frame at a time may go beyond it,
//! so that frames of which a part has come never wait for one another for ever.

use super::limits::{FIRST_CHUNK, Limits};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Bytes of answers that may wait on a connection before its next request is handed to the node.
const ANSWERS_AHEAD: usize = 1 << 20;

/// The bytes of requests that are read and not answered yet, of one process.
#[derive(Debug)]
pub(super) struct Requests {
    bytes: Arc<Semaphore>,
    /// Had by the one frame that may go beyond.
    beyond: Arc<Semaphore>,
    /// How many frames wait to be paid for.
    waiting: Cell<usize>,
}

/// What one request has been paid with.
#[derive(Debug, Default)]
pub(super) struct Paid {
    upto: usize,
    bytes: Option<OwnedSemaphorePermit>,
    beyond: Option<OwnedSemaphorePermit>,
}

/// One frame waits, for as long as this lives.
struct Waits<'a>(&'a Cell<usize>);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Requests {
    pub(super) fn new(limits: &Limits) -> Requests {
        let budget = limits.bytes_in_flight.max(limits.frame_bytes).min(Semaphore::MAX_PERMITS);
        let (bytes, beyond) = (Arc::new(Semaphore::new(budget)), Arc::new(Semaphore::new(1)));
        Requests { bytes, beyond, waiting: Cell::new(0) }
    }

    /// Whether frames wait for bytes that others hold.
    pub(super) fn are_short(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Pays for a frame of `size` bytes of which `have` have come: for these, and a few that may come next.
    pub(super) async fn pay(&self, paid: &mut Paid, have: usize, size: usize) {
        let upto = size.min(have + FIRST_CHUNK);
        if paid.beyond.is_some() || upto <= paid.upto {
            return;
        }
        let more = u32::try_from(upto - paid.upto).unwrap_or(u32::MAX);
        let permit = match self.bytes.clone().try_acquire_many_owned(more) {
            Ok(permit) => permit,
            Err(_) => {
                self.waiting.set(self.waiting.get() + 1);
                let _waits = Waits(&self.waiting);
                tokio::select! {
                    biased;
                    permit = self.bytes.clone().acquire_many_owned(more) => permit.expect("never closed"),
                    beyond = self.beyond.clone().acquire_owned() => {
                        paid.beyond = Some(beyond.expect("never closed"));
                        return;
                    }
                }
            }
        };
        match &mut paid.bytes {
            Some(bytes) => bytes.merge(permit),
            none => *none = Some(permit),
        }
        paid.upto = upto;
    }
}

/// The bytes of answers that are not sent yet, of one process.
#[derive(Debug, Default)]
pub(super) struct Answers {
    bytes: Cell<usize>,
}

/// Those of one connection.
#[derive(Debug)]
pub(super) struct Unsent {
    of_process: Rc<Answers>,
    bytes: Cell<usize>,
    /// When the peer last took some, or owed none.
    moved: Cell<Instant>,
    fewer: Notify,
    /// Its answers are dropped, and not counted any more.
    given_up: Cell<bool>,
}

/// An answer that is not sent yet, for as long as this lives.
#[derive(Debug)]
pub(super) struct Owed {
    of: Rc<Unsent>,
    bytes: usize,
}

impl Unsent {
    pub(super) fn new(of_process: Rc<Answers>) -> Rc<Unsent> {
        let (bytes, moved) = (Cell::new(0), Cell::new(Instant::now()));
        Rc::new(Unsent { of_process, bytes, moved, fewer: Notify::new(), given_up: Cell::new(false) })
    }

    /// An answer waits.
    pub(super) fn owe(self: &Rc<Self>, bytes: usize) -> Owed {
        if self.bytes.get() == 0 {
            self.moved();
        }
        if !self.given_up.get() {
            self.bytes.set(self.bytes.get() + bytes);
            self.of_process.bytes.set(self.of_process.bytes.get() + bytes);
        }
        Owed { of: self.clone(), bytes }
    }

    /// The peer took some bytes.
    pub(super) fn moved(&self) {
        self.moved.set(Instant::now());
    }

    /// Waits until few enough answers wait.
    pub(super) async fn few(&self) {
        while self.bytes.get() > ANSWERS_AHEAD {
            self.fewer.notified().await;
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if !self.of.given_up.get() {
            self.of.bytes.set(self.of.bytes.get() - self.bytes);
            self.of.of_process.bytes.set(self.of.of_process.bytes.get() - self.bytes);
            self.of.fewer.notify_waiters();
        }
    }
}

impl Answers {
    /// Takes connections out of account while more bytes wait than may: those whose peers have taken nothing for longest.
    /// Returns which, of those given.
    pub(super) fn give_up<'a, K: Copy>(&self, limit: usize, of: impl Iterator<Item = (K, &'a Rc<Unsent>)>) -> Vec<K> {
        if self.bytes.get() <= limit {
            return Vec::new();
        }
        let mut waiting: Vec<(K, &Rc<Unsent>)> =
            of.filter(|(_, unsent)| unsent.bytes.get() > 0 && !unsent.given_up.get()).collect();
        waiting.sort_by_key(|(_, unsent)| unsent.moved.get());
        let mut given_up = Vec::new();
        for (key, unsent) in waiting {
            if self.bytes.get() <= limit {
                break;
            }
            self.bytes.set(self.bytes.get() - unsent.bytes.get());
            unsent.given_up.set(true);
            given_up.push(key);
        }
        given_up
    }
}

/// What a request that is not answered yet takes of the process: its place, its bytes.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) _place: OwnedSemaphorePermit,
    pub(super) _paid: Paid,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn requests(budget: usize) -> Requests {
        Requests::new(&Limits { frame_bytes: budget, bytes_in_flight: budget, ..Limits::default() })
    }

    async fn pays(requests: &Requests, paid: &mut Paid, have: usize, size: usize) -> bool {
        tokio::time::timeout(Duration::from_secs(1), requests.pay(paid, have, size)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_costs_what_has_come() {
        let requests = requests(1 << 20);
        let mut claims: Vec<Paid> = (0..100).map(|_| Paid::default()).collect();
        for paid in &mut claims {
            assert!(pays(&requests, paid, 10, 100 << 20).await);
            assert_eq!(paid.upto, 10 + FIRST_CHUNK);
        }
        let mut whole = Paid::default();
        assert!(pays(&requests, &mut whole, 800_000, 800_000).await && whole.beyond.is_none());
        assert!(!requests.are_short());
    }

    #[tokio::test(start_paused = true)]
    async fn parts_of_frames_never_wait_for_one_another_for_ever() {
        let requests = requests(100_000);
        let mut parts: Vec<Paid> = (0..4).map(|_| Paid::default()).collect();
        for paid in &mut parts {
            assert!(pays(&requests, paid, 23_000, 90_000).await);
        }
        // The budget is gone, and none of the four is whole: one goes beyond it, the others wait for that one.
        assert!(pays(&requests, &mut parts[0], 90_000, 90_000).await && parts[0].beyond.is_some());
        assert!(!pays(&requests, &mut parts[1], 90_000, 90_000).await);
        let first = parts.remove(0);
        drop(first);
        assert!(pays(&requests, &mut parts[0], 90_000, 90_000).await);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_take_nothing_for_longest_are_given_up() {
        let answers = Rc::new(Answers::default());
        let all: Vec<Rc<Unsent>> = (0..3).map(|_| Unsent::new(answers.clone())).collect();
        let mut owed = Vec::new();
        for unsent in &all {
            tokio::time::advance(Duration::from_secs(1)).await;
            owed.push(unsent.owe(100));
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        all[0].moved();
        let given_up = |limit| answers.give_up(limit, all.iter().enumerate());
        assert!(given_up(300).is_empty());
        assert_eq!(given_up(299), [1], "the first has moved since");
        assert_eq!(answers.bytes.get(), 200);
        drop(owed.remove(1));
        assert_eq!(answers.bytes.get(), 200, "what was given up counts no more");
        assert_eq!(given_up(0), [2, 0]);
        drop(owed);
        assert_eq!(answers.bytes.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_while_many_answers_do() {
        let unsent = Unsent::new(Rc::default());
        let (large, small) = (unsent.owe(ANSWERS_AHEAD), unsent.owe(1));
        assert!(tokio::time::timeout(Duration::from_secs(9), unsent.few()).await.is_err());
        tokio::join!(unsent.few(), async { drop(small) });
        drop(large);
        unsent.few().await;
    }
}
