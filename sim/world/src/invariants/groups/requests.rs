//! What members ask: noted when a broker takes it up, and judged by what was committed then.

use super::fencing::Stale;
use super::reader::subscription_topics;
use super::{Life, Source, Waits};
use crate::event::{ConnEnd, NodeRef, Ordinal};
use crate::invariants::Invariants;
use crate::invariants::finding::Ctx;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, RequestKind};
use klamm_model::node::ConnId;
use klamm_model::units::{Duration, Instant};

/// What of a request is needed to judge its answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) correlation: i32,
    pub(super) taken: Ordinal,
    pub(super) at: Instant,
    /// The member's last sign of life before, if this may be one.
    pub(super) before: Option<Life>,
    pub(super) client: NodeRef,
    pub(super) group: String,
    pub(super) member: String,
    pub(super) generation: i32,
    /// The whole request is stale.
    pub(super) stale: Option<Stale>,
    pub(super) what: Kind,
}

/// Of which API, with what its answer is judged by.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Join {
        instance: Option<String>,
        topics: Vec<String>,
        session: Duration,
        rebalance: Duration,
    },
    Sync,
    Heartbeat,
    Commit {
        parts: Vec<(Source, i64, Option<Stale>)>,
    },
    /// Whether the node was the legitimate coordinator of each group.
    Fetch {
        legitimate: Vec<(String, bool)>,
    },
    /// What it says that it subscribes to, if it says so, and which static member it is.
    Consumer {
        topics: Option<Vec<String>>,
        instance: Option<String>,
    },
    Leave,
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// A request that came while an earlier one of its connection was in process.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    /// When it was sent.
    sent: Ordinal,
    from: ConnEnd,
    to: ConnEnd,
    pub(super) correlation: i32,
    version: i16,
    request: RequestKind,
}

impl Invariants {
    /// A broker gets a request of the group APIs. It takes up one at a time of each connection (Kafka mutes the channel):
    /// behind a commit that waits for replication even a heartbeat is not heard.
    pub(in crate::invariants) fn group_asked(
        &mut self,
        ctx: Ctx,
        from: &ConnEnd,
        to: &ConnEnd,
        correlation: i32,
        version: i16,
        request: &RequestKind,
    ) {
        let place = (to.node, to.conn);
        if self.groups.open.contains_key(&place) {
            let (from, to, request) = (*from, *to, request.clone());
            let queued = Queued { sent: ctx.cause, from, to, correlation, version, request };
            self.groups.queued.entry(place).or_default().push_back(queued);
        } else {
            self.group_taken(ctx, from, to, correlation, version, request);
        }
    }

    pub(super) fn next_taken(&mut self, ctx: Ctx, place: (NodeRef, ConnId)) {
        let Some(queue) = self.groups.queued.get_mut(&place) else { return };
        let next = queue.pop_front();
        if queue.is_empty() {
            self.groups.queued.remove(&place);
        }
        if let Some(q) = next {
            let ctx = Ctx { cause: q.sent, ..ctx };
            self.group_taken(ctx, &q.from, &q.to, q.correlation, q.version, &q.request);
        }
    }

    /// A broker takes up a request of the group APIs, sent at `ctx.cause`.
    pub(super) fn group_taken(
        &mut self,
        ctx: Ctx,
        from: &ConnEnd,
        to: &ConnEnd,
        correlation: i32,
        version: i16,
        request: &RequestKind,
    ) {
        let node = to.node;
        let base = |group: &str, member: &str, generation: i32, what: Kind| Asked {
            correlation,
            taken: ctx.ordinal,
            at: ctx.at,
            before: None,
            client: from.node,
            group: group.to_owned(),
            member: member.to_owned(),
            generation,
            stale: None,
            what,
        };
        let mut asked = match request {
            RequestKind::JoinGroup(r) => {
                let topics = r.protocols.first().and_then(|p| subscription_topics(&p.metadata)).unwrap_or_default();
                self.join_cause(ctx, &r.group_id.0, &r.member_id, r.group_instance_id.as_deref(), &topics);
                let what = Kind::Join {
                    instance: r.group_instance_id.as_ref().map(|i| i.to_string()),
                    topics,
                    session: millis(r.session_timeout_ms),
                    rebalance: millis(if version == 0 { r.session_timeout_ms } else { r.rebalance_timeout_ms }),
                };
                base(&r.group_id.0, &r.member_id, -1, what)
            }
            RequestKind::SyncGroup(r) => base(&r.group_id.0, &r.member_id, r.generation_id, Kind::Sync),
            RequestKind::Heartbeat(r) => base(&r.group_id.0, &r.member_id, r.generation_id, Kind::Heartbeat),
            RequestKind::LeaveGroup(r) => {
                self.group_cause(ctx, &r.group_id.0, "a member leaves");
                let left = r.members.iter().map(|m| &m.member_id).chain([&r.member_id]);
                let left: Vec<String> = left.map(|m| m.to_string()).collect();
                let watched = self.groups.watched(&r.group_id.0);
                for member in &left {
                    watched.lives.remove(member);
                }
                self.forgive(from.node);
                base(&r.group_id.0, &r.member_id, -1, Kind::Leave)
            }
            RequestKind::OffsetCommit(r) => {
                let parts = self.commit_parts(node, r);
                base(&r.group_id.0, &r.member_id, r.generation_id_or_member_epoch, Kind::Commit { parts })
            }
            RequestKind::OffsetFetch(r) => {
                let groups: Vec<&str> = match r.groups.is_empty() {
                    true => vec![&r.group_id.0],
                    false => r.groups.iter().map(|g| &*g.group_id.0).collect(),
                };
                let legitimate =
                    groups.iter().map(|g| ((*g).to_owned(), self.coordinates(node, g).is_some())).collect();
                base(groups[0], "", -1, Kind::Fetch { legitimate })
            }
            RequestKind::ConsumerGroupHeartbeat(r) => {
                let topics = r.subscribed_topic_names.as_ref().map(|all| {
                    let mut names: Vec<String> = all.iter().map(|t| t.0.to_string()).collect();
                    names.sort();
                    names
                });
                self.beats(ctx, from.node, node, r, topics.as_deref());
                let instance = r.instance_id.as_ref().map(|i| i.to_string());
                base(&r.group_id.0, &r.member_id, r.member_epoch, Kind::Consumer { topics, instance })
            }
            _ => return,
        };
        match asked.what {
            Kind::Sync | Kind::Heartbeat | Kind::Consumer { .. } => asked.stale = self.stale(node, &asked),
            _ => {}
        }
        if !asked.member.is_empty() {
            // A commit prolongs the session of a classic member only, and whoever does not coordinate counts nothing.
            let alive = self.coordinates(node, &asked.group).is_some()
                && (!matches!(asked.what, Kind::Commit { .. }) || !self.beats_for_itself(&asked));
            if let Some(life) = self.groups.watched(&asked.group).lives.get_mut(&asked.member).filter(|_| alive) {
                life.latest = ctx.at;
                asked.before = Some(*life);
                (life.at, life.ordinal) = (ctx.at, ctx.ordinal);
                match asked.what {
                    Kind::Join { session, rebalance, .. } => {
                        (life.session, life.rebalance, life.waits) = (session, rebalance, Waits::Join);
                    }
                    Kind::Sync => life.waits = Waits::Sync,
                    _ => {}
                }
            }
            if let Kind::Join { .. } = asked.what {
                self.groups.watched(&asked.group).joined.insert(asked.member.clone(), ctx.ordinal);
            }
            if let Some(client) = self.groups.clients.get_mut(&from.node) {
                client.member.clone_from(&asked.member);
            }
        }
        self.groups.open.insert((node, to.conn), asked);
    }

    /// Whether the log knows the member as one of KIP-848.
    pub(super) fn beats_for_itself(&self, asked: &Asked) -> bool {
        let state = self.replayed(&asked.group).and_then(|(_, log)| log.replayed.groups.get(&asked.group));
        state.is_some_and(|s| s.members.contains_key(&asked.member))
    }

    pub(super) fn beats(
        &mut self,
        ctx: Ctx,
        client: NodeRef,
        node: NodeRef,
        r: &ConsumerGroupHeartbeatRequest,
        topics: Option<&[String]>,
    ) {
        let (group, member) = (r.group_id.0.to_string(), r.member_id.to_string());
        match r.member_epoch {
            0 => self.join_cause(ctx, &group, &member, r.instance_id.as_deref(), topics.unwrap_or_default()),
            // A static member that means to come back does not leave (-2).
            -1 => self.group_cause(ctx, &group, "a member leaves"),
            _ => {
                let known = self.groups.watched.get(&group).and_then(|w| w.topics.get(&member));
                if topics.is_some_and(|t| known.is_some_and(|k| k != t)) {
                    self.group_cause(ctx, &group, "a member changes its subscription");
                }
            }
        }
        let session = self.groups.session;
        let coordinates = self.coordinates(node, &group).is_some();
        let watched = self.groups.watched(&group);
        if r.member_epoch < 0 {
            watched.lives.remove(&member);
            self.forgive(client);
            return;
        }
        if !member.is_empty() && coordinates {
            let life = watched.lives.entry(member).or_insert(Life {
                at: ctx.at,
                latest: ctx.at,
                ordinal: ctx.ordinal,
                session,
                rebalance: Duration::ZERO,
                waits: Waits::No,
            });
            if r.rebalance_timeout_ms > 0 {
                life.rebalance = millis(r.rebalance_timeout_ms);
            }
        }
    }
}
