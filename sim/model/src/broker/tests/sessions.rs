//! Fetch sessions (KIP-227).

use super::*;
use crate::node::ConnId;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::ForgottenTopic;

/// A consumer with a session.
struct Follower {
    conn: ConnId,
    host: usize,
    id: i32,
    epoch: i32,
}

impl Follower {
    /// What came: the error, and for each partition told of its index and bytes.
    fn fetch(&mut self, c: &mut Cluster, partitions: &[(i32, i64)], forget: &[i32]) -> (i16, Vec<(i32, usize)>) {
        let asked = |&(p, offset): &(i32, i64)| {
            let part = FetchPartition::default().with_partition(p).with_fetch_offset(offset);
            part.with_partition_max_bytes(1 << 20)
        };
        let topic = FetchTopic::default().with_topic(name()).with_partitions(partitions.iter().map(asked).collect());
        let gone = ForgottenTopic::default().with_topic(name()).with_partitions(forget.to_vec());
        let request = FetchRequest::default()
            .with_max_wait_ms(0)
            .with_min_bytes(1)
            .with_session_id(self.id)
            .with_session_epoch(self.epoch)
            .with_topics(if partitions.is_empty() { vec![] } else { vec![topic] })
            .with_forgotten_topics_data(if forget.is_empty() { vec![] } else { vec![gone] });
        let correlation = c.send(self.host, self.conn, 11, request);
        c.run(5);
        let Some(ResponseKind::Fetch(r)) = c.answer(correlation) else { panic!("no answer") };
        if r.error_code == 0 {
            self.id = r.session_id;
            self.epoch += 1;
        }
        let told = r.responses.iter().flat_map(|t| &t.partitions);
        let size = |p: &PartitionData| p.records.as_ref().map_or(0, Bytes::len);
        (r.error_code, told.map(|p| (p.partition_index, size(p))).collect())
    }
}

/// One broker with a topic of three partitions.
fn begin() -> (Cluster, Follower) {
    let mut c = Cluster::new(1, Truncation::Fetch, Defects::NONE, VersionCaps::default(), |_| {});
    c.run(500);
    let topic = CreatableTopic::default().with_name(name()).with_num_partitions(3).with_replication_factor(1);
    c.ask(1, 7, CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000));
    c.run(300);
    let conn = c.connect(1);
    (c, Follower { conn, host: 1, id: 0, epoch: 0 })
}

fn write(c: &mut Cluster, partition: i32) -> usize {
    let mut request = produce(1, value("hello"));
    request.topic_data[0].partition_data[0].index = partition;
    assert_eq!(produced(c.ask(1, 9, request)).error_code, 0);
    value("hello").len()
}

#[test]
fn only_news_is_told() {
    let (mut c, mut f) = begin();
    assert_eq!(f.fetch(&mut c, &[(0, 0), (1, 0), (2, 0)], &[]), (0, vec![(0, 0), (1, 0), (2, 0)]), "all at first");
    assert!(f.id > 0);
    assert_eq!(f.fetch(&mut c, &[], &[]), (0, vec![]));
    let size = write(&mut c, 1);
    assert_eq!(f.fetch(&mut c, &[], &[]), (0, vec![(1, size)]));
    // What is asked for changes, and only it is sent along.
    assert_eq!(f.fetch(&mut c, &[(1, 1)], &[]), (0, vec![]));
    assert_eq!((write(&mut c, 0), write(&mut c, 1), write(&mut c, 2)), (size, size, size));
    assert_eq!(f.fetch(&mut c, &[], &[2]), (0, vec![(0, size), (1, size)]), "the third is forgotten");
    // Errors are told each time.
    let (error, told) = f.fetch(&mut c, &[(0, 99), (1, 2)], &[]);
    assert_eq!((error, told), (0, vec![(0, 0)]));
    assert_eq!(f.fetch(&mut c, &[], &[]), (0, vec![(0, 0)]));
    // Put right, it is told of once more, for what it says of itself.
    assert_eq!(f.fetch(&mut c, &[(0, 1)], &[]), (0, vec![(0, 0)]));
    assert_eq!(f.fetch(&mut c, &[], &[]), (0, vec![]));
}

#[test]
fn a_session_is_known_by_its_id_and_epoch() {
    let (mut c, mut f) = begin();
    f.fetch(&mut c, &[(0, 0)], &[]);
    let (id, epoch) = (f.id, f.epoch);
    f.epoch = epoch + 1;
    assert_eq!(f.fetch(&mut c, &[], &[]).0, ResponseError::InvalidFetchSessionEpoch.code());
    (f.id, f.epoch) = (id + 1, epoch);
    assert_eq!(f.fetch(&mut c, &[], &[]).0, ResponseError::FetchSessionIdNotFound.code());
    (f.id, f.epoch) = (id, epoch);
    assert_eq!(f.fetch(&mut c, &[], &[]), (0, vec![]), "none of it did harm");
    // The last request ends it, and is a whole one.
    f.epoch = -1;
    assert_eq!(f.fetch(&mut c, &[(0, 0), (1, 0)], &[]), (0, vec![(0, 0), (1, 0)]));
    assert_eq!(f.id, 0);
    (f.id, f.epoch) = (id, epoch + 1);
    assert_eq!(f.fetch(&mut c, &[], &[]).0, ResponseError::FetchSessionIdNotFound.code());
    // A new full request replaces the old session by another.
    (f.id, f.epoch) = (0, 0);
    f.fetch(&mut c, &[(0, 0)], &[]);
    let old = f.id;
    f.epoch = 0;
    f.fetch(&mut c, &[(0, 0)], &[]);
    assert!(f.id > 0 && f.id != old);
    // Forgetting all there is ends it, too.
    assert_eq!(f.fetch(&mut c, &[], &[0]), (0, vec![]));
    assert_eq!(f.id, 0);
}

#[test]
fn a_full_house_gives_no_more_sessions() {
    let (mut c, _) = begin();
    let conn = c.connect(1);
    for n in 0..=crate::limits::FETCH_SESSIONS {
        let mut f = Follower { conn, host: 1, id: 0, epoch: 0 };
        assert_eq!(f.fetch(&mut c, &[(0, 0)], &[]), (0, vec![(0, 0)]));
        assert_eq!(f.id > 0, n < crate::limits::FETCH_SESSIONS);
    }
    c.run(121_000);
    let mut f = Follower { conn, host: 1, id: 0, epoch: 0 };
    f.fetch(&mut c, &[(0, 0)], &[]);
    assert!(f.id > 0, "an idle one gave way");
}
