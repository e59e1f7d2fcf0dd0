//! Fetch, as seen from outside: followers' positions, stale epochs (fencing), exposed reads, spurious resets.

use super::batch::heads;
use super::cluster::Doing;
use super::finding::Ctx;
use super::replica::Batch;
use super::requests::{Asked, FetchAsked, Request};
use super::{Check, Invariants};
use crate::event::{NodeRef, Ordinal};
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use klamm_model::ids::*;
use klamm_model::node::ConnId;
use klamm_model::small_map::Few;

/// Kafka's error code.
const OFFSET_OUT_OF_RANGE: i16 = 1;

impl Invariants {
    /// A Fetch is taken up by a broker.
    pub(super) fn fetch_taken(
        &mut self,
        node: NodeRef,
        conn: ConnId,
        correlation: i32,
        version: i16,
        at: Ordinal,
        request: &FetchRequest,
    ) {
        let from = NodeId(if version >= 15 { request.replica_state.replica_id.0 } else { request.replica_id.0 });
        let mut parts = Few::new();
        for topic in &request.topics {
            for asked in &topic.partitions {
                let Some(part) = self.cluster.named(&topic.topic.0, topic.topic_id, asked.partition) else { continue };
                parts.push(self.fetch_position(node, part, from, at, asked));
            }
        }
        let asked = Asked::Fetch { replica: from.0 >= 0, parts };
        self.requests.taken(node, conn, Request { correlation, taken: at, asked });
    }

    fn fetch_position(
        &mut self,
        node: NodeRef,
        ix: super::cluster::PartIx,
        from: NodeId,
        at: Ordinal,
        asked: &kafka_protocol::messages::fetch_request::FetchPartition,
    ) -> FetchAsked {
        let part = &mut self.cluster.parts[ix.0];
        let position = Offset(asked.fetch_offset);
        let epoch = LeaderEpoch(asked.current_leader_epoch);
        let mut known = FetchAsked { part: ix, position, led_in: None, end: Offset(0), stale: None };
        let Some(seat) = part.seats.iter_mut().find(|s| s.node == node) else { return known };
        let Doing::Leading(leading) = &mut seat.doing else { return known };
        known.led_in = Some(leading.epoch);
        let log = seat.replica.map(|rx| self.replicas.get(rx));
        known.end = Offset(log.map_or(0, |l| l.end()));
        if epoch.0 >= 0 && epoch < leading.epoch {
            known.stale = Some(epoch);
        } else if from.0 >= 0 && (epoch.0 < 0 || epoch == leading.epoch) {
            // A follower whose last batch is of an earlier epoch than ours there has diverged: where it fetches from
            // says nothing about what it holds of our log.
            let diverged = asked.last_fetched_epoch >= 0
                && position.0 > 0
                && log.and_then(|l| l.find(position.0 - 1)).is_some_and(|b| b.epoch > asked.last_fetched_epoch);
            if !diverged {
                match leading.positions.iter_mut().find(|(id, ..)| *id == from) {
                    Some(entry) => (entry.1, entry.2) = (position, at),
                    None => leading.positions.push((from, position, at)),
                }
            }
        }
        known
    }

    /// A Fetch is answered by a broker.
    pub(super) fn fetch_answered(&mut self, ctx: Ctx, node: NodeRef, request: &Request, response: &FetchResponse) {
        let Asked::Fetch { replica, parts } = &request.asked else { return };
        // Answers mostly stand in the order of what was asked.
        let mut next = 0;
        for topic in &response.responses {
            for data in &topic.partitions {
                let Some(ix) = self.cluster.named(&topic.topic.0, topic.topic_id, data.partition_index) else {
                    continue;
                };
                let in_turn = parts.get(next).filter(|p| p.part == ix);
                next += 1;
                let Some(asked) = in_turn.or_else(|| parts.iter().find(|p| p.part == ix)) else { continue };
                let part = &self.cluster.parts[ix.0];
                let Some(seat) = part.seat(node) else { continue };
                let report = |check, detail: String| {
                    let finding = ctx.finding(check, detail).about(part.id).because(&[request.taken]);
                    asked.led_in.map_or(finding.clone(), |epoch| finding.epoch(epoch))
                };
                let leading = part.leading(node).filter(|l| Some(l.epoch) == asked.led_in);
                if data.error_code == OFFSET_OUT_OF_RANGE {
                    self.armed.judged(Check::NoSpuriousReset);
                    let legitimate = part.committed.as_ref().is_some_and(|c| {
                        Some(c.leader) == self.cluster.broker_id(node) && Some(c.leader_epoch) == asked.led_in
                    });
                    if leading.is_some()
                        && legitimate
                        && asked.position >= seat.log_start
                        && asked.position <= asked.end
                    {
                        let detail = format!(
                            "a fetch from {} is answered out of range; the leader's log runs from {} to {}",
                            asked.position, seat.log_start, asked.end
                        );
                        self.findings.report(report(Check::NoSpuriousReset, detail).offset(asked.position));
                    }
                }
                if data.error_code != 0 {
                    continue;
                }
                if asked.led_in.is_some() {
                    self.armed.judged(Check::Fencing);
                }
                if let (Some(stale), Some(epoch)) = (asked.stale, asked.led_in) {
                    let detail = format!(
                        "a fetch bearing epoch {stale} is answered by the leader of epoch {epoch} as if it were current"
                    );
                    self.findings.report(report(Check::Fencing, detail).offset(asked.position));
                }
                let Some(high_watermark) = seat.high_watermark else { continue };
                if data.high_watermark > high_watermark.0 {
                    let detail = format!(
                        "the answer says high watermark {}, the node's is {high_watermark}",
                        data.high_watermark
                    );
                    self.findings.report(report(Check::TraceContradicted, detail).offset(Offset(data.high_watermark)));
                }
                let (false, Some(records)) = (*replica, &data.records) else { continue };
                let log = seat.replica.map(|rx| self.replicas.get(rx)).filter(|l| !l.damaged());
                for (head, _) in heads(records) {
                    if head.last >= high_watermark {
                        let detail = format!(
                            "a consumer is shown offsets up to {}, the high watermark is {high_watermark}",
                            head.last
                        );
                        self.findings.report(report(Check::HighWatermark, detail).offset(head.last));
                    }
                    let Some(log) = log else { continue };
                    let given = Batch::of(&head);
                    let given = part.contents.as_ref().map_or(given, |contents| contents.canonical(given));
                    let stored = log.find(head.base.0);
                    if stored.is_some_and(|s| (s.base, s.crc, s.epoch) != (given.base, given.crc, given.epoch)) {
                        let detail = format!(
                            "a consumer is given a batch (CRC {:08x}, epoch {}) that is not the one on disk",
                            head.crc, head.epoch
                        );
                        self.findings.report(report(Check::BatchIntegrity, detail).offset(head.base));
                    }
                }
            }
        }
    }
}
