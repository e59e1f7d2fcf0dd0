use super::*;
use crate::broker::tests::disk::MemDisk;
use crate::disk::DiskToken;
use crate::log::{LogConfig, LogEvent};
use crate::node::Output;
use crate::record::schema::{BrokerRegistrationChangeRecord, MetadataRecord, RegisterBrokerRecord};
use crate::record::{BatchBuilder, BuilderConfig};
use crate::units::Timestamp;

const ID: TopicIdPartition = TopicIdPartition { topic: TopicId(Uuid::from_u128(7)), partition: 0 };
const ME: NodeId = NodeId(1);

fn ids(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn at(ms: u64) -> Now {
    Now { mono: Instant::from_nanos(ms * 1_000_000), wall: Timestamp(ms as i64) }
}

/// Broker 1's replica of a partition of three, with a cluster and a disk around it.
struct Story {
    p: Partition,
    image: Image,
    disk: MemDisk,
    out: Outbox,
    /// Appends that the disk has not completed yet.
    held: Vec<(DiskToken, crate::disk::DiskOp)>,
    hold: bool,
    traces: Vec<TraceEvent>,
    now: Now,
}

impl Story {
    fn new(defects: Defects, min_isr: u32) -> Story {
        let mut config = BrokerConfig::kafka_defaults();
        config.min_insync_replicas = min_isr;
        config.replica_lag_time_max = Duration::from_millis(1000);
        let dir = Path::new("orders-0");
        let log = Log::new(1, dir.clone(), LogConfig::of(&config), defects);
        let topic = TopicName(kafka_protocol::protocol::StrBytes::from_static_str("orders"));
        let mut p = Partition::new(ID, topic, dir, log, ME, &config, defects);
        let mut out = Outbox::new();
        p.log.create(at(0), ID.topic, &mut out);
        p.loaded(Offset(0));
        let mut story = Story {
            p,
            image: Image::new(),
            disk: MemDisk::default(),
            out,
            held: Vec::new(),
            hold: false,
            traces: Vec::new(),
            now: at(0),
        };
        for id in 1..=3 {
            story.register(id, i64::from(id));
        }
        story.settle();
        story
    }

    fn register(&mut self, id: i32, epoch: i64) {
        let record = MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker_id: NodeId(id),
            incarnation_id: Uuid::from_u128(9),
            broker_epoch: BrokerEpoch(epoch),
            endpoints: vec![],
            rack: None,
            fenced: false,
            in_controlled_shutdown: false,
            log_dirs: vec![],
        });
        self.replay(record);
    }

    fn fence(&mut self, id: i32, epoch: i64) {
        self.replay(MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker_id: NodeId(id),
            broker_epoch: BrokerEpoch(epoch),
            fenced: Some(true),
            in_controlled_shutdown: None,
        }));
    }

    fn replay(&mut self, record: MetadataRecord) {
        let next = self.image.next_offset();
        self.image.replay(next, LeaderEpoch(1), &record).unwrap();
    }

    fn state(&self, leader: i32, epoch: i32, version: i32, isr: &[i32]) -> PartitionImage {
        PartitionImage {
            replicas: ids(&[1, 2, 3]),
            isr: ids(isr),
            elr: vec![],
            last_known_elr: vec![],
            leader: NodeId(leader),
            leader_epoch: LeaderEpoch(epoch),
            partition_epoch: PartitionEpoch(version),
            leader_recovery_state: 0,
        }
    }

    fn lead(&mut self, epoch: i32, version: i32, isr: &[i32]) -> Moved {
        let state = self.state(1, epoch, version, isr);
        let moved = self.p.become_leader(self.now, &state, &self.image, &mut self.out);
        self.settle();
        moved
    }

    fn follow(&mut self, leader: i32, epoch: i32, version: i32) -> bool {
        let state = self.state(leader, epoch, version, &[1, 2, 3]);
        let new = self.p.become_follower(&state, &mut self.out);
        self.settle();
        new
    }

    /// Does what was asked of the disk, but for appends while they are held.
    fn settle(&mut self) {
        loop {
            let mut outputs = Vec::new();
            self.out.take(&mut outputs);
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                match output {
                    Output::Disk { token, op } if self.hold && matches!(op, crate::disk::DiskOp::Append { .. }) => {
                        self.held.push((token, op));
                    }
                    Output::Disk { token, op } => self.complete(token, op),
                    Output::Trace(event) => self.traces.push(*event),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn complete(&mut self, token: DiskToken, op: crate::disk::DiskOp) {
        let result = self.disk.run(op);
        let mut events = Vec::new();
        self.p.log.on_disk(self.now, token, result, &mut self.out, &mut events);
        assert!(!events.iter().any(|e| matches!(e, LogEvent::Failed(_))), "{events:?}");
        if events.contains(&LogEvent::Appended) && self.p.is_leader() {
            let _ = self.p.maybe_raise_high_watermark(self.now.mono, &self.image, &mut self.out);
        }
    }

    fn release(&mut self) {
        self.hold = false;
        for (token, op) in std::mem::take(&mut self.held) {
            self.complete(token, op);
        }
        self.settle();
    }

    fn append(&mut self, records: usize) {
        for _ in 0..records {
            let mut batch = BatchBuilder::new(BuilderConfig::PLAIN);
            batch.append(self.now.wall, None, Some(b"x"), &[]);
            let epoch = self.p.leader_epoch;
            self.p.log.append_as_leader(self.now, batch.build(), epoch, &mut self.out).unwrap();
            self.settle();
        }
    }

    fn fetch_as(&mut self, replica: i32, broker_epoch: i64, offset: i64) -> Result<Moved, ResponseError> {
        let news = FollowerFetch {
            replica: NodeId(replica),
            broker_epoch: BrokerEpoch(broker_epoch),
            offset: Offset(offset),
            log_start: Offset(0),
        };
        let end = self.p.log.log_end();
        let moved = self.p.follower_fetched(self.now.mono, news, end, &self.image, &mut self.out);
        self.settle();
        moved
    }

    fn fetch(&mut self, replica: i32, offset: i64) -> Moved {
        self.fetch_as(replica, i64::from(replica), offset).unwrap()
    }

    fn confirm(&mut self, version: i32, isr: &[i32]) -> Moved {
        let number = self.p.proposal(BrokerEpoch(1)).unwrap().number;
        let answer = IsrAnswer::State {
            leader_epoch: self.p.leader_epoch,
            partition_epoch: PartitionEpoch(version),
            isr: ids(isr),
        };
        let (moved, _) = self.p.isr_answered(self.now, number, answer, &self.image, &mut self.out);
        self.settle();
        moved
    }

    fn refuse(&mut self, error: ResponseError) -> bool {
        let number = self.p.proposal(BrokerEpoch(1)).unwrap().number;
        let (_, again) = self.p.isr_answered(self.now, number, IsrAnswer::Error(error), &self.image, &mut self.out);
        self.settle();
        again
    }

    fn hw(&self) -> i64 {
        self.p.high_watermark().0
    }
}

#[test]
fn the_high_watermark_is_the_lowest_log_end_of_the_isr() {
    let mut s = Story::new(Defects::NONE, 1);
    let _ = s.lead(0, 0, &[1, 2, 3]);
    s.append(3);
    assert_eq!(s.hw(), 0);
    let _ = s.fetch(2, 3);
    assert_eq!(s.hw(), 0, "broker 3 has nothing");
    assert!(s.fetch(3, 2).high_watermark);
    assert_eq!(s.hw(), 2);
    let _ = s.fetch(3, 3);
    assert_eq!(s.hw(), 3);
}

#[test]
fn an_append_counts_only_when_the_disk_completed_it() {
    let mut s = Story::new(Defects::NONE, 1);
    let _ = s.lead(0, 0, &[1]);
    s.hold = true;
    s.append(2);
    assert_eq!((s.hw(), s.p.log.next_offset()), (0, Offset(2)));
    assert!(!s.p.settled());
    s.release();
    assert_eq!(s.hw(), 2);
    assert!(s.p.settled());
}

#[test]
fn a_joining_replica_counts_while_its_joining_is_pending() {
    let mut s = Story::new(Defects::NONE, 1);
    let _ = s.lead(0, 0, &[1, 2]);
    s.append(2);
    let _ = s.fetch(2, 2);
    assert_eq!(s.hw(), 2);
    let moved = s.fetch(3, 2);
    assert!(moved.proposed);
    assert_eq!(s.p.leading().unwrap().isr.maximal(), ids(&[1, 2, 3]));
    s.append(1);
    // Much later broker 3 is no longer caught up, but may be in the ISR for all the leader knows.
    s.now = at(60_000);
    let _ = s.fetch(2, 3);
    assert_eq!(s.hw(), 2);
    let _ = s.confirm(1, &[1, 2, 3]);
    assert_eq!((s.hw(), s.p.isr()), (2, &ids(&[1, 2, 3])[..]));
    let _ = s.fetch(3, 3);
    assert_eq!(s.hw(), 3);
}

#[test]
fn with_the_defect_a_joining_replica_does_not_count() {
    let mut s = Story::new(Defects::NONE.with(Defect::HwIgnoresPendingIsr), 1);
    let _ = s.lead(0, 0, &[1, 2]);
    s.append(2);
    let _ = s.fetch(2, 2);
    let _ = s.fetch(3, 2);
    s.append(1);
    let _ = s.fetch(2, 3);
    assert_eq!(s.hw(), 3);
}

#[test]
fn a_leaving_replica_counts_until_its_leaving_is_confirmed() {
    let mut s = Story::new(Defects::NONE, 1);
    let _ = s.lead(0, 0, &[1, 2, 3]);
    s.append(1);
    let _ = s.fetch(2, 1);
    s.now = at(1500);
    let _ = s.fetch(2, 1);
    let moved = s.p.maybe_shrink_isr(s.now.mono, &mut s.out);
    assert!(moved.proposed);
    assert_eq!(s.p.leading().unwrap().isr.proposed(), ids(&[1, 2]));
    assert_eq!((s.hw(), s.p.isr().len()), (0, 3));
    assert!(s.confirm(1, &[1, 2]).high_watermark);
    assert_eq!((s.hw(), s.p.isr().len()), (1, 2));
    assert!(s.traces.contains(&TraceEvent::Mark { mark: "isr-shrunk" }));
}

#[test]
fn followers_that_keep_up_stay() {
    let mut s = Story::new(Defects::NONE, 1);
    let _ = s.lead(0, 0, &[1, 2, 3]);
    for ms in [600, 1200, 1800] {
        s.now = at(ms);
        s.append(1);
        let end = s.p.log.log_end().0;
        let _ = s.fetch(2, end);
        // Broker 3 is always one behind, but reads up to the end of its last fetch.
        let _ = s.fetch(3, end - 1);
    }
    assert!(!s.p.maybe_shrink_isr(s.now.mono, &mut s.out).proposed);
}

#[test]
fn below_the_minimum_the_high_watermark_stands_still() {
    for (defects, expected) in [(Defects::NONE, 0), (Defects::NONE.with(Defect::HwAdvanceUnderMinIsr), 1)] {
        let mut s = Story::new(defects, 2);
        let _ = s.lead(0, 0, &[1]);
        s.append(1);
        assert_eq!(s.hw(), expected);
        assert_eq!(s.p.check_min_isr(), Err(ResponseError::NotEnoughReplicas));
        assert_eq!(s.p.check_min_isr_after_append(), Err(ResponseError::NotEnoughReplicasAfterAppend));
        let _ = s.fetch(2, 1);
        assert!(s.confirm(1, &[1, 2]).high_watermark || expected == 1);
        assert_eq!(s.hw(), 1);
        assert_eq!(s.p.check_min_isr(), Ok(()));
    }
}

#[test]
fn a_follower_joins_at_the_high_watermark_and_the_epoch_start() {
    // It led nothing yet: high watermark 1, but the log (and so the epoch's start) is at 3.
    let story = |defects| {
        let mut s = Story::new(defects, 1);
        let _ = s.lead(0, 0, &[1, 2]);
        s.append(1);
        let _ = s.fetch(2, 1);
        s.append(2);
        assert!(s.follow(2, 1, 1));
        let _ = s.lead(2, 2, &[1, 2]);
        assert_eq!((s.hw(), s.p.leading().unwrap().epoch_start), (1, Offset(3)));
        s
    };
    let mut s = story(Defects::NONE);
    assert!(!s.fetch(3, 0).proposed, "below the high watermark");
    assert!(!s.fetch(3, 2).proposed, "below the epoch's start");
    assert!(s.fetch(3, 3).proposed);
    let mut s = story(Defects::NONE.with(Defect::IsrExpandBelowEpochStart));
    assert!(!s.fetch(3, 0).proposed);
    assert!(s.fetch(3, 2).proposed);
}

#[test]
fn only_registered_unfenced_incarnations_join() {
    let mut s = Story::new(Defects::NONE, 1);
    let _ = s.lead(0, 0, &[1]);
    s.fence(3, 3);
    assert!(!s.fetch(3, 0).proposed, "fenced");
    s.register(3, 9);
    assert_eq!(s.fetch_as(3, 3, 0), Err(ResponseError::NotLeaderOrFollower), "an older incarnation");
    assert!(!s.fetch_as(3, 10, 0).unwrap().proposed, "not known yet");
    assert!(s.fetch_as(3, 9, 0).unwrap().proposed);
    let proposal = s.p.proposal(BrokerEpoch(4)).unwrap();
    assert_eq!(proposal.isr, vec![(NodeId(1), BrokerEpoch(4)), (NodeId(3), BrokerEpoch(9))]);
}

#[test]
fn a_refused_change_is_taken_back_and_an_unclear_one_stays_pending() {
    let mut s = Story::new(Defects::NONE, 1);
    let _ = s.lead(0, 0, &[1]);
    assert!(s.fetch(2, 0).proposed);
    assert!(!s.refuse(ResponseError::IneligibleReplica));
    assert!(!s.p.leading().unwrap().isr.is_pending());
    assert!(s.fetch(2, 0).proposed);
    assert!(!s.refuse(ResponseError::InvalidUpdateVersion));
    assert!(s.p.leading().unwrap().isr.is_pending());
    assert!(s.refuse(ResponseError::UnknownServerError), "asked again");
    // Metadata settles it.
    let _ = s.lead(0, 1, &[1, 2]);
    assert!(!s.p.leading().unwrap().isr.is_pending());
    assert_eq!(s.p.isr(), ids(&[1, 2]));
}

#[test]
fn a_state_already_known_does_not_disturb_a_pending_change() {
    let mut s = Story::new(Defects::NONE, 1);
    let _ = s.lead(0, 0, &[1]);
    let _ = s.fetch(2, 0);
    let _ = s.confirm(1, &[1, 2]);
    assert!(s.fetch(3, 0).proposed);
    // The metadata log brings what the answer brought before.
    let _ = s.lead(0, 1, &[1, 2]);
    assert!(s.p.leading().unwrap().isr.is_pending());
    let _ = s.lead(0, 0, &[1]);
    assert_eq!(s.p.isr().len(), 2, "an older state is passed over");
}

#[test]
fn requests_are_fenced_by_leader_epoch() {
    let mut s = Story::new(Defects::NONE, 1);
    assert_eq!(s.p.check(-1, false), Err(ResponseError::NotLeaderOrFollower));
    let _ = s.lead(4, 0, &[1, 2, 3]);
    assert_eq!(s.p.check(4, true), Ok(()));
    assert_eq!(s.p.check(-1, true), Ok(()));
    assert_eq!(s.p.check(3, true), Err(ResponseError::FencedLeaderEpoch));
    assert_eq!(s.p.check(5, true), Err(ResponseError::UnknownLeaderEpoch));
    assert_eq!(s.p.check_follower_fetch(3), Err(ResponseError::FencedLeaderEpoch));
    assert!(s.follow(2, 5, 1));
    assert_eq!(s.p.check(5, true), Err(ResponseError::NotLeaderOrFollower));
    assert_eq!(s.p.check(5, false), Ok(()), "consumers may read from followers");
    let mut s = Story::new(Defects::NONE.with(Defect::FetchUnfenced), 1);
    let _ = s.lead(4, 0, &[1, 2, 3]);
    assert_eq!(s.p.check_follower_fetch(3), Ok(()));
    assert_eq!(s.p.check(3, true), Err(ResponseError::FencedLeaderEpoch), "others are fenced still");
}

#[test]
fn a_followers_high_watermark_stays_within_its_log_and_falls_with_it() {
    let mut s = Story::new(Defects::NONE, 1);
    let _ = s.lead(0, 0, &[1]);
    s.append(4);
    assert_eq!(s.hw(), 4);
    assert!(s.follow(2, 1, 1));
    assert!(!s.p.follow_watermarks(Offset(9), Offset(0), &mut s.out));
    assert_eq!(s.hw(), 4);
    s.p.truncate(s.now, Offset(2), TruncationReason::Divergence, &mut s.out);
    s.settle();
    assert_eq!((s.hw(), s.p.log.log_end()), (2, Offset(2)));
    assert!(s.traces.contains(&TraceEvent::Truncated {
        partition: ID,
        from: Offset(4),
        to: Offset(2),
        reason: TruncationReason::Divergence
    }));
    s.p.start_anew(s.now, Offset(7), &mut s.out);
    s.settle();
    assert_eq!((s.hw(), s.p.log.log_start(), s.p.log.log_end()), (7, Offset(7), Offset(7)));
}

#[test]
fn retention_moves_the_log_start_before_the_disk_is_done() {
    let moved = |traces: &[TraceEvent]| -> Vec<_> {
        let start = |t: &TraceEvent| match t {
            TraceEvent::LogStart { log_start, reason, .. } => Some((*log_start, *reason)),
            _ => None,
        };
        traces.iter().filter_map(start).collect()
    };
    let mut s = Story::new(Defects::NONE, 1);
    let _ = s.lead(0, 0, &[1]);
    s.append(1);
    let batch = s.p.log.size();
    let mut config = s.p.log.config().clone();
    (config.segment_bytes, config.retention_bytes) = (2 * batch, 2 * batch as i64 + 1);
    s.p.log.set_config(config);
    s.append(5);
    s.p.apply_retention(s.now, &mut s.out);
    // Nothing has completed, and a follower that fetches now is told 2.
    assert_eq!(s.p.log.log_start(), Offset(2));
    let mut outputs = Vec::new();
    s.out.take(&mut outputs);
    let asked = outputs.iter().any(|o| matches!(o, Output::Disk { .. }));
    for output in outputs {
        match output {
            Output::Disk { token, op } => s.held.push((token, op)),
            Output::Trace(event) => s.traces.push(*event),
            other => panic!("{other:?}"),
        }
    }
    assert!(asked);
    assert_eq!(moved(&s.traces), [(Offset(2), LogStartReason::Retention)]);
    s.release();
    // A follower's log start moves as its leader's; what lies below goes later, and moves nothing.
    s.follow(2, 1, 1);
    s.p.follow_watermarks(Offset(6), Offset(4), &mut s.out);
    s.settle();
    let size = s.p.log.size();
    s.p.apply_retention(s.now, &mut s.out);
    s.settle();
    assert_eq!((s.p.log.log_start(), s.p.log.size()), (Offset(4), size - 2 * batch));
    assert_eq!(moved(&s.traces)[1..], [(Offset(4), LogStartReason::Leader)]);
}

#[test]
fn a_log_being_cut_does_not_follow_its_leaders_log_start_and_does_not_say_so() {
    let mut s = Story::new(Defects::NONE, 1);
    let _ = s.lead(0, 0, &[1]);
    s.append(4);
    s.follow(2, 1, 1);
    s.p.truncate(s.now, Offset(3), TruncationReason::Divergence, &mut s.out);
    assert!(!s.p.log.is_ready());
    s.p.follow_watermarks(Offset(3), Offset(2), &mut s.out);
    s.settle();
    assert_eq!(s.p.log.log_start(), Offset(0));
    assert!(!s.traces.iter().any(|t| matches!(t, TraceEvent::LogStart { .. })));
}
