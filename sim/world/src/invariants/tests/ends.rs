//! Audits at the ends of phases, and convergence.

use super::*;

fn account(log_end: i64, high_watermark: i64, leader: i32) -> PartitionInspection {
    PartitionInspection {
        partition: P,
        topic: "t".to_owned(),
        dir: Path::new("t-0"),
        leader: NodeId(leader),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        isr: ids(&ALL),
        high_watermark: Offset(high_watermark),
        log_start: Offset(0),
        log_end: Offset(log_end),
        epochs: vec![(LeaderEpoch(0), Offset(0))],
        producers: BTreeMap::new(),
    }
}

impl World {
    pub(super) fn accounts(&self, ends: [i64; 3]) -> Vec<Account> {
        let broker = |n: usize| {
            let inspection = BrokerInspection {
                recovered: Default::default(),
                id: NodeId(n as i32),
                epoch: Some(BrokerEpoch(n as i64 * 10)),
                unfenced: true,
                metadata_applied: Offset(self.metadata),
                image_digest: 1,
                partitions: vec![account(ends[n - 1], 3, 1)],
                coordinated: Vec::new(),
            };
            Account { node: NodeRef(n as u16), inspection: Some(Inspection::Broker(inspection)) }
        };
        let controller = ControllerInspection {
            recovered: Default::default(),
            id: NodeId(9),
            active: true,
            epoch: LeaderEpoch(1),
            committed: Offset(self.metadata),
            image_digest: 1,
            brokers: ALL.iter().map(|n| (NodeId(*n), BrokerEpoch(i64::from(*n) * 10), false, false)).collect(),
            partitions: vec![ControllerPartition {
                partition: P,
                topic: "t".to_owned(),
                replicas: ids(&ALL),
                isr: ids(&ALL),
                elr: vec![],
                leader: NodeId(1),
                leader_epoch: LeaderEpoch(0),
                partition_epoch: PartitionEpoch(0),
            }],
        };
        let mut all: Vec<_> = (1..=3).map(broker).collect();
        all.push(Account { node: NodeRef(0), inspection: Some(Inspection::Controller(controller)) });
        all
    }
}

#[test]
fn audits() {
    let file = |data: &[u8]| {
        // In pieces that are no whole batches.
        let pieces = data.chunks(50).map(Bytes::copy_from_slice).collect();
        vec![(Path::new("t-0/00000000000000000000.log"), pieces)]
    };
    let mut w = World::new();
    let data = w.three_committed();
    let with_state = |w: &World, last_sequence| {
        let mut accounts = w.accounts([3; 3]);
        for account in &mut accounts {
            if let Some(Inspection::Broker(b)) = &mut account.inspection {
                let state = klamm_model::inspect::ProducerInspection {
                    epoch: ProducerEpoch(0),
                    last_sequence: Sequence(last_sequence),
                    last_offset: Offset(2),
                };
                b.partitions[0].producers.insert(ProducerId(5), state);
            }
        }
        accounts
    };
    let files: Vec<_> = (1..=3).map(|n| ReplicaFiles { node: NodeRef(n), files: file(&data) }).collect();
    let accounts = with_state(&w, 2);
    assert_eq!(w.judge.unmet(&accounts, &[]), []);
    w.judge.audit(AuditAt::Hardship, Instant::ZERO, &files, &accounts);
    w.judge.audit(AuditAt::Convergence, Instant::ZERO, &files, &accounts);
    w.silent();

    // A replica's file holds something else.
    let mut wrong = files.clone();
    wrong[2].files = file(&batch(0, 3, 0, (5, 0, 0), b"other"));
    w.judge.audit(AuditAt::Hardship, Instant::ZERO, &wrong, &accounts);
    w.only("disk-audit");

    // A file that ends early.
    let mut w = World::new();
    w.three_committed();
    let mut short = files.clone();
    short[1].files = file(b"");
    w.judge.audit(AuditAt::Hardship, Instant::ZERO, &short, &accounts);
    w.only("disk-audit");

    // Producer state that the log does not give.
    let mut w = World::new();
    w.three_committed();
    let accounts = with_state(&w, 9);
    w.judge.audit(AuditAt::Hardship, Instant::ZERO, &files, &accounts);
    w.only("replay-equals-live");
}

#[test]
fn unmet_conditions_have_names() {
    let mut w = World::new();
    w.three_committed();
    let mut accounts = w.accounts([3, 3, 2]);
    accounts[1].inspection = None;
    let names: Vec<_> = w.judge.unmet(&accounts, &[]).iter().map(|u| u.condition).collect();
    assert_eq!(names, ["node-up", "logs-equal", "logs-equal"]);
    assert!(w.judge.unmet(&accounts, &[P]).iter().all(|u| u.condition == "node-up"));
    let unmet = w.judge.unmet(&accounts, &[]);
    w.judge.not_converged(Instant::ZERO, Ordinal(1), &unmet);
    w.fires("convergence");
}
