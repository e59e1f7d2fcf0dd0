//! Brokers' sessions: who has been heard of lately, and what a heartbeat makes of a broker. Volatile: a controller
//! that becomes active gives every broker a full session. Follows Kafka's `BrokerHeartbeatManager`.

use crate::ids::*;
use crate::units::{Duration, Instant};
use std::collections::BTreeMap;

/// What the controller holds a broker to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BrokerState {
    /// Kept out.
    Fenced,
    /// Takes part.
    Unfenced,
    /// Its leaderships are being moved away.
    ControlledShutdown,
    /// It may stop.
    ShutdownNow,
}

impl BrokerState {
    /// Whether a broker in that state is fenced.
    pub const fn fenced(self) -> bool {
        matches!(self, BrokerState::Fenced | BrokerState::ShutdownNow)
    }
}

/// What a heartbeat asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// The last offset of the metadata log that the broker has applied.
    pub metadata_offset: Offset,
    /// It wants to be kept out.
    pub want_fence: bool,
    /// It wants to stop.
    pub want_shut_down: bool,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    last_contact: Instant,
    metadata_offset: Offset,
    /// Once in controlled shutdown: the offset of the records that moved its leaderships.
    shutdown_offset: Option<Offset>,
    fenced: bool,
}

/// The sessions of all registered brokers.
#[derive(Debug)]
pub struct Sessions {
    timeout: Duration,
    brokers: BTreeMap<NodeId, Session>,
}

impl Sessions {
    /// None yet. `timeout` is `broker.session.timeout.ms`.
    pub fn new(timeout: Duration) -> Sessions {
        Sessions { timeout, brokers: BTreeMap::new() }
    }

    /// Whether a broker is unfenced and was heard of within the timeout.
    pub fn is_valid(&self, id: NodeId, now: Instant) -> bool {
        self.brokers.get(&id).is_some_and(|s| !s.fenced && now <= s.last_contact + self.timeout)
    }
    /// Starts a session, in place of an older one.
    pub fn start(&mut self, id: NodeId, fenced: bool, now: Instant) {
        let session = Session { last_contact: now, metadata_offset: Offset::NONE, shutdown_offset: None, fenced };
        self.brokers.insert(id, session);
    }
    /// A sign of life from a broker, which stays what it was.
    pub fn renew(&mut self, id: NodeId, now: Instant) {
        if let Some(session) = self.brokers.get_mut(&id) {
            session.last_contact = now;
        }
    }
    /// A heartbeat from a broker that has a session.
    pub fn touch(&mut self, id: NodeId, fenced: bool, metadata_offset: Offset, now: Instant) {
        if let Some(session) = self.brokers.get_mut(&id) {
            session.last_contact = now;
            session.metadata_offset = metadata_offset;
            session.fenced = fenced;
            if fenced {
                session.shutdown_offset = None;
            }
        }
    }
    /// A broker is fenced for its silence.
    pub fn fence(&mut self, id: NodeId) {
        if let Some(session) = self.brokers.get_mut(&id) {
            session.fenced = true;
            session.shutdown_offset = None;
        }
    }
    /// The records that move a broker's leaderships away end at `offset`. Only the first call counts.
    pub fn shutting_down(&mut self, id: NodeId, offset: Offset) {
        if let Some(session) = self.brokers.get_mut(&id) {
            session.shutdown_offset.get_or_insert(offset);
        }
    }

    /// An unfenced broker whose session is over.
    pub fn expired(&self, now: Instant) -> Option<NodeId> {
        let mut silent = self.brokers.iter().filter(|(_, s)| !s.fenced && now > s.last_contact + self.timeout);
        silent.next().map(|(&id, _)| id)
    }
    /// When the next session is over.
    pub fn next_deadline(&self) -> Option<Instant> {
        let ends = self.brokers.values().filter(|s| !s.fenced).map(|s| s.last_contact + self.timeout);
        ends.min().map(|end| end + Duration::from_nanos(1))
    }

    /// What a heartbeat makes of a broker: its state before and after. `registered` is the offset of its
    /// registration, which it must have seen before it takes part.
    ///
    /// # Panics
    /// If the broker has no session: its epoch was checked, so it is registered, and registration starts one.
    pub fn next_state(
        &self,
        id: NodeId,
        beat: Heartbeat,
        registered: Offset,
        leads: impl FnOnce() -> bool,
    ) -> (BrokerState, BrokerState) {
        use BrokerState::*;
        let session = &self.brokers[&id];
        let current = match session.shutdown_offset {
            Some(_) => ControlledShutdown,
            None if session.fenced => Fenced,
            None => Unfenced,
        };
        let next = match current {
            Fenced if beat.want_shut_down => ShutdownNow,
            Fenced if !beat.want_fence && beat.metadata_offset >= registered => Unfenced,
            Unfenced if beat.want_fence && beat.want_shut_down => ShutdownNow,
            Unfenced if beat.want_fence => Fenced,
            Unfenced if beat.want_shut_down => {
                if leads() {
                    ControlledShutdown
                } else {
                    ShutdownNow
                }
            }
            // Everybody else must know the new leaders before the old one goes.
            ControlledShutdown if !leads() && session.shutdown_offset <= Some(self.lowest_active_offset()) => {
                ShutdownNow
            }
            state => state,
        };
        (current, next)
    }

    /// How far the slowest broker that takes part has applied the metadata log.
    fn lowest_active_offset(&self) -> Offset {
        let active = self.brokers.values().filter(|s| !s.fenced && s.shutdown_offset.is_none());
        active.map(|s| s.metadata_offset).min().unwrap_or(Offset(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BrokerState::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }
    fn sessions() -> Sessions {
        let mut s = Sessions::new(Duration::from_millis(100));
        s.start(A, true, at(0));
        s.start(B, true, at(0));
        s
    }
    fn beat(offset: i64, want_fence: bool, want_shut_down: bool) -> Heartbeat {
        Heartbeat { metadata_offset: Offset(offset), want_fence, want_shut_down }
    }

    #[test]
    fn a_session_lasts_as_long_as_it_is_touched() {
        let mut s = sessions();
        assert!(!s.is_valid(A, at(1)) && s.next_deadline().is_none(), "fenced brokers have no session to lose");
        s.touch(A, false, Offset(3), at(50));
        assert!(s.is_valid(A, at(150)) && s.expired(at(150)).is_none());
        assert!(!s.is_valid(A, at(151)));
        assert_eq!(s.next_deadline(), Some(at(150) + Duration::from_nanos(1)));
        assert_eq!(s.expired(at(150) + Duration::from_nanos(1)), Some(A));
        s.fence(A);
        assert_eq!(s.expired(at(200)), None);
    }

    #[test]
    fn a_heartbeat_moves_a_broker_through_its_states() {
        let mut s = sessions();
        // (fenced, shutting down at, heartbeat, leads) -> next; registered at offset 5, B has applied 9.
        s.touch(B, false, Offset(9), at(0));
        for (fenced, shutdown, heartbeat, leads, next) in [
            (true, None, beat(4, false, false), false, Fenced),
            (true, None, beat(5, false, false), false, Unfenced),
            (true, None, beat(5, true, false), false, Fenced),
            (true, None, beat(5, false, true), false, ShutdownNow),
            (false, None, beat(5, false, false), true, Unfenced),
            (false, None, beat(5, true, false), true, Fenced),
            (false, None, beat(5, true, true), true, ShutdownNow),
            (false, None, beat(5, false, true), true, ControlledShutdown),
            (false, None, beat(5, false, true), false, ShutdownNow),
            (false, Some(9), beat(5, false, true), true, ControlledShutdown),
            (false, Some(10), beat(5, false, true), false, ControlledShutdown),
            (false, Some(9), beat(5, false, true), false, ShutdownNow),
        ] {
            s.start(A, fenced, at(0));
            if let Some(offset) = shutdown {
                s.shutting_down(A, Offset(offset));
            }
            assert_eq!(s.next_state(A, heartbeat, Offset(5), || leads).1, next, "{fenced} {shutdown:?} {heartbeat:?}");
        }
    }
}
