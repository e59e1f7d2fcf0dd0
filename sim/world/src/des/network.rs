//! The network: segments on their way.
//!
//! Bandwidth queues at the sender's network card; latency is drawn per segment; a lost segment costs a
//! retransmission timeout that doubles; nothing overtakes on its stream. A partition, or a machine that is off, is
//! silence: segments are sent again with TCP's backoff until somebody answers or the sender gives up. What arrives
//! for a connection that does not exist any more is answered with a reset.

use super::connection::{Body, ConnRef, End, EndState, Flow, Segment, Side, other};
use super::cpu::{Work, Works};
use super::random::{Latency, Purpose, below, draw, happens};
use super::rules::{Effect, Rules};
use super::size::{CONTROL, api_of_request, api_of_response};
use super::{Ev, NetworkProfile, Sim};
use crate::event::*;
use klamm_model::ids::ApiKey;
use klamm_model::units::{Duration, Instant};
use klamm_model::{ConnId, DisconnectReason, Input};
use std::collections::BTreeSet;

/// Losses of one segment in a row are counted to here.
const MAX_LOSSES: u64 = 12;

/// The network between hosts.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) profile: NetworkProfile,
    pub(super) rules: Rules,
    latency: Latency,
    /// How long a network card needs for a byte, in picoseconds.
    byte: u64,
}

impl Network {
    pub(super) fn new(profile: NetworkProfile) -> Network {
        Network {
            latency: Latency::new(profile.p50, profile.p99),
            byte: 8_000_000_000_000 / profile.bandwidth.max(1),
            rules: Rules::default(),
            profile,
        }
    }

    fn transmission(&self, bytes: u32) -> Duration {
        Duration::from_nanos(u64::from(bytes).saturating_mul(self.byte) / 1_000)
    }

    /// How long a segment is on its way, once sent: drawn for this segment alone.
    fn way(&mut self, from: HostId, to: HostId, identity: u64, n: u64) -> Duration {
        let mut way = self.latency.of(draw(Purpose::Latency, identity, n));
        let rules = self.rules.way(from, to);
        if rules.extra > Duration::ZERO {
            self.rules.meet(from, to, |e| matches!(e, Effect::Latency(extra) if extra > Duration::ZERO));
            let extra = rules.extra.as_nanos();
            let drawn = below(draw(Purpose::ExtraLatency, identity, n), extra.saturating_add(1));
            way = way.saturating_add(Duration::from_nanos(extra.saturating_add(drawn)));
        }
        let loss = self.profile.loss_ppm.saturating_add(rules.loss_ppm);
        if loss > 0 {
            let mut timeout = self.profile.rto;
            let mut by_rule = false;
            for attempt in 0..MAX_LOSSES {
                let drawn = draw(Purpose::Loss, identity, n * MAX_LOSSES + attempt);
                if !happens(drawn, loss) {
                    break;
                }
                by_rule |= !happens(drawn, self.profile.loss_ppm);
                way = way.saturating_add(timeout);
                timeout = timeout.saturating_mul(2).min(self.profile.rto_max);
            }
            if by_rule {
                self.rules.meet(from, to, |e| matches!(e, Effect::Loss(ppm) if ppm > 0));
            }
        }
        way
    }

    /// When TCP next sends again what has been lost since `since`: the timeout doubles each time.
    fn next_retransmission(&self, since: Instant, now: Instant, first: Duration) -> Instant {
        let (mut at, mut timeout) = (since + first, first);
        while at < now {
            timeout = timeout.saturating_mul(2).min(self.profile.rto_max).max(Duration::from_millis(1));
            at += timeout;
        }
        at
    }
}

impl Sim {
    /// Sends a segment that is not a message; a Fin or Rst ends the stream.
    pub(super) fn send_control(&mut self, conn: ConnRef, side: Side, body: Body, cause: Ordinal) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        let last = matches!(body, Body::Fin | Body::Rst);
        if state.stream(side).ended {
            return;
        }
        self.transmit(conn, side, CONTROL, cause, body);
        if last && let Some(state) = self.conns.get_mut(conn) {
            state.stream(side).ended = true;
        }
    }

    /// Puts a message on its way; `to` is its receiver, and it has been found to be there.
    pub(super) fn send_message(
        &mut self,
        conn: ConnRef,
        side: Side,
        to: ConnEnd,
        cause: Ordinal,
        size: u32,
        input: Input,
    ) {
        let (node, incarnation, lane) = (to.node, to.incarnation, Some((conn, other(side))));
        let work = self.works.add(Work { node, incarnation, cause, lane, size, input });
        self.budget.hold(size);
        self.transmit(conn, side, size.max(CONTROL), cause, Body::Message(work));
    }

    /// Puts a segment of `size` bytes on its way.
    fn transmit(&mut self, conn: ConnRef, side: Side, size: u32, cause: Ordinal, body: Body) {
        let now = self.now;
        let Some(state) = self.conns.get_mut(conn) else { return };
        let (from, to) = state.way(side);
        let identity = state.identity ^ u64::from(side);
        let stream = state.stream(side);
        let n = stream.sent;
        stream.sent += 1;
        let (departs, arrives) = if from == to {
            (now, now + self.network.profile.loopback)
        } else {
            let free = &mut self.hosts[usize::from(from.0)].card_free;
            *free = now.max(*free) + self.network.transmission(size);
            (*free, *free + self.network.way(from, to, identity, n))
        };
        let arrives = arrives.max(stream.last_arrival);
        stream.last_arrival = arrives;
        if stream.flow == Flow::Idle {
            stream.flow = Flow::Scheduled;
            self.queue.push(now, arrives, Ev::Arrive { conn, side });
        }
        stream.queue.push_back(Segment { departs, arrives, cause, body });
    }

    /// The first segment of a stream is due.
    pub(super) fn arrive(&mut self, conn: ConnRef, side: Side, observer: &mut dyn Observer) {
        let now = self.now;
        let Some(state) = self.conns.get_mut(conn) else { return };
        let (from, to) = state.way(side);
        let stream = state.stream(side);
        let Some(first) = stream.queue.front() else {
            stream.flow = Flow::Idle;
            return;
        };
        if first.arrives > now {
            self.queue.push(now, first.arrives, Ev::Arrive { conn, side });
            return;
        }
        let rules = self.network.rules.way(from, to);
        let off = self.hosts[usize::from(to.0)].off;
        if rules.cut || off {
            if !off {
                self.network.rules.meet(from, to, |e| e == Effect::Cut);
            }
            stream.flow = Flow::Stuck { since: now };
            self.queue.push(now, now + self.network.profile.silence_limit, Ev::GiveUp { conn, side });
            return;
        }
        if rules.holds
            && let Some((api, response)) = self.network.is_held(from, to, first, &self.works)
        {
            self.network.rules.meet(from, to, |e| e == Effect::Hold { api, responses: response });
            stream.flow = Flow::Held;
            return;
        }
        let segment = stream.queue.pop_front().expect("looked at above");
        match stream.queue.front() {
            Some(next) => {
                stream.flow = Flow::Scheduled;
                self.queue.push(now, next.arrives, Ev::Arrive { conn, side });
            }
            None => stream.flow = Flow::Idle,
        }
        if stream.unacknowledged.is_none() && self.network.rules.way(to, from).cut {
            stream.unacknowledged = Some(now);
            self.queue.push(now, now + self.network.profile.silence_limit, Ev::GiveUp { conn, side });
        }
        self.deliver(conn, side, segment, observer);
    }

    fn deliver(&mut self, conn: ConnRef, side: Side, segment: Segment, observer: &mut dyn Observer) {
        let cause = segment.cause;
        let Some(state) = self.conns.get_mut(conn) else { return };
        let receiver = state.end(other(side));
        let listens = receiver.listens();
        let host = receiver.host;
        match segment.body {
            Body::Message(work) if listens => self.enqueue(host, work),
            Body::SynAck if listens => {
                receiver.state = EndState::Open;
                let ConnEnd { node, incarnation, conn: id } = receiver.name;
                let (lane, input) = (Some((conn, other(side))), Input::Connected { conn: id });
                self.enqueue_new(host, Work { node, incarnation, cause, lane, size: 0, input });
            }
            // Nobody has this connection here any more. The kernel says so, unless it has already.
            Body::Message(work) => {
                self.drop_work(work);
                self.send_control(conn, other(side), Body::Rst, cause);
            }
            Body::SynAck => self.send_control(conn, other(side), Body::Rst, cause),
            Body::Syn => self.accept(conn, cause, observer),
            Body::Fin => self.tell_end(conn, other(side), DisconnectReason::Closed, cause),
            Body::Rst => {
                let refused = receiver.state == EndState::Opening;
                let reason = if refused { DisconnectReason::Refused } else { DisconnectReason::Reset };
                self.tell_end(conn, other(side), reason, cause);
            }
        }
    }

    /// A connection attempt has reached its host.
    fn accept(&mut self, conn: ConnRef, cause: Ordinal, observer: &mut dyn Observer) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        let (host, port) = (state.ends[1].host, state.port);
        let door = self.hosts[usize::from(host.0)].nodes.iter().find_map(|&node| {
            let slot = &self.nodes[usize::from(node.0)];
            let listener = slot.listeners.iter().find(|(_, p)| *p == port)?.0;
            slot.process.as_ref().map(|p| (node, listener, p.incarnation))
        });
        let Some((node, listener, incarnation)) = door else {
            return self.send_control(conn, 1, Body::Rst, cause);
        };
        let process = self.nodes[usize::from(node.0)].process.as_mut().expect("found above");
        process.accepted += 1;
        let id = ConnId::incoming(process.accepted);
        process.conns.insert(id, conn);
        let end = state.end(1);
        end.name = ConnEnd { node, incarnation, conn: id };
        end.state = EndState::Open;
        let (from, to) = (state.ends[0].name, state.ends[1].name);
        let cause = self.emit(observer, cause, host, node, 0, || What::Connected { from, to, listener });
        let input = Input::Accepted { conn: id, listener };
        self.enqueue_new(host, Work { node, incarnation, cause, lane: Some((conn, 1)), size: 0, input });
        self.send_control(conn, 1, Body::SynAck, cause);
    }

    /// Starts an attempt to connect. `to` is `None` if the name does not resolve.
    pub(super) fn attempt(&mut self, opener: ConnEnd, from: HostId, to: Option<HostId>, port: u16, cause: Ordinal) {
        let slot = &self.nodes[usize::from(opener.node.0)];
        let n = u64::from(opener.incarnation.0) << 40 ^ opener.conn.0 << 1;
        let target = to.map_or(0, |to| self.hosts[usize::from(to.0)].identity);
        let identity = draw(Purpose::Connection, slot.identity ^ target.rotate_left(17), n);
        let conn = self.conns.open(opener, from, to.unwrap_or(from), port, identity);
        let process = self.nodes[usize::from(opener.node.0)].process.as_mut().expect("it has just asked");
        process.conns.insert(opener.conn, conn);
        if to.is_some() {
            self.send_control(conn, 0, Body::Syn, cause);
            let limit = self.now + self.network.profile.connect_limit;
            self.queue.push(self.now, limit, Ev::ConnectLimit { conn });
        } else {
            let answer = self.now + self.network.profile.p50.saturating_mul(2);
            self.queue.push(self.now, answer, Ev::Unresolved { conn });
        }
    }

    /// A connection attempt has not been answered in time, or its name not resolved.
    pub(super) fn attempt_failed(&mut self, conn: ConnRef, reason: DisconnectReason) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        if state.ends[0].state == EndState::Opening {
            self.clear_stream(conn, 0);
            self.tell_end(conn, 0, reason, Ordinal(0));
        }
    }

    /// Nobody has acknowledged what a stream carries for the longest time allowed: its sender gives up.
    pub(super) fn give_up(&mut self, conn: ConnRef, side: Side) {
        let (now, limit) = (self.now, self.network.profile.silence_limit);
        let Some(state) = self.conns.get_mut(conn) else { return };
        let (from, to) = state.way(side);
        if state.ends[0].state == EndState::Opening && side == 0 {
            return; // An attempt has a limit of its own.
        }
        let stream = state.stream(side);
        let stuck = matches!(stream.flow, Flow::Stuck { since } if since + limit <= now);
        let unacknowledged = stream.unacknowledged.is_some_and(|since| since + limit <= now);
        if unacknowledged {
            self.network.rules.meet(to, from, |e| e == Effect::Cut);
        }
        if stuck || unacknowledged {
            self.clear_stream(conn, side);
            self.tell_end(conn, side, DisconnectReason::Unreachable, Ordinal(0));
        }
    }

    /// Silence may have ended somewhere: what was stuck or held and is no longer goes on.
    pub(super) fn release_stuck(&mut self) {
        let now = self.now;
        for conn in self.conns.refs() {
            for side in [0, 1] {
                let Some(state) = self.conns.get_mut(conn) else { continue };
                let (from, to) = state.way(side);
                let identity = state.identity ^ u64::from(side);
                let stream = state.stream(side);
                if stream.unacknowledged.is_some() && !self.network.rules.way(to, from).cut {
                    stream.unacknowledged = None;
                }
                let Some(first) = stream.queue.front() else { continue };
                let at = match stream.flow {
                    Flow::Stuck { since }
                        if !self.network.rules.way(from, to).cut && !self.hosts[usize::from(to.0)].off =>
                    {
                        let profile = &self.network.profile;
                        let connecting = matches!(first.body, Body::Syn | Body::SynAck);
                        let timeout = if connecting { profile.connect_rto } else { profile.rto };
                        let again = self.network.next_retransmission(since, now, timeout);
                        again + self.network.latency.of(draw(Purpose::Retransmission, identity, stream.sent))
                    }
                    Flow::Stuck { .. } if !self.hosts[usize::from(to.0)].off => {
                        // The machine is back, and a partition still keeps what waits for it.
                        self.network.rules.meet(from, to, |e| e == Effect::Cut);
                        continue;
                    }
                    Flow::Held if self.network.is_held(from, to, first, &self.works).is_none() => now,
                    _ => continue,
                };
                stream.flow = Flow::Scheduled;
                stream.last_arrival = stream.last_arrival.max(at);
                self.queue.push(now, at, Ev::Arrive { conn, side });
            }
        }
    }

    /// Every connection between two sides is reset: both ends learn it now, and what was on its way is lost.
    /// Returns the hosts that had one, in order.
    pub fn reset(&mut self, a: &[HostId], b: &[HostId]) -> Vec<HostId> {
        let cause = self.cause;
        let mut hit = BTreeSet::new();
        for conn in self.conns.refs() {
            let Some(state) = self.conns.get(conn) else { continue };
            let (from, to) = state.way(0);
            let between = (a.contains(&from) && b.contains(&to)) || (a.contains(&to) && b.contains(&from));
            if !between || from == to {
                continue;
            }
            if state.ends.iter().any(End::listens) || state.streams.iter().any(|s| !s.queue.is_empty()) {
                hit.extend([from, to]);
            }
            for side in [0, 1] {
                self.clear_stream(conn, side);
                self.tell_end(conn, side, DisconnectReason::Reset, cause);
            }
        }
        hit.into_iter().collect()
    }

    /// What was on its way is lost. An event planned for it finds nothing.
    pub(super) fn clear_stream(&mut self, conn: ConnRef, side: Side) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        let stream = state.stream(side);
        if stream.flow != Flow::Scheduled {
            stream.flow = Flow::Idle;
        }
        let mut lost = Vec::new();
        for segment in stream.queue.drain(..) {
            match segment.body {
                Body::Message(work) => lost.push(work),
                // It will not arrive: what comes the other way is to be answered with a reset again.
                Body::Fin | Body::Rst => stream.ended = false,
                Body::Syn | Body::SynAck => {}
            }
        }
        lost.into_iter().for_each(|work| self.drop_work(work));
    }
}

impl Network {
    /// Of which API a message is that a rule holds, and whether it is a response.
    fn is_held(&self, from: HostId, to: HostId, segment: &Segment, works: &Works) -> Option<(ApiKey, bool)> {
        let Body::Message(work) = segment.body else { return None };
        let (api, response) = match &works[work].input {
            Input::Request { request, .. } => (api_of_request(request), false),
            Input::Response { response, .. } => (api_of_response(response), true),
            _ => return None,
        };
        api.filter(|api| self.rules.holds(from, to, *api, response)).map(|api| (api, response))
    }
}
