//! What a leader knows of one follower. Follows Kafka's `Replica` and `ReplicaState`.

use crate::controller::image::Image;
use crate::ids::*;
use crate::units::{Duration, Instant};

/// A follower, as its leader sees it.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    /// Its id.
    pub id: NodeId,
    /// One past the last offset it is known to have; [`Offset::NONE`] until it fetches in this epoch.
    pub log_end: Offset,
    /// Its log start.
    pub log_start: Offset,
    /// Of its last fetch, if it told.
    pub broker_epoch: Option<BrokerEpoch>,
    /// The leader's log end at its last fetch.
    leader_end_at_last_fetch: Offset,
    last_fetch: Option<Instant>,
    last_caught_up: Option<Instant>,
}

impl Replica {
    /// One that has never been heard of.
    pub fn new(id: NodeId) -> Replica {
        Replica {
            id,
            log_end: Offset::NONE,
            log_start: Offset::NONE,
            broker_epoch: None,
            leader_end_at_last_fetch: Offset(0),
            last_fetch: None,
            last_caught_up: None,
        }
    }

    /// A leader epoch begins. Followers in the ISR get the benefit of the doubt for `replica.lag.time.max.ms`;
    /// others count as never caught up, so that they do not hold the high watermark back.
    pub fn reset(&mut self, now: Instant, leader_end: Offset, new_leader: bool, in_sync: bool) {
        let since = in_sync.then_some(now);
        if new_leader {
            *self = Replica { last_caught_up: since, leader_end_at_last_fetch: Offset::NONE, ..Replica::new(self.id) };
        } else {
            self.leader_end_at_last_fetch = leader_end;
            self.last_fetch = since;
            self.last_caught_up = since;
        }
    }

    /// It fetched from `fetch_offset` while the leader's log ended at `leader_end`.
    ///
    /// Caught up is one that reads up to the leader's end of now, or of its last fetch: otherwise a steady stream of
    /// small appends would keep every follower out.
    pub fn fetched(
        &mut self,
        now: Instant,
        fetch_offset: Offset,
        log_start: Offset,
        leader_end: Offset,
        broker_epoch: BrokerEpoch,
    ) {
        if fetch_offset >= leader_end {
            self.last_caught_up = self.last_caught_up.max(Some(now));
        } else if fetch_offset >= self.leader_end_at_last_fetch {
            self.last_caught_up = self.last_caught_up.max(self.last_fetch);
        }
        self.log_start = log_start;
        self.log_end = fetch_offset;
        self.leader_end_at_last_fetch = leader_end.max(self.leader_end_at_last_fetch);
        self.last_fetch = Some(now);
        self.broker_epoch = Some(broker_epoch);
    }

    /// At the leader's end, or there no longer than `lag_max` ago.
    pub fn is_caught_up(&self, leader_end: Offset, now: Instant, lag_max: Duration) -> bool {
        self.log_end == leader_end || self.last_caught_up.is_some_and(|at| now.since(at) <= lag_max)
    }

    /// Whether it is unfenced, not shutting down, and the incarnation that fetches is the registered one (KIP-841,
    /// KIP-903).
    pub fn may_join(&self, image: &Image) -> bool {
        let (Some(broker), Some(epoch)) = (image.broker(self.id), self.broker_epoch) else { return false };
        broker.is_active() && (epoch.0 == -1 || epoch == broker.epoch)
    }
}
