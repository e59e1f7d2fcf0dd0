//! Where to cut a follower's log, given what the leader says of an epoch (KIP-101, KIP-279). Follows
//! `AbstractFetcherThread.getOffsetTruncationState`.

use crate::defects::{Defect, Defects};
use crate::ids::*;
use crate::log::Log;

/// Where to cut, and whether the answer settles the matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cut {
    /// The new log end.
    pub to: Offset,
    /// False: another question must follow.
    pub complete: bool,
}

/// What a follower knows of its own log.
pub(super) struct Own<'a> {
    /// Its log.
    pub log: &'a Log,
    /// Its high watermark when it began to follow.
    pub initial: Offset,
}

impl Own<'_> {
    fn end_of(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        Some(self.log.end_offset_for(epoch)).filter(|(epoch, end)| *epoch != LeaderEpoch::NONE && *end != Offset::NONE)
    }
}

/// The leader says that the largest epoch it knows, not above the one asked for, is `epoch`, and ends at `end`.
pub(super) fn cut(own: &Own<'_>, epoch: LeaderEpoch, end: Offset, defects: Defects) -> Cut {
    let log_end = own.log.next_offset();
    let done = |to: Offset| Cut { to: to.min(log_end), complete: true };
    if end == Offset::NONE {
        // The leader knows no such epoch at all.
        return done(own.initial);
    }
    if epoch == LeaderEpoch::NONE || defects.on(Defect::EpochLookupSingleHop) {
        return done(end);
    }
    match own.end_of(epoch) {
        // The follower never had the leader's epoch: cut what is above it, and ask about the next lower one.
        Some((mine, my_end)) if mine != epoch => Cut { to: my_end.min(log_end), complete: false },
        Some((_, my_end)) => done(my_end.min(end)),
        // It keeps no epochs that low.
        None => done(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::tests::disk::MemDisk;
    use crate::config::BrokerConfig;
    use crate::disk::Path;
    use crate::log::LogConfig;
    use crate::node::{Outbox, Output};
    use crate::record::{BatchBuilder, BuilderConfig};
    use crate::units::Now;

    /// A log with so many records in each epoch.
    fn log(epochs: &[(i32, usize)]) -> Log {
        let config = LogConfig::of(&BrokerConfig::kafka_defaults());
        let (mut log, mut out, mut disk) =
            (Log::new(1, Path::new("t-0"), config, Defects::NONE), Outbox::new(), MemDisk::default());
        log.create(Now::default(), TopicId(Uuid::from_u128(1)), &mut out);
        for &(epoch, records) in epochs {
            for _ in 0..records {
                let mut batch = BatchBuilder::new(BuilderConfig::PLAIN);
                batch.append(crate::units::Timestamp(1), None, Some(b"x"), &[]);
                log.append_as_leader(Now::default(), batch.build(), LeaderEpoch(epoch), &mut out).unwrap();
            }
        }
        loop {
            let mut outputs = Vec::new();
            out.take(&mut outputs);
            if outputs.is_empty() {
                return log;
            }
            for output in outputs {
                if let Output::Disk { token, op } = output {
                    let result = disk.run(op);
                    log.on_disk(Now::default(), token, result, &mut out, &mut Vec::new());
                }
            }
        }
    }

    fn at(to: i64, complete: bool) -> Cut {
        Cut { to: Offset(to), complete }
    }

    fn told(log: &Log, epoch: i32, end: i64, defects: Defects) -> Cut {
        cut(&Own { log, initial: Offset(1) }, LeaderEpoch(epoch), Offset(end), defects)
    }

    #[test]
    fn the_lower_of_both_ends_of_a_common_epoch() {
        let log = log(&[(0, 3), (2, 4)]);
        assert_eq!(told(&log, 2, 5, Defects::NONE), at(5, true));
        assert_eq!(told(&log, 2, 50, Defects::NONE), at(7, true), "the leader has more");
        assert_eq!(told(&log, 0, 9, Defects::NONE), at(3, true), "the leader's epoch 0 was longer");
    }

    #[test]
    fn an_epoch_the_follower_never_had_needs_another_question() {
        let log = log(&[(0, 3), (2, 4)]);
        assert_eq!(told(&log, 1, 6, Defects::NONE), at(3, false));
        assert_eq!(told(&log, 1, 6, Defects::NONE.with(Defect::EpochLookupSingleHop)), at(6, true));
    }

    #[test]
    fn without_an_answer_the_high_watermark_must_do() {
        let log = log(&[(1, 3)]);
        assert_eq!(told(&log, -1, -1, Defects::NONE), at(1, true));
        assert_eq!(told(&log, -1, 2, Defects::NONE), at(2, true), "a leader that tells no epoch (KIP-101)");
        assert_eq!(told(&log, 0, 2, Defects::NONE), at(0, true), "everything here is of later epochs");
    }
}
