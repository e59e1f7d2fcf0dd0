//! An input takes effect: it is handed to its node, and what the node does leaves.

use super::codec::{Codec, Unencodable};
use super::connection::{Body, ConnRef, EndState, Side, other};
use super::cpu::Work;
use super::size::{of_request, of_response};
use super::{Ev, Sim};
use crate::event::*;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use klamm_model::disk::{DiskOp, DiskToken};
use klamm_model::node::Endpoint;
use klamm_model::units::Instant;
use klamm_model::{ConnId, Input, Output};
use std::panic::{AssertUnwindSafe, catch_unwind};

impl Sim {
    /// A worker has finished with an input.
    pub(super) fn take_up(&mut self, host: HostId, work: Work, observer: &mut dyn Observer) {
        if work.is_message() {
            self.budget.release(work.size);
        }
        let Work { node, incarnation, cause, lane, size, input } = work;
        let slot = &mut self.nodes[usize::from(node.0)];
        let Some(process) = slot.process.as_mut().filter(|p| p.incarnation == incarnation) else { return };
        let mut peer = None;
        if let Some((conn, side)) = lane {
            // A node is not told about a connection that it has closed.
            let Some(state) = self.conns.get(conn) else { return };
            let (mine, theirs) = (&state.ends[usize::from(side)], &state.ends[usize::from(other(side))]);
            if mine.state == EndState::Gone {
                return;
            }
            peer = Some((theirs.name, mine.name));
        }
        let state = &mut self.hosts[usize::from(host.0)];
        let now = state.clock.read(self.now);
        if state.clock_changed {
            state.clock_changed = false;
            state.clock_met += 1;
        }
        let mut cause = cause;
        if let Input::Timer = input {
            process.timer.queued = false;
            if process.timer.deadline.is_none_or(|deadline| deadline > now.mono) {
                let (deadline, cause) = (process.timer.deadline, process.timer.cause);
                return self.set_timer(node, deadline, cause);
            }
            cause = process.timer.cause;
        }
        match &input {
            Input::Start { .. } | Input::Connected { .. } | Input::Accepted { .. } | Input::Disk { .. } => {}
            Input::Shutdown => cause = self.emit(observer, cause, host, node, 0, || What::ShutdownAsked),
            Input::Timer => cause = self.emit(observer, cause, host, node, 0, || What::TimerFired),
            Input::Disconnected { conn, reason } => {
                let what = || What::Disconnected { conn: *conn, reason: *reason };
                cause = self.emit(observer, cause, host, node, 0, what);
            }
            Input::Request { correlation, version, request, .. } => {
                let (from, to) = peer.expect("requests come through connections");
                let what = || What::RequestTaken { from, to, correlation: *correlation, version: *version, request };
                cause = self.emit(observer, cause, host, node, size, what);
            }
            Input::Response { correlation, version, response, .. } => {
                let (from, to) = peer.expect("responses come through connections");
                let what = || What::ResponseTaken { from, to, correlation: *correlation, version: *version, response };
                cause = self.emit(observer, cause, host, node, size, what);
            }
        }
        if let (Input::Disconnected { .. }, Some((conn, side))) = (&input, lane) {
            self.leave(conn, side);
            self.forget_if_over(conn);
        }
        self.cause = cause;

        let is_start = matches!(input, Input::Start { .. });
        let mut outputs = std::mem::take(&mut self.outputs);
        let process = self.nodes[usize::from(node.0)].process.as_mut().expect("it runs");
        let (machine, outbox) = (&mut process.machine, &mut process.outbox);
        let handled = catch_unwind(AssertUnwindSafe(|| machine.handle(now, input, outbox)));
        if let Err(panic) = handled {
            self.crash(node, crate::panic_text(panic.as_ref()).into());
            self.outputs = outputs;
            return;
        }
        let deadline = outbox.take(&mut outputs);
        process.started = true;
        let (mut over, mut asked) = (None, false);
        // Most are alone: turned round and taken from the back they cost less than a drain.
        outputs.reverse();
        while let Some(output) = outputs.pop() {
            asked |= matches!(output, Output::Disk { .. });
            over = self.carry_out(host, node, output, cause, observer);
            // What a node does after it gave up is not done; what it does after a panic of the codec neither.
            if over.is_some() || self.nodes[usize::from(node.0)].process.is_none() {
                outputs.clear();
            }
        }
        self.outputs = outputs;
        if asked {
            self.arm_disk(host);
        }
        match over {
            Some(how) => self.end_node(node, how),
            None => self.set_timer(node, deadline, cause),
        }
        if is_start && let Some(process) = self.nodes[usize::from(node.0)].process.as_mut() {
            for work in std::mem::take(&mut process.before_start) {
                self.enqueue(host, work);
            }
        }
    }

    /// Does what a node asked for; tells how the node ends, if that is it.
    fn carry_out(
        &mut self,
        host: HostId,
        node: NodeRef,
        output: Output,
        cause: Ordinal,
        observer: &mut dyn Observer,
    ) -> Option<Ending> {
        match output {
            Output::Request { conn, correlation, version, request } => {
                self.send_request(host, node, conn, correlation, version, request, cause, observer);
            }
            Output::Response { conn, correlation, version, response } => {
                self.send_response(host, node, conn, correlation, version, response, cause, observer);
            }
            Output::Disk { token, op } => self.ask_disk(host, node, token, op, cause, observer),
            Output::Trace(trace) => {
                self.emit(observer, cause, host, node, 0, || What::Trace(&trace));
            }
            Output::Op(op) => {
                self.emit(observer, cause, host, node, 0, || What::Op(&op));
            }
            Output::Connect { conn, to } => self.connect(host, node, conn, &to, cause, observer),
            Output::Close { conn } => self.close(node, conn, cause),
            Output::Exit => return Some(Ending::Exit),
            Output::Halt { reason } => return Some(Ending::Halt { reason }),
        }
        None
    }

    #[inline(always)]
    fn send_request(
        &mut self,
        host: HostId,
        node: NodeRef,
        conn: ConnId,
        correlation: i32,
        version: i16,
        request: Box<RequestKind>,
        cause: Ordinal,
        observer: &mut dyn Observer,
    ) {
        let Some(((conn, side, from, to), true)) = self.own_end(node, conn) else { return };
        let size = of_request(&request, version);
        let what = || What::RequestSent { from, to, correlation, version, request: &request };
        let cause = self.emit(observer, cause, host, node, size, what);
        let Some(request) = self.encoded(node, request, version, Codec::request) else { return };
        let input = Input::Request { conn: to.conn, correlation, version, request };
        self.send_message(conn, side, to, cause, size, input);
    }

    #[inline(always)]
    fn send_response(
        &mut self,
        host: HostId,
        node: NodeRef,
        conn: ConnId,
        correlation: i32,
        version: i16,
        response: Box<ResponseKind>,
        cause: Ordinal,
        observer: &mut dyn Observer,
    ) {
        let Some(((conn, side, from, to), sends)) = self.own_end(node, conn) else { return };
        let size = of_response(&response, version);
        let what = || What::ResponseSent { from, to, correlation, version, response: &response };
        let cause = self.emit(observer, cause, host, node, size, what);
        // An answer leaves its node whether or not somebody is still there to get it.
        if !sends {
            return;
        }
        let Some(response) = self.encoded(node, response, version, Codec::response) else { return };
        let input = Input::Response { conn: to.conn, correlation, version, response };
        self.send_message(conn, side, to, cause, size, input);
    }

    fn close(&mut self, node: NodeRef, conn: ConnId, cause: Ordinal) {
        let process = self.nodes[usize::from(node.0)].process.as_ref();
        let Some(conn_ref) = process.and_then(|p| p.conns.get(conn)) else { return };
        let side = Side::from(conn.is_incoming());
        let established = self.conns.get(conn_ref).is_some_and(|c| c.ends[usize::from(side)].sends());
        self.leave(conn_ref, side);
        if established {
            self.send_control(conn_ref, side, Body::Fin, cause);
        }
        self.forget_if_over(conn_ref);
    }

    /// An end that a node has, and whether it may send through it: the other side may be gone, and the node not know it.
    fn own_end(&self, node: NodeRef, conn: ConnId) -> Option<((ConnRef, Side, ConnEnd, ConnEnd), bool)> {
        let conn_ref = self.nodes[usize::from(node.0)].process.as_ref()?.conns.get(conn)?;
        let state = self.conns.get(conn_ref)?;
        let side = Side::from(conn.is_incoming());
        let mine = &state.ends[usize::from(side)];
        Some(((conn_ref, side, mine.name, state.ends[usize::from(other(side))].name), mine.sends()))
    }

    /// A message as it travels: after a round trip through its encoding, where messages are encoded. `None`: the node
    /// built what its version cannot carry; its code is at fault, as in a panic.
    fn encoded<M>(
        &mut self,
        node: NodeRef,
        message: Box<M>,
        version: i16,
        pass: impl FnOnce(&mut Codec, Box<M>, i16, bool) -> Result<Box<M>, Unencodable>,
    ) -> Option<Box<M>> {
        let (round_trip, hash) = (self.config.encode_messages, self.config.hash_messages);
        if !round_trip && !hash {
            return Some(message);
        }
        pass(&mut self.codec, message, version, round_trip).map_err(|e| self.crash(node, e.to_string().into())).ok()
    }

    fn connect(
        &mut self,
        host: HostId,
        node: NodeRef,
        conn: ConnId,
        to: &Endpoint,
        cause: Ordinal,
        observer: &mut dyn Observer,
    ) {
        let cause = self.emit(observer, cause, host, node, 0, || What::Connecting { conn, to });
        let mut target = self.names.get(&*to.host).copied();
        if let Some(named) = target
            && self.hosts[usize::from(named.0)].unresolvable
        {
            self.host_mut(named).unresolved += 1;
            target = None;
        }
        let Some(process) = &self.nodes[usize::from(node.0)].process else { return };
        let opener = ConnEnd { node, incarnation: process.incarnation, conn };
        self.attempt(opener, host, target, to.port, cause);
    }

    fn ask_disk(
        &mut self,
        host: HostId,
        node: NodeRef,
        token: DiskToken,
        op: DiskOp,
        cause: Ordinal,
        observer: &mut dyn Observer,
    ) {
        let cause = self.emit(observer, cause, host, node, 0, || What::DiskAsked { op: &op });
        let Some(process) = &self.nodes[usize::from(node.0)].process else { return };
        let incarnation = process.incarnation;
        let now = self.now;
        self.host_mut(host).disk.submit(now, cause, node, incarnation, token, op);
    }

    /// What a disk has done by now goes to the nodes that asked.
    pub(super) fn disk_done(&mut self, host: HostId, observer: &mut dyn Observer) {
        let now = self.now;
        let state = self.host_mut(host);
        if state.disk_armed != Some(now) {
            return;
        }
        state.disk_armed = None;
        let mut done = std::mem::take(&mut self.completions);
        let state = self.host_mut(host);
        state.disk.advance(now, &mut done);
        let damage = state.disk.take_damage();
        if !damage.is_empty() {
            self.announce_damage(host, damage);
        }
        for completion in done.drain(..) {
            let (node, incarnation) = (completion.node, completion.incarnation);
            let process = self.nodes[usize::from(node.0)].process.as_ref();
            if process.is_none_or(|p| p.incarnation != incarnation) {
                continue;
            }
            let what = || What::DiskDone { op: &completion.op, result: &completion.result };
            let cause = self.emit(observer, completion.cause, host, node, 0, what);
            let input = Input::Disk { token: completion.token, result: completion.result };
            self.enqueue_new(host, Work { node, incarnation, cause, lane: None, size: 0, input });
        }
        self.completions = done;
        self.arm_disk(host);
    }

    /// A node's next deadline, on its host's clock.
    pub(super) fn set_timer(&mut self, node: NodeRef, deadline: Option<Instant>, cause: Ordinal) {
        let slot = &mut self.nodes[usize::from(node.0)];
        let Some(process) = slot.process.as_mut() else { return };
        let timer = &mut process.timer;
        if timer.deadline != deadline {
            timer.deadline = deadline;
            timer.cause = cause;
        }
        let Some(deadline) = deadline.filter(|&d| d < Instant::MAX) else { return };
        if timer.queued {
            return; // It is looked at again when that one is taken up.
        }
        let at = self.hosts[usize::from(slot.host.0)].clock.reaches(deadline).max(self.now);
        if timer.armed.last().is_none_or(|&armed| at < armed) {
            timer.armed.push(at);
            self.queue.push(self.now, at, Ev::Timer { node, incarnation: process.incarnation.0 });
        }
    }

    /// A node's deadline may have come.
    pub(super) fn timer_due(&mut self, node: NodeRef, incarnation: u32) {
        let now = self.now;
        let slot = &mut self.nodes[usize::from(node.0)];
        let host = slot.host;
        let Some(process) = slot.process.as_mut().filter(|p| p.incarnation.0 == incarnation) else { return };
        let timer = &mut process.timer;
        if timer.armed.pop_if(|at| *at == now).is_none() {
            return;
        }
        let (deadline, cause) = (timer.deadline, timer.cause);
        let reads = self.hosts[usize::from(host.0)].clock.monotonic(now);
        if deadline.is_some_and(|deadline| deadline <= reads) {
            timer.queued = true;
            let incarnation = process.incarnation;
            self.enqueue_new(host, Work { node, incarnation, cause, lane: None, size: 0, input: Input::Timer });
        } else {
            self.set_timer(node, deadline, cause);
        }
    }

    /// A node's code failed.
    fn crash(&mut self, node: NodeRef, message: Box<str>) {
        self.crashed.get_or_insert((node, message.clone()));
        self.end_node(node, Ending::Panicked { message });
    }
}
