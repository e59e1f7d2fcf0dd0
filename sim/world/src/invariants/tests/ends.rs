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
                ..BrokerInspection::default()
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
    w.only(Check::DiskAudit);

    // A file that ends early.
    let mut w = World::new();
    w.three_committed();
    let mut short = files.clone();
    short[1].files = file(b"");
    w.judge.audit(AuditAt::Hardship, Instant::ZERO, &short, &accounts);
    w.only(Check::DiskAudit);

    // Producer state that the log does not give.
    let mut w = World::new();
    w.three_committed();
    let accounts = with_state(&w, 9);
    w.judge.audit(AuditAt::Hardship, Instant::ZERO, &files, &accounts);
    w.only(Check::ReplayEqualsLive);
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
    w.fires(Check::Convergence);
}

/// What keeps a client from working: its own account of the way to the cluster, and what it has not done.
#[test]
fn clients_recover_or_are_named() {
    let reach = |hosts: &[&str], awaits_metadata| ReachInspection {
        addresses: hosts.iter().map(|host| Endpoint::new(host, 9092)).collect(),
        awaits_metadata,
    };
    let at = |offset| BTreeMap::from([(("t".to_owned(), 0), Offset(offset))]);
    let well =
        ClientInspection { reach: vec![reach(&["b1", "b9"], false)], positions: at(3), ..ClientInspection::default() };
    let of = |client: &ClientInspection, converged| {
        let mut w = World::new();
        w.three_committed();
        let mut accounts = w.accounts([3; 3]);
        accounts.push(Account { node: CLIENT, inspection: Some(Inspection::Client(client.clone())) });
        let unmet = w.judge.unrecovered(&[CLIENT], &accounts, converged);
        w.judge.not_recovered(Instant::ZERO, Ordinal(1), &unmet);
        let conditions: Vec<_> = unmet.iter().map(|u| u.condition).collect();
        if conditions.is_empty() {
            w.silent()
        } else {
            w.fires(Check::ClientRecovers)
        }
        conditions
    };
    assert_eq!(of(&well, true), [""; 0]);
    for forgot in [reach(&[], false), reach(&["b9"], false)] {
        let client = ClientInspection { reach: vec![forgot], ..well.clone() };
        // Whatever became of the cluster.
        assert_eq!((of(&client, true), of(&client, false)), (vec!["broker-known"], vec!["broker-known"]));
    }
    for (client, condition) in [
        (ClientInspection { reach: vec![reach(&["b1"], true)], ..well.clone() }, "metadata-current"),
        (ClientInspection { pending_sends: 1, ..well.clone() }, "sends-resolved"),
        (ClientInspection { unplaced: 1, ..well.clone() }, "positions-known"),
        (ClientInspection { positions: at(2), ..well.clone() }, "read-to-the-end"),
    ] {
        assert_eq!(of(&client, true), [condition]);
        assert_eq!(of(&client, false), [""; 0], "{condition}: as long as the cluster has not converged");
    }
}

#[test]
fn a_client_that_has_ended_is_not_judged() {
    let mut w = World::new();
    let mut accounts = w.accounts([0; 3]);
    accounts.push(Account { node: CLIENT, inspection: None });
    assert_eq!(w.judge.unrecovered(&[CLIENT], &accounts, true), []);
    assert!(!w.judge.armed().any(|(check, _)| check == Check::ClientRecovers));
}
