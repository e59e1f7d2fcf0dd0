//! Groups and offsets that are deleted.

use super::*;
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};

fn delete(c: &mut Cluster, host: usize, groups: &[&str]) -> Vec<(String, i16)> {
    let names = groups.iter().map(|g| GroupId(text(g))).collect();
    let ResponseKind::DeleteGroups(r) = c.ask(host, 2, DeleteGroupsRequest::default().with_groups_names(names)) else {
        panic!()
    };
    r.results.iter().map(|g| (g.group_id.to_string(), g.error_code)).collect()
}

/// The error of the whole, and of each partition.
fn delete_offsets(c: &mut Cluster, host: usize, topic: &str, partitions: &[i32]) -> (i16, Vec<i16>) {
    let asked = partitions.iter().map(|&p| OffsetDeleteRequestPartition::default().with_partition_index(p));
    let topic = OffsetDeleteRequestTopic::default().with_name(TopicName(text(topic))).with_partitions(asked.collect());
    let request = OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![topic]);
    let ResponseKind::OffsetDelete(r) = c.ask(host, 0, request) else { panic!() };
    (r.error_code, r.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code).collect())
}

#[test]
fn only_empty_groups_are_deleted_and_their_offsets_with_them() {
    let (mut c, host) = cluster();
    let mut a = Member::new(&mut c, host);
    rebalance(&mut c, &mut [&mut a]);
    assert_eq!(a.commit(&mut c, 0, 7), 0);
    assert_eq!(delete(&mut c, host, &[GROUP]), [(GROUP.to_owned(), code(ResponseError::NonEmptyGroup))]);
    assert_eq!(fetch_offset(&mut c, host, 0, false), Ok(7));
    assert_eq!(a.leave(&mut c), 0);
    c.run(50);
    let mut codes = delete(&mut c, host, &[GROUP, "", "nobody"]);
    codes.sort();
    let expected = [
        ("".to_owned(), code(ResponseError::InvalidGroupId)),
        (GROUP.to_owned(), 0),
        ("nobody".to_owned(), code(ResponseError::GroupIdNotFound)),
    ];
    assert_eq!(codes, expected);
    assert!(!coordinated(&c, host).groups.contains_key(GROUP));
    assert_eq!(fetch_offset(&mut c, host, 0, false), Ok(-1));
    // The next coordinator does not know it either.
    c.kill(host);
    c.run(3000);
    let next = find(&mut c, if host == 1 { 2 } else { 1 });
    assert_eq!(fetch_offset(&mut c, next, 0, false), Ok(-1));
    let elsewhere = (1..=3).find(|h| ![host, next].contains(h)).unwrap();
    assert_eq!(delete(&mut c, elsewhere, &[GROUP]), [(GROUP.to_owned(), code(ResponseError::NotCoordinator))]);
}

#[test]
fn a_deletion_is_told_when_it_is_committed() {
    let (mut c, host) = cluster();
    let by_hand = Member::new(&mut c, host);
    assert_eq!(by_hand.commit(&mut c, 0, 7), 0);
    c.cut = (1..=3).filter(|&h| h != host).map(|h| (host, h)).collect();
    let names = vec![GroupId(text("nobody")), group()];
    let late = by_hand.send(&mut c, 2, DeleteGroupsRequest::default().with_groups_names(names));
    c.run(20);
    assert!(c.answer(late).is_none());
    let ResponseKind::DeleteGroups(r) = wait(&mut c, late) else { panic!() };
    let codes: Vec<i16> = r.results.iter().map(|g| g.error_code).collect();
    assert_eq!(codes, [code(ResponseError::GroupIdNotFound), code(ResponseError::CoordinatorNotAvailable)]);
}

#[test]
fn offsets_of_topics_in_use_stay() {
    let (mut c, host) = cluster();
    let by_hand = Member::new(&mut c, host);
    assert_eq!(delete_offsets(&mut c, host, TOPIC, &[0]).0, code(ResponseError::GroupIdNotFound));
    assert_eq!((by_hand.commit(&mut c, 0, 7), by_hand.commit(&mut c, 1, 8)), (0, 0));
    let unknown = code(ResponseError::UnknownTopicOrPartition);
    assert_eq!(delete_offsets(&mut c, host, TOPIC, &[0, 2, 99]), (0, vec![0, 0, unknown]));
    assert_eq!(delete_offsets(&mut c, host, "nothing", &[0]), (0, vec![unknown]));
    assert_eq!((fetch_offset(&mut c, host, 0, false), fetch_offset(&mut c, host, 1, false)), (Ok(-1), Ok(8)));
    let mut a = Member::new(&mut c, host);
    rebalance(&mut c, &mut [&mut a]);
    let in_use = code(ResponseError::GroupSubscribedToTopic);
    assert_eq!(delete_offsets(&mut c, host, TOPIC, &[1]), (0, vec![in_use]));
    assert_eq!(fetch_offset(&mut c, host, 1, false), Ok(8));
}
