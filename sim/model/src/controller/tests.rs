//! The node as a whole, on a disk that does as it is told: fsyncs can be held back.

use super::envelope;
use super::quorum::{METADATA_DIR, QUORUM_STATE};
use super::{Controller, ControllerSpec, Image};
use crate::config::BrokerConfig;
use crate::defects::Defects;
use crate::disk::{DiskError, DiskOp, DiskReply, DiskResult, DiskToken, FileEntry, Path};
use crate::ids::*;
use crate::inspect::{ControllerInspection, Inspection};
use crate::log::checkpoint::uuid_text;
use crate::node::{ConnId, Endpoint, Input, Listener, Node, Outbox, Output};
use crate::record::schema::MetadataRecord;
use crate::record::{batches, records};
use crate::trace::TraceEvent;
use crate::units::{Duration, Instant, Now, Timestamp};
use crate::versions::VersionCaps;
use bytes::{Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::{BTreeMap, VecDeque};

const CLUSTER: Uuid = Uuid::from_u128(0xc1);

/// A controller, its disk, and what came of it.
struct Rig {
    node: Controller,
    out: Outbox,
    now: Now,
    files: BTreeMap<String, Vec<u8>>,
    /// How much of each file was fsynced.
    durable: BTreeMap<String, usize>,
    inputs: VecDeque<Input>,
    hold_fsync: bool,
    held: Vec<Input>,
    fail: bool,
    outputs: Vec<Output>,
    deadline: Option<Instant>,
    conns: u64,
    correlation: i32,
}

impl Rig {
    fn started() -> Rig {
        Rig::on(BTreeMap::new())
    }
    fn on(files: BTreeMap<String, Vec<u8>>) -> Rig {
        let spec = ControllerSpec {
            id: NodeId(100),
            config: BrokerConfig::kafka_defaults(),
            cluster_id: CLUSTER,
            dir_id: Uuid::from_u128(1000),
            shares_disk: false,
            voters: vec![(NodeId(100), Endpoint::new("c", 9093))],
            elr: true,
            defects: Defects::NONE,
            caps: VersionCaps::default(),
        };
        let mut rig = Rig {
            node: Controller::new(spec),
            out: Outbox::new(),
            now: Now { mono: Instant::ZERO, wall: Timestamp(1_700_000_000_000) },
            durable: files.iter().map(|(name, content)| (name.clone(), content.len())).collect(),
            files,
            inputs: VecDeque::new(),
            hold_fsync: false,
            held: Vec::new(),
            fail: false,
            outputs: Vec::new(),
            deadline: None,
            conns: 0,
            correlation: 0,
        };
        rig.give(Input::Start { rng: Box::new(ChaCha8Rng::seed_from_u64(3)), incarnation: Incarnation(1) });
        rig
    }
    fn restarted(self) -> Rig {
        Rig::on(self.files)
    }

    /// Power is lost: of what a log has not fsynced, `kept` per mille survive.
    fn power_lost(mut self, kept: usize) -> Rig {
        for (name, content) in self.files.iter_mut().filter(|(name, _)| name.ends_with(".log")) {
            let durable = self.durable.get(name).copied().unwrap_or(0).min(content.len());
            content.truncate(durable + (content.len() - durable) * kept / 1000);
        }
        self.restarted()
    }

    fn give(&mut self, input: Input) {
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            self.node.handle(self.now, input, &mut self.out);
            let mut outputs = Vec::new();
            self.deadline = self.out.take(&mut outputs);
            for output in outputs {
                match output {
                    Output::Disk { token, op } => self.disk(token, op),
                    other => self.outputs.push(other),
                }
            }
        }
    }
    fn disk(&mut self, token: DiskToken, op: DiskOp) {
        let hold = self.hold_fsync && matches!(op, DiskOp::Fsync { .. });
        if let (DiskOp::Fsync { file }, false) = (&op, hold) {
            let len = self.files.get(file.as_str()).map_or(0, Vec::len);
            self.durable.insert(file.to_string(), len);
        }
        let result = if self.fail { Err(DiskError::Io) } else { self.perform(op) };
        let input = Input::Disk { token, result };
        if hold {
            self.held.push(input);
        } else {
            self.inputs.push_back(input);
        }
    }
    fn perform(&mut self, op: DiskOp) -> DiskResult {
        match op {
            DiskOp::Append { file, data } => {
                self.files.entry(file.to_string()).or_default().extend_from_slice(&data);
            }
            DiskOp::Write { file, data } => {
                self.files.insert(file.to_string(), data.to_vec());
            }
            DiskOp::Read { ranges } => {
                let read = |r: crate::disk::ReadRange| {
                    let file = self.files.get(r.file.as_str()).ok_or(DiskError::NotFound)?;
                    let from = (r.pos as usize).min(file.len());
                    let to = (r.pos.saturating_add(r.len) as usize).min(file.len());
                    Ok(Bytes::copy_from_slice(&file[from..to]))
                };
                return Ok(DiskReply::Data(ranges.into_iter().map(read).collect::<Result<_, DiskError>>()?));
            }
            DiskOp::Fsync { .. } | DiskOp::FsyncDir { .. } => {}
            DiskOp::Truncate { file, len } => self.files.entry(file.to_string()).or_default().truncate(len as usize),
            DiskOp::Rename { from, to } => {
                let content = self.files.remove(from.as_str()).ok_or(DiskError::NotFound)?;
                self.files.insert(to.to_string(), content);
            }
            DiskOp::Delete { path } => {
                self.files.retain(|name, _| name != path.as_str() && !name.starts_with(&format!("{path}/")));
            }
            DiskOp::List { dir } => {
                let below = self.files.iter().filter(|(name, _)| name.starts_with(dir.as_str()));
                let entry = |(name, content): (&String, &Vec<u8>)| FileEntry {
                    path: Path::new(name),
                    len: content.len() as u64,
                };
                return Ok(DiskReply::Listing(below.map(entry).collect()));
            }
        }
        Ok(DiskReply::Done)
    }
    fn release(&mut self) {
        self.hold_fsync = false;
        for input in std::mem::take(&mut self.held) {
            self.give(input);
        }
    }
    fn pass(&mut self, ms: u64) {
        let end = self.now.mono + Duration::from_millis(ms);
        while let Some(at) = self.deadline.filter(|&at| at <= end) {
            self.now.mono = at;
            self.give(Input::Timer);
        }
        self.now.mono = end;
    }

    fn accept(&mut self) -> ConnId {
        self.conns += 1;
        let conn = ConnId::incoming(self.conns);
        self.give(Input::Accepted { conn, listener: Listener::Controller });
        conn
    }
    fn ask(&mut self, conn: ConnId, version: i16, request: impl Into<RequestKind>) {
        self.correlation += 1;
        let correlation = self.correlation;
        self.give(Input::Request { conn, correlation, version, request: Box::new(request.into()) });
    }
    /// Takes the responses so far.
    fn answers(&mut self) -> Vec<ResponseKind> {
        let mut answers = Vec::new();
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Response { response, .. } => answers.push(*response),
                other => self.outputs.push(other),
            }
        }
        answers
    }
    fn answer(&mut self) -> ResponseKind {
        let mut answers = self.answers();
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0)
    }
    fn traces(&self) -> impl Iterator<Item = &TraceEvent> {
        self.outputs.iter().filter_map(|o| if let Output::Trace(t) = o { Some(&**t) } else { None })
    }
    fn inspect(&self) -> ControllerInspection {
        let Inspection::Controller(inspection) = self.node.inspect() else { panic!("not a controller") };
        inspection
    }
    /// An image of what was told as committed, and where it ends.
    fn told(&self) -> Image {
        let mut image = Image::new();
        for trace in self.traces() {
            if let TraceEvent::MetadataCommitted { offset, epoch, record, .. } = trace {
                assert!(*offset >= image.next_offset(), "in order");
                image.replay(*offset, *epoch, record).unwrap();
            }
        }
        image
    }

    fn register(&mut self, conn: ConnId, id: i32) {
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(id))
            .with_cluster_id(StrBytes::from_string(uuid_text(CLUSTER)))
            .with_incarnation_id(Uuid::from_u128(id as u128 + 70))
            .with_log_dirs(vec![Uuid::from_u128(1000 + id as u128)]);
        self.ask(conn, 4, request);
    }
    fn beat(&mut self, conn: ConnId, id: i32, epoch: i64) {
        let applied = self.inspect().committed.0 - 1;
        let request = BrokerHeartbeatRequest::default()
            .with_broker_id(BrokerId(id))
            .with_broker_epoch(epoch)
            .with_current_metadata_offset(applied);
        self.ask(conn, 1, request);
    }
    fn fetch(&mut self, conn: ConnId, version: i16, epoch: i32, offset: i64, last_epoch: i32) {
        let partition = FetchPartition::default()
            .with_current_leader_epoch(epoch)
            .with_fetch_offset(offset)
            .with_last_fetched_epoch(last_epoch)
            .with_partition_max_bytes(1 << 20);
        let mut topic = FetchTopic::default().with_partitions(vec![partition]);
        if version >= 13 {
            topic.topic_id = TopicId::METADATA.0;
        } else {
            topic.topic = TopicName(StrBytes::from_static_str(METADATA_TOPIC));
        }
        let request = FetchRequest::default()
            .with_cluster_id(Some(StrBytes::from_string(uuid_text(CLUSTER))))
            .with_max_wait_ms(500)
            .with_max_bytes(1 << 20)
            .with_topics(vec![topic]);
        self.ask(conn, version, request);
    }
}

fn partition(answer: ResponseKind) -> fetch_response::PartitionData {
    let ResponseKind::Fetch(mut answer) = answer else { panic!("not a fetch answer") };
    assert_eq!(answer.error_code, 0);
    answer.responses.remove(0).partitions.remove(0)
}

#[test]
fn a_new_cluster_begins_with_a_leader_change_and_features() {
    let mut rig = Rig::started();
    let inspection = rig.inspect();
    assert!(inspection.active);
    assert_eq!((inspection.epoch, inspection.committed), (LeaderEpoch(1), Offset(3)));
    let active = TraceEvent::ControllerActive { epoch: LeaderEpoch(1) };
    assert!(rig.traces().any(|t| *t == active));
    let told = rig.told();
    assert_eq!(told.digest(), inspection.image_digest);
    assert!(told.elr_enabled());
    let state = &rig.files[&format!("{METADATA_DIR}/{QUORUM_STATE}")];
    assert!(String::from_utf8_lossy(state).contains("\"leaderId\":100,\"leaderEpoch\":1,\"votedId\":-1"));
    // What an observer fetches is the same: a control batch, and one atomic batch.
    let conn = rig.accept();
    rig.fetch(conn, 17, -1, 0, -1);
    let data = partition(rig.answer());
    assert_eq!((data.error_code, data.high_watermark), (0, 3));
    assert_eq!((data.current_leader.leader_id.0, data.current_leader.leader_epoch), (100, 1));
    let fetched = data.records.unwrap();
    let fetched: Vec<_> = batches(&fetched).map(Result::unwrap).collect();
    assert_eq!(fetched.len(), 2);
    assert!(fetched[0].0.is_control() && fetched[0].0.leader_epoch == LeaderEpoch(1));
    let content: Vec<_> =
        records(&fetched[1].1).map(|r| MetadataRecord::decode(r.unwrap().value.unwrap()).unwrap()).collect();
    assert!(matches!(&content[..], [MetadataRecord::FeatureLevel { .. }, MetadataRecord::FeatureLevel { .. }]));
}

#[test]
fn an_answer_waits_until_its_records_are_durable() {
    let mut rig = Rig::started();
    let conn = rig.accept();
    rig.hold_fsync = true;
    rig.register(conn, 1);
    assert!(rig.answers().is_empty());
    assert_eq!(rig.inspect().committed, Offset(3));
    // Another broker's refusal rests on nothing written, but on what is not committed yet: it waits as well.
    let other = rig.accept();
    rig.beat(other, 2, 9);
    assert!(rig.answers().is_empty());
    rig.release();
    let answers = rig.answers();
    let [ResponseKind::BrokerRegistration(registered), ResponseKind::BrokerHeartbeat(refused)] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!((registered.error_code, registered.broker_epoch), (0, 3));
    assert_eq!(refused.error_code, ResponseError::StaleBrokerEpoch.code());
    assert_eq!(rig.told().digest(), rig.inspect().image_digest);
}

#[test]
fn before_it_leads_it_sends_requests_away() {
    let mut rig = Rig::on(BTreeMap::new());
    rig.files.clear();
    let mut rig = Rig { hold_fsync: true, ..rig };
    rig.give(Input::Start { rng: Box::new(ChaCha8Rng::seed_from_u64(3)), incarnation: Incarnation(2) });
    let conn = rig.accept();
    rig.register(conn, 1);
    let ResponseKind::BrokerRegistration(answer) = rig.answer() else { panic!() };
    assert_eq!(answer.error_code, ResponseError::NotController.code());
    rig.fetch(conn, 17, -1, 0, -1);
    assert_eq!(partition(rig.answer()).error_code, ResponseError::NotLeaderOrFollower.code());
    rig.ask(conn, 4, ApiVersionsRequest::default());
    let ResponseKind::ApiVersions(versions) = rig.answer() else { panic!() };
    assert!(versions.api_keys.iter().any(|k| k.api_key == ApiKey::BrokerHeartbeat as i16));
}

#[test]
fn a_fetch_at_the_end_waits_for_records_or_its_time() {
    let mut rig = Rig::started();
    let (fetching, living) = (rig.accept(), rig.accept());
    rig.fetch(fetching, 17, 1, 3, 1);
    assert!(rig.answers().is_empty());
    // Muted: what comes on the same connection waits behind it; on another it does not.
    rig.register(fetching, 2);
    rig.register(living, 1);
    let answers = rig.answers();
    assert_eq!(answers.len(), 3, "{answers:?}");
    let data = answers.into_iter().find(|a| matches!(a, ResponseKind::Fetch(_))).map(partition).unwrap();
    assert_eq!(data.high_watermark, 4, "the first commit woke it");
    let end = rig.inspect().committed.0;
    rig.fetch(fetching, 12, 1, end, 1);
    rig.pass(499);
    assert!(rig.answers().is_empty());
    rig.pass(1);
    let data = partition(rig.answer());
    assert_eq!((data.error_code, data.records), (0, Some(Bytes::new())));
    // A connection that is gone is forgotten.
    rig.fetch(fetching, 17, 1, end, 1);
    rig.give(Input::Disconnected { conn: fetching, reason: crate::node::DisconnectReason::Reset });
    rig.pass(1_000);
    assert!(rig.answers().is_empty());
}

#[test]
fn epochs_of_a_fetch_are_checked() {
    let mut rig = Rig::started().restarted();
    assert_eq!(rig.inspect().epoch, LeaderEpoch(2));
    let conn = rig.accept();
    for (epoch, offset, last, error) in [
        (1, 0, 0, ResponseError::FencedLeaderEpoch.code()),
        (3, 0, 0, ResponseError::UnknownLeaderEpoch.code()),
        (2, -1, 0, ResponseError::InvalidRequest.code()),
        (2, 0, 0, 0),
        (2, 3, 1, 0),
    ] {
        rig.fetch(conn, 17, epoch, offset, last);
        let data = partition(rig.answer());
        assert_eq!(data.error_code, error, "{epoch} {offset} {last}");
        assert_eq!(data.diverging_epoch.end_offset, -1);
    }
    // Epoch 1 ended at 3, before the second leader change.
    for (offset, last) in [(4, 1), (9, 2), (2, 7)] {
        rig.fetch(conn, 17, 2, offset, last);
        let data = partition(rig.answer());
        assert!(data.diverging_epoch.end_offset >= 0, "{offset} {last}");
    }
    rig.fetch(conn, 17, 2, 4, 1);
    let diverging = partition(rig.answer()).diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (1, 3));
    let strange = FetchRequest::default().with_cluster_id(Some(StrBytes::from_static_str("x")));
    rig.ask(conn, 17, strange);
    let ResponseKind::Fetch(answer) = rig.answer() else { panic!() };
    assert_eq!(answer.error_code, ResponseError::InconsistentClusterId.code());
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let mut rig = Rig::started();
    let conn = rig.accept();
    for id in 1..=3 {
        rig.register(conn, id);
        let ResponseKind::BrokerRegistration(answer) = rig.answer() else { panic!() };
        rig.beat(conn, id, answer.broker_epoch);
        rig.answer();
    }
    rig.ask(conn, 0, forwarded("orders"));
    let ResponseKind::Envelope(answer) = rig.answer() else { panic!() };
    assert_eq!(answer.error_code, 0);
    assert!(answer.response_data.is_some());
    let before = rig.inspect();
    assert_eq!(before.partitions.len(), 2);
    assert!(before.partitions.iter().all(|p| p.topic == "orders" && p.isr.len() == 3));
    assert_eq!(before.brokers.len(), 3);
    let mut rig = rig.restarted();
    let after = rig.inspect();
    assert_eq!((after.epoch, after.active), (LeaderEpoch(2), true));
    assert_eq!((after.image_digest, &after.partitions), (before.image_digest, &before.partitions));
    assert_eq!(rig.told().digest(), before.image_digest, "all of it is told again");
    // Every broker got a full session at the start, and is fenced when that ends in silence.
    rig.pass(8_999);
    assert!(rig.inspect().brokers.iter().all(|(_, _, fenced, _)| !fenced));
    rig.pass(2);
    assert!(rig.inspect().brokers.iter().all(|(_, _, fenced, _)| *fenced));
    assert_eq!(rig.traces().filter(|t| **t == TraceEvent::Mark { mark: "broker-fenced" }).count(), 3);
}

fn forwarded(topic: &'static str) -> EnvelopeRequest {
    let version = 7;
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::CreateTopics as i16)
        .with_request_api_version(version)
        .with_correlation_id(5);
    let topic = create_topics_request::CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_static_str(topic)))
        .with_num_partitions(2)
        .with_replication_factor(3);
    let mut data = BytesMut::new();
    header.encode(&mut data, ApiKey::CreateTopics.request_header_version(version)).unwrap();
    CreateTopicsRequest::default().with_topics(vec![topic]).encode(&mut data, version).unwrap();
    let request = EnvelopeRequest::default().with_request_data(data.freeze());
    assert!(envelope::open(&request).is_ok());
    request
}

const LOG_FILE: &str = "__cluster_metadata-0/00000000000000000000.log";

/// A controller that has committed something, what its disk holds, and where batches begin.
fn with_metadata() -> (BTreeMap<String, Vec<u8>>, ControllerInspection) {
    let mut rig = Rig::started();
    let conn = rig.accept();
    (1..=3).for_each(|id| rig.register(conn, id));
    let account = rig.inspect();
    (rig.files, account)
}

/// What a start says that stops.
fn refusal(files: BTreeMap<String, Vec<u8>>) -> String {
    let rig = Rig::on(files.clone());
    assert_eq!(rig.files.get(LOG_FILE), files.get(LOG_FILE), "nothing is cut");
    assert!(!rig.inspect().active);
    let halt = |o: &Output| if let Output::Halt { reason } = o { Some(reason.to_string()) } else { None };
    rig.outputs.iter().find_map(halt).expect("the start stops")
}

/// `disk/metadata_damage.sh`: what is known to have been on disk is not there, anywhere in the log. The start stops and
/// says so, instead of going on with fewer topics.
#[test]
fn metadata_damage() {
    let (files, _) = with_metadata();
    let log = files[LOG_FILE].clone();
    let starts: Vec<usize> = batches(&Bytes::from(log.clone()))
        .scan(0, |at, b| Some(std::mem::replace(at, *at + b.unwrap().1.len())))
        .collect();
    for pos in 0..log.len() {
        let within = pos - starts.iter().rfind(|s| **s <= pos).unwrap();
        // A batch's epoch is not covered by its checksum.
        if (12..16).contains(&within) {
            continue;
        }
        let mut files = files.clone();
        files.get_mut(LOG_FILE).unwrap()[pos] ^= 1;
        let said = refusal(files);
        assert!(said.contains("the metadata log is damaged"), "byte {pos}: {said}");
    }
    for len in [0, 1, starts[1], log.len() - 1] {
        let mut files = files.clone();
        files.get_mut(LOG_FILE).unwrap().truncate(len);
        let said = refusal(files);
        assert!(said.contains("Nothing was changed"), "{len}: {said}");
    }
    let mut files = files;
    files.remove(LOG_FILE);
    assert!(refusal(files.clone()).contains("its files are missing"));
    let later = LOG_FILE.replace("00.log", "07.log");
    files.insert(later, Vec::new());
    files.remove("__cluster_metadata-0/recovery-point-offset-checkpoint");
    assert!(refusal(files).contains("the log begins at offset 7"));
}

/// `meta.properties` is written at the first start and compared at every other, before anything else is opened.
#[test]
fn the_directory_says_whose_it_is() {
    let (files, _) = with_metadata();
    let written = String::from_utf8(files["meta.properties"].clone()).unwrap();
    let id = |n| uuid_text(Uuid::from_u128(n));
    assert_eq!(written, format!("cluster.id={}\ndirectory.id={}\nnode.id=100\nversion=1\n", id(0xc1), id(1000)));
    for (content, said) in [
        (written.replace("node.id=100", "node.id=101"), "belongs to node 101"),
        (written.replace(&id(0xc1), &id(0xc2)), "of cluster"),
        (written.replace(&id(1000), &id(2)), "which no directory can have"),
        (written[..20].to_owned(), "meta.properties cannot be read"),
        (String::new(), "meta.properties cannot be read"),
    ] {
        let mut files = files.clone();
        files.insert("meta.properties".to_owned(), content.clone().into_bytes());
        let after = Rig::on(files.clone());
        assert_eq!(after.files, files, "nothing is touched");
        let refused = refusal(files);
        assert!(refused.contains(said), "{content:?}: {refused}");
    }
    // A directory from before there was such a file.
    let mut old = files;
    old.remove("meta.properties");
    let rig = Rig::on(old);
    assert!(rig.inspect().active);
    assert_eq!(rig.files["meta.properties"], written.into_bytes());
}

/// What was not known to be on disk yet may be torn: it is cut, and the rest serves.
#[test]
fn a_torn_tail_of_the_metadata_log_is_cut() {
    let (mut files, before) = with_metadata();
    let whole = files[LOG_FILE].len();
    let torn = files[LOG_FILE][whole - 70..whole - 3].to_vec();
    files.get_mut(LOG_FILE).unwrap().extend(torn);
    let rig = Rig::on(files);
    assert!(rig.inspect().active);
    assert_eq!(rig.inspect().image_digest, before.image_digest);
    assert!(rig.files[LOG_FILE].len() > whole, "a leader's first batch follows what was kept");
    assert_eq!(rig.inspect().recovered.cut_bytes, 67);
    assert!(rig.traces().any(|t| matches!(t, TraceEvent::Found { path, .. } if path.as_str() == METADATA_DIR)));
    assert!(batches(&Bytes::from(rig.files[LOG_FILE].clone())).all(|b| b.is_ok()));
}

#[test]
fn a_failing_disk_halts_it() {
    let mut rig = Rig::started();
    let conn = rig.accept();
    rig.fail = true;
    rig.register(conn, 1);
    assert!(rig.answers().is_empty());
    assert!(rig.outputs.iter().any(|o| matches!(o, Output::Halt { .. })));
}

#[test]
fn it_ends_in_order_once_all_is_durable() {
    let mut rig = Rig::started();
    let conn = rig.accept();
    rig.hold_fsync = true;
    rig.register(conn, 1);
    rig.give(Input::Shutdown);
    assert!(!rig.outputs.iter().any(|o| matches!(o, Output::Exit)));
    rig.release();
    assert!(matches!(rig.answer(), ResponseKind::BrokerRegistration(a) if a.error_code == 0));
    assert!(rig.outputs.iter().any(|o| matches!(o, Output::Exit)));
}

#[test]
fn an_api_that_is_not_offered_costs_the_connection() {
    let mut rig = Rig::started();
    let conn = rig.accept();
    rig.ask(conn, 9, MetadataRequest::default());
    assert!(rig.outputs.iter().any(|o| matches!(o, Output::Close { conn: c } if *c == conn)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever is lost, the next incarnation holds all that was committed, in a higher epoch.
    #[test]
    fn committed_metadata_survives(
        lives in proptest::collection::vec((proptest::collection::vec((1..5i32, any::<bool>()), 0..8), 0..=1000usize), 1..5),
    ) {
        let mut rig = Rig::started();
        for (registrations, kept) in lives {
            let conn = rig.accept();
            for (id, hold) in registrations {
                rig.hold_fsync |= hold;
                rig.register(conn, id);
            }
            let committed: Vec<_> = committed(&rig);
            let epoch = rig.inspect().epoch;
            rig = rig.power_lost(kept);
            let survived = self::committed(&rig);
            prop_assert_eq!(&survived[..committed.len()], &committed[..]);
            prop_assert!(rig.inspect().active && rig.inspect().epoch > epoch);
            prop_assert_eq!(rig.told().digest(), rig.inspect().image_digest);
        }
    }
}

fn committed(rig: &Rig) -> Vec<(Offset, LeaderEpoch, MetadataRecord)> {
    let entry = |t: &TraceEvent| match t {
        TraceEvent::MetadataCommitted { offset, epoch, record, .. } => Some((*offset, *epoch, (**record).clone())),
        _ => None,
    };
    rig.traces().filter_map(entry).collect()
}
