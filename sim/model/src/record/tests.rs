//! Laws of the codec: what is encoded is read back, here and by the codec crate; arbitrary bytes do no harm.

use super::*;
use crate::ids::*;
use crate::units::Timestamp;
use bytes::{Bytes, BytesMut};
use kafka_protocol::records::RecordBatchDecoder;
use proptest::prelude::*;

type Parts = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn parts() -> impl Strategy<Value = Parts> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let headers = proptest::collection::vec(("[a-z]{0,6}", bytes()), 0..4);
    (-5_000_000_000i64..5_000_000_000, bytes(), bytes(), headers)
}

fn headers_of(parts: &Parts) -> Vec<RecordHeader> {
    let header = |(key, value): &(String, Option<Vec<u8>>)| RecordHeader {
        key: key.clone(),
        value: value.as_ref().map(|v| Bytes::copy_from_slice(v)),
    };
    parts.3.iter().map(header).collect()
}

fn build(config: BuilderConfig, all: &[Parts]) -> Bytes {
    let mut builder = BatchBuilder::new(config);
    for parts in all {
        let before = builder.size();
        let headers = headers_of(parts);
        builder.append(Timestamp(parts.0), parts.1.as_deref(), parts.2.as_deref(), &headers);
        let most = record_size_upper_bound(parts.1.as_deref(), parts.2.as_deref(), &headers);
        assert!(builder.size() - before <= most);
    }
    assert_eq!(builder.len(), all.len());
    let size = builder.size();
    let batch = builder.build();
    assert_eq!(batch.len(), size);
    batch
}

fn idempotent() -> BuilderConfig {
    BuilderConfig {
        base_offset: Offset(70),
        leader_epoch: LeaderEpoch(3),
        producer_id: ProducerId(8),
        producer_epoch: ProducerEpoch(2),
        base_sequence: Sequence(i32::MAX - 1),
        transactional: true,
        control: false,
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back(all in proptest::collection::vec(parts(), 1..20)) {
        let batch = build(idempotent(), &all);
        let header = validate(&batch).unwrap();
        prop_assert_eq!(header.next_offset(), Offset(70 + all.len() as i64));
        prop_assert!(header.is_transactional() && !header.is_control() && header.has_producer());
        prop_assert_eq!(header.max_timestamp.0, all.iter().map(|p| p.0).max().unwrap());
        for (n, (record, parts)) in records(&batch).zip(&all).enumerate() {
            let record = record.unwrap();
            prop_assert_eq!((record.offset.0, record.timestamp.0), (70 + n as i64, parts.0));
            prop_assert_eq!((record.key, record.value), (parts.1.as_deref(), parts.2.as_deref()));
            let headers: Vec<_> = record.headers.map(Result::unwrap).collect();
            let expected: Vec<_> = parts.3.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
            prop_assert_eq!(headers, expected);
        }
        prop_assert_eq!(records(&batch).count(), all.len());
    }

    #[test]
    fn the_codec_crate_agrees(all in proptest::collection::vec(parts(), 1..10)) {
        let batch = build(idempotent(), &all);
        let theirs = RecordBatchDecoder::decode(&mut batch.clone()).unwrap().records;
        prop_assert_eq!(theirs.len(), all.len());
        for (record, parts) in theirs.iter().zip(&all) {
            prop_assert_eq!(record.key.as_deref(), parts.1.as_deref());
            prop_assert_eq!(record.value.as_deref(), parts.2.as_deref());
            prop_assert_eq!(record.timestamp, parts.0);
            prop_assert_eq!((record.producer_id, record.producer_epoch), (8, 2));
        }
    }

    /// Also with the checksum made right, so that damage behind it is met.
    #[test]
    fn arbitrary_bytes_do_no_harm(
        all in proptest::collection::vec(parts(), 1..5),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut: prop::sample::Index,
    ) {
        let mut bytes = BytesMut::from(&build(idempotent(), &all)[..]);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if bytes.len() > BATCH_HEADER_SIZE {
            header::write_crc(&mut bytes);
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        walk(&bytes.freeze());
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        walk(&Bytes::from(bytes));
    }
}

fn walk(bytes: &Bytes) {
    let _ = validate(bytes);
    let _ = stamp(bytes.clone(), Offset(5), LeaderEpoch(1));
    let _ = records(bytes).filter_map(Result::ok).map(|r| r.headers.count()).sum::<usize>();
    for (header, batch) in batches(bytes).filter_map(Result::ok) {
        let _ = (header.last_sequence(), header.next_offset(), header.compression());
        for record in records(&batch).filter_map(Result::ok) {
            let _ = ControlRecord::decode(&record);
        }
    }
}

fn three(value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new(BuilderConfig::PLAIN);
    for t in [30, 10, 20] {
        builder.append(Timestamp(t), None, Some(value), &[]);
    }
    builder.build()
}

#[test]
fn a_partial_batch_at_the_end_is_left_out() {
    let one = three(b"abc");
    let two = [&one[..], &one[..]].concat();
    for cut in [two.len() - 1, one.len() + BATCH_HEADER_SIZE, one.len() + 3, one.len()] {
        let data = Bytes::copy_from_slice(&two[..cut]);
        let mut walk = batches(&data);
        assert_eq!(walk.next().unwrap().unwrap().1, one);
        assert!(walk.next().is_none());
        assert_eq!(walk.rest().len(), cut - one.len());
    }
}

#[test]
fn stamping_leaves_the_checksum_right() {
    let data = Bytes::from([&three(b"a")[..], &three(b"bb")[..], b"rest"].concat());
    let stamped = stamp(data.clone(), Offset(500), LeaderEpoch(9));
    let all: Vec<_> = batches(&stamped).map(Result::unwrap).collect();
    let bases: Vec<_> = all.iter().map(|(h, _)| (h.base_offset.0, h.leader_epoch.0)).collect();
    assert_eq!(bases, [(500, 9), (503, 9)]);
    assert!(all.iter().all(|(_, b)| verify_crc(b)));
    assert_eq!(stamped.len(), data.len() - 4);
}

#[test]
fn a_producer_is_set_late() {
    let batch = set_producer(three(b"x"), ProducerId(4), ProducerEpoch(1), Sequence(12));
    let header = validate(&batch).unwrap();
    assert_eq!(
        (header.producer_id, header.producer_epoch, header.last_sequence().0),
        (ProducerId(4), ProducerEpoch(1), 14)
    );
    let mut builder = BatchBuilder::new(BuilderConfig::PLAIN);
    for t in [30, 10, 20] {
        builder.append(Timestamp(t), None, Some(b"x"), &[]);
    }
    builder.set_producer(ProducerId(4), ProducerEpoch(1), Sequence(12));
    assert_eq!(builder.build(), batch);
}

#[test]
fn what_a_leader_refuses() {
    let good = three(b"x");
    let with = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = BytesMut::from(&good[..]);
        change(&mut bytes);
        header::write_crc(&mut bytes);
        validate(&bytes)
    };
    assert!(with(&|_| ()).is_ok());
    assert_eq!(with(&|b| b[22] |= 4), Err(BatchError::Decompression(Compression::Zstd)));
    assert_eq!(with(&|b| b[16] = 1), Err(BatchError::Magic(1)));
    assert_eq!(with(&|b| b[60] = 2), Err(BatchError::Count(2)));
    assert_eq!(with(&|b| b[57..61].copy_from_slice(&i32::MAX.to_be_bytes())), Err(BatchError::Count(i32::MAX)));
    assert_eq!(with(&|b| b[26] = 9), Err(BatchError::Count(3)));
    assert_eq!(with(&|b| b[64] = 6), Err(BatchError::Offsets), "the first record says it is the fourth");
    let far = with(&|b| b[27..35].copy_from_slice(&i64::MAX.to_be_bytes()));
    assert!(far.is_ok(), "deltas may be below zero: {far:?}");
    let mut torn = good.to_vec();
    torn[80] ^= 1;
    assert!(matches!(validate(&torn), Err(BatchError::Crc { .. })));
    assert!(matches!(validate(&good[..good.len() - 1]), Err(BatchError::Short { .. })));
    assert!(matches!(validate(&[&good[..], b"x"].concat()), Err(BatchError::Length(_))));
}

#[test]
fn control_records() {
    let change = ControlRecord::LeaderChange(LeaderChange {
        leader: NodeId(3000),
        voters: vec![NodeId(3000), NodeId(3001)],
        granting: vec![NodeId(3000)],
    });
    let marker = EndTxnMarker { coordinator_epoch: 5 };
    for record in [change, ControlRecord::Commit(marker), ControlRecord::Abort(marker)] {
        let batch = control_batch(BuilderConfig::PLAIN, Timestamp(1), &record);
        assert!(validate(&batch).unwrap().is_control());
        let read = records(&batch).next().unwrap().unwrap();
        assert_eq!(read.key.unwrap(), [[0, 0], record.type_id().to_be_bytes()].concat());
        assert_eq!(ControlRecord::decode(&read), Ok(record));
    }
    // As Kafka writes it: version, leader, one voter, one granting voter, no tags.
    let one = LeaderChange { leader: NodeId(1), voters: vec![NodeId(1)], granting: vec![NodeId(1)] };
    let batch = control_batch(BuilderConfig::PLAIN, Timestamp(1), &ControlRecord::LeaderChange(one));
    let value = records(&batch).next().unwrap().unwrap().value.unwrap();
    assert_eq!(value, [0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 2, 0, 0, 0, 1, 0, 0]);
}
