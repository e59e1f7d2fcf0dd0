//! What two shells owe each other, whatever the nodes behind them say: each message that leaves arrives once, in order and
//! as it was; answers come in the order of requests; what was sent before an orderly close arrives, too; and neither side
//! ever sends what the other cannot read. A breach is a finding of the check `shell-contract`.
//!
//! A connection that was broken (a process that died, a reset) owes nothing more than order.

use super::seen::{Seen, Sighting};
use crate::event::{ConnEnd, Ordinal};
use crate::invariants::Finding;
use crate::shell::codec::is_answered;
use crate::shell::observer::Fault;
use bytes::BytesMut;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use klamm_model::DisconnectReason;
use klamm_model::checks::Check;
use std::collections::{BTreeMap, VecDeque};
use xxhash_rust::xxh3::xxh3_64;

/// Breaches kept.
const KEPT: usize = 16;

#[derive(Debug)]
struct Message {
    correlation: i32,
    hash: u64,
    sent: Ordinal,
}

/// One connection, by its opener's end.
#[derive(Debug, Default)]
struct Conn {
    acceptor: Option<ConnEnd>,
    /// Requests on their way.
    requests: VecDeque<Message>,
    /// Correlation ids of requests that are to be answered, in order.
    asked: VecDeque<i32>,
    /// Responses on their way.
    responses: BTreeMap<i32, Message>,
    /// Its opener has closed it in order.
    closed: bool,
    /// Something befell it that excuses what does not arrive.
    broken: bool,
    /// Whether the opener and the acceptor have it no more.
    gone: [bool; 2],
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Contract {
    conns: BTreeMap<ConnEnd, Conn>,
    /// From the acceptor's end to the opener's.
    openers: BTreeMap<ConnEnd, ConnEnd>,
    breaches: Vec<Finding>,
    /// Messages that were taken.
    judged: u64,
}

/// What is wrong, and the event that it contradicts.
type Breach = Option<(String, Ordinal)>;

fn hash(encode: impl FnOnce(&mut BytesMut) -> bool) -> u64 {
    let mut bytes = BytesMut::new();
    if encode(&mut bytes) { xxh3_64(&bytes) } else { 0 }
}
fn of_request(request: &RequestKind, version: i16) -> u64 {
    hash(|bytes| request.encode(bytes, version).is_ok())
}
fn of_response(response: &ResponseKind, version: i16) -> u64 {
    hash(|bytes| response.encode(bytes, version).is_ok())
}

impl Contract {
    pub(super) fn breaches(&self) -> &[Finding] {
        &self.breaches
    }

    /// How many messages were taken and compared with what was sent.
    pub(super) fn judged(&self) -> u64 {
        self.judged
    }

    /// A fault reset connections: none owes anything more.
    pub(super) fn all_broken(&mut self) {
        self.conns.values_mut().for_each(|conn| conn.broken = true);
    }

    /// Something was seen; its ordinal is known.
    pub(super) fn sighting(&mut self, s: &Sighting) {
        let ordinal = s.ticket.ordinal();
        self.judged += u64::from(matches!(s.seen, Seen::RequestTaken { .. } | Seen::ResponseTaken { .. }));
        let breach = match &s.seen {
            Seen::Connected { from, to, .. } => {
                self.openers.insert(*to, *from);
                self.conns.entry(*from).or_default().acceptor = Some(*to);
                None
            }
            Seen::RequestSent { from, correlation, version, request, .. } => {
                let message = Message { correlation: *correlation, hash: of_request(request, *version), sent: ordinal };
                // It may be sent before a paused acceptor is told of its connection.
                let conn = self.conns.entry(*from).or_default();
                conn.requests.push_back(message);
                if is_answered(request) {
                    conn.asked.push_back(*correlation);
                }
                None
            }
            Seen::ResponseSent { to, correlation, version, response, .. } => {
                let hash = of_response(response, *version);
                let message = Message { correlation: *correlation, hash, sent: ordinal };
                if let Some(conn) = self.conns.get_mut(to) {
                    conn.responses.insert(*correlation, message);
                }
                None
            }
            Seen::RequestTaken { from, correlation, version, request, .. } => self
                .conns
                .get_mut(from)
                .and_then(|conn| conn.request_taken(*correlation, || of_request(request, *version))),
            Seen::ResponseTaken { to, correlation, version, response, .. } => self
                .conns
                .get_mut(to)
                .and_then(|conn| conn.response_taken(*correlation, || of_response(response, *version))),
            Seen::Closed { end } => {
                // Who was asked and closes leaves requests unread, and owes no answers.
                let opener = self.openers.get(end).copied();
                match opener {
                    Some(opener) => self.left(opener, 1, true),
                    None => {
                        self.conns.entry(*end).and_modify(|conn| conn.closed = true);
                        self.left(*end, 0, false)
                    }
                }
            }
            Seen::Unreadable { end, fault } => self.unreadable(*end, fault),
            Seen::Disconnected { end, reason } => match self.openers.get(end).copied() {
                Some(opener) => self.left(opener, 1, *reason != DisconnectReason::Closed),
                None => self.left(*end, 0, true),
            },
            Seen::Ended { incarnation, .. } => {
                let mine = |end: &ConnEnd| Some(end.node) == s.node && end.incarnation == *incarnation;
                let opened: Vec<ConnEnd> = self.conns.keys().filter(|end| mine(end)).copied().collect();
                let accepted: Vec<ConnEnd> =
                    self.openers.iter().filter(|(end, _)| mine(end)).map(|(_, opener)| *opener).collect();
                opened.into_iter().for_each(|end| drop(self.left(end, 0, true)));
                accepted.into_iter().for_each(|end| drop(self.left(end, 1, true)));
                None
            }
            _ => None,
        };
        if let Some((detail, earlier)) = breach
            && self.breaches.len() < KEPT
        {
            self.breaches.push(Finding {
                check: Check::ShellContract,
                at: s.at,
                host: s.host,
                node: s.node,
                partition: None,
                topic: None,
                offset: None,
                epoch: None,
                detail,
                witness: [earlier, ordinal].into_iter().filter(|o| o.0 != 0).collect(),
            });
        }
    }

    /// One side of a connection (0: who opened it) has it no more.
    fn left(&mut self, opener: ConnEnd, side: usize, broken: bool) -> Breach {
        let conn = self.conns.get_mut(&opener)?;
        conn.gone[side] = true;
        conn.broken |= broken;
        let owed = conn.requests.front().filter(|_| side == 1 && conn.closed && !conn.broken);
        let breach = owed.map(|first| {
            let (n, id) = (conn.requests.len(), first.correlation);
            (format!("{n} requests sent before an orderly close do not arrive, {id} the first"), first.sent)
        });
        if side == 1 {
            conn.broken = true;
            conn.acceptor.take().map(|end| self.openers.remove(&end));
        }
        if conn.gone == [true; 2] {
            self.conns.remove(&opener);
        }
        breach
    }

    fn unreadable(&mut self, end: ConnEnd, fault: &Fault) -> Breach {
        let opener = self.openers.get(&end).copied().unwrap_or(end);
        let conn = self.conns.get_mut(&opener)?;
        let whole = !std::mem::replace(&mut conn.broken, true);
        match fault {
            Fault::Malformed(what) => Some((format!("what another shell sent is refused: {what}"), Ordinal(0))),
            Fault::Truncated(what) if whole => Some((format!("nobody broke the connection, and {what}"), Ordinal(0))),
            Fault::Truncated(_) | Fault::Silent(_) => None,
        }
    }
}

impl Conn {
    fn request_taken(&mut self, correlation: i32, hash: impl FnOnce() -> u64) -> Breach {
        match self.requests.pop_front() {
            None => Some((format!("request {correlation} is taken, and was not sent"), Ordinal(0))),
            Some(m) if m.correlation != correlation => {
                Some((format!("request {correlation} is taken when {} is due", m.correlation), m.sent))
            }
            Some(m) if m.hash != hash() => Some((format!("request {correlation} is taken as another"), m.sent)),
            Some(_) => None,
        }
    }

    fn response_taken(&mut self, correlation: i32, hash: impl FnOnce() -> u64) -> Breach {
        let (due, given) = (self.asked.pop_front(), self.responses.remove(&correlation));
        if due != Some(correlation) {
            let due = due.map_or_else(|| "none".to_owned(), |due| format!("that to {due}"));
            return Some((format!("the answer to request {correlation} is taken when {due} is due"), Ordinal(0)));
        }
        match given {
            None => Some((format!("the answer to request {correlation} is taken, and was not given"), Ordinal(0))),
            Some(m) if m.hash != hash() => {
                Some((format!("the answer to request {correlation} is taken as another"), m.sent))
            }
            Some(_) => None,
        }
    }
}
