//! What client applications did and saw: the plain data that black-box oracles judge.
//!
//! A history is a stream of operations in the order the world saw them. A send is invoked and later completes;
//! everything else is one event that stands at its completion and carries its time of invocation where an oracle
//! needs it. The world adds time, client and incarnation ([`Entry`]).

use crate::ids::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A unique value, as sent. Values are unique over a whole run: client in the top 20 bits, index below.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValueId(pub u64);

impl ValueId {
    /// The `index`-th value of a client.
    pub const fn new(client: ClientId, index: u64) -> ValueId {
        ValueId(((client.0 as u64) << 44) | (index & ((1 << 44) - 1)))
    }
    /// Who sent it.
    pub const fn client(self) -> ClientId {
        ClientId((self.0 >> 44) as u32)
    }
    /// Which of its values it is.
    pub const fn index(self) -> u64 {
        self.0 & ((1 << 44) - 1)
    }
}

/// A topic's name and a partition, as clients know them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It certainly did not happen, and never will.
    Fail,
    /// It may or may not have happened, and may yet.
    Info,
}

/// What a reader may see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IsolationLevel {
    /// Everything below the high watermark.
    ReadUncommitted,
    /// Everything below the last stable offset, but for aborted data.
    ReadCommitted,
}

/// `acks` of a producer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Acks {
    /// 0: nobody answers.
    #[serde(rename = "0")]
    None,
    /// 1: the leader has it in its page cache.
    #[serde(rename = "1")]
    Leader,
    /// all, or -1: every in-sync replica has it in its page cache.
    #[serde(rename = "all")]
    All,
}

/// A client's configured promises, as far as oracles need them to judge a recorded history.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProducerFacts {
    /// `acks`.
    pub acks: Acks,
    /// `enable.idempotence`, as in force.
    pub idempotent: bool,
    /// `max.in.flight.requests.per.connection`.
    pub max_in_flight: u32,
    /// `delivery.timeout.ms` + `max.block.ms`: the longest a send may take, in nanoseconds.
    pub resolves_within: u64,
}

/// How the members of a group share out its partitions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RebalanceProtocol {
    /// Classic groups whose members give everything up at each rebalance.
    Eager,
    /// Classic groups whose members keep what stays theirs (KIP-429).
    Cooperative,
    /// Groups whose coordinator reconciles its members one by one (KIP-848).
    Consumer,
}

/// When a group member commits, as seen from its handling of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Processing {
    /// Every record of a poll is finished before the next poll, and committed no earlier: at least once.
    FinishThenCommit,
    /// A poll's offsets are committed before its records are handled: at most once.
    CommitThenFinish,
    /// Records are handed to workers, and polling goes on: offsets may be committed before their records are finished.
    HandOff,
}

/// What a group member is, as far as oracles need it to judge a recorded history.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MemberFacts {
    /// `group.id`.
    pub group: Arc<str>,
    /// `group.protocol`, and for classic groups what the assignor asks for.
    pub protocol: RebalanceProtocol,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance: Option<Arc<str>>,
    /// `enable.auto.commit`.
    pub auto_commit: bool,
    /// When it commits.
    pub processing: Processing,
    /// Whether it applies an external effect for each record ([`Op::Effect`]).
    pub effects: bool,
    /// `auto.offset.reset` is `latest`: a partition without a commit is read from its end.
    pub resets_to_latest: bool,
    /// Topics that each get a record that follows from one it read ([`Op::Send`], `from`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards_to: Vec<Arc<str>>,
    /// The topic that gets the only record that follows, where it declines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declines_to: Option<Arc<str>>,
}

/// What made a member commit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommitTrigger {
    /// `enable.auto.commit`, at its interval.
    Auto,
    /// The application, and it waits.
    Sync,
    /// The application, and it does not wait.
    Async,
    /// A revocation, before the partitions are given up (auto-commit, or the application's callback).
    Revocation,
    /// Leaving the group in order.
    Close,
}

/// One record as a reader got it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its batch's leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// What it carries.
    pub value: ValueId,
    /// A hash of its key, if it has one.
    pub key: Option<u64>,
    /// Its timestamp in milliseconds.
    pub timestamp: i64,
}

/// Why a reader's position jumped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionReason {
    /// Newly assigned: the start that the application gave it, or the group's committed offset.
    Assigned,
    /// The application sought.
    Seek,
    /// `auto.offset.reset`.
    Reset,
    /// The reader found by KIP-320 that what it had read was truncated.
    Truncation,
}

/// One operation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// A producer came up.
    Producer {
        /// Its settings.
        facts: ProducerFacts,
    },
    /// An instance of a read model came up: from each partition's start on it keeps the latest value of each key that it
    /// reads, in memory. First operation of its incarnation.
    ReadModel {
        /// The topics it reads.
        topics: Vec<Arc<str>>,
    },
    /// A send was handed to the producer.
    Send {
        /// What is sent; names the send.
        value: ValueId,
        /// The topic.
        topic: Arc<str>,
        /// The partition, if the application chose it.
        partition: Option<i32>,
        /// A hash of its key, if it has one.
        key: Option<u64>,
        /// It has no value: what its key stood for is deleted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        tombstone: bool,
        /// How long after its intended time it was handed over, in nanoseconds (0 in a closed loop): response
        /// time counts from the intended time, so a stalled client omits nothing.
        #[serde(default)]
        late_by: u64,
        /// The value it follows from, if a service made it of one it had read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<ValueId>,
    },
    /// A send resolved.
    Sent {
        /// Which.
        value: ValueId,
        /// How.
        outcome: Outcome,
        /// The partition it went to, if it got so far.
        partition: Option<i32>,
        /// The acknowledged offset, if the answer had one.
        offset: Option<Offset>,
        /// How often it was put into a request.
        attempts: u32,
        /// The producer id it last went out under.
        producer_id: Option<ProducerId>,
        /// The error's name, if it failed.
        error: Option<Arc<str>>,
    },
    /// Records were handed to the application, of one partition, in order.
    Poll {
        /// Topic and partition.
        source: TopicPartition,
        /// The reader's isolation.
        isolation: IsolationLevel,
        /// The records.
        records: Vec<ReadRecord>,
    },
    /// A reader's position in a partition is now `offset` for another reason than reading.
    Position {
        /// Topic and partition.
        source: TopicPartition,
        /// The next offset to read.
        offset: Offset,
        /// Why.
        reason: PositionReason,
    },
    /// A client asks for an offset.
    AskOffset {
        /// Names the question, within the client.
        ask: u64,
    },
    /// A successful answer to such a question.
    ListOffsets {
        /// Which question.
        ask: u64,
        /// Topic and partition.
        source: TopicPartition,
        /// The topic's id, if the client knows it.
        topic_id: Option<TopicId>,
        /// The isolation asked for.
        isolation: IsolationLevel,
        /// The timestamp asked for: -1 latest, -2 earliest, else milliseconds.
        query: i64,
        /// The answer.
        offset: Offset,
        /// The leader epoch of the answer.
        leader_epoch: LeaderEpoch,
    },
    /// One pass of the final full read of a partition is complete: everything from `from` to `to` was polled by
    /// this client.
    FinalRead {
        /// Topic and partition.
        source: TopicPartition,
        /// The log start it began at.
        from: Offset,
        /// The end it reached, exclusive.
        to: Offset,
    },

    // --- groups ---
    /// A group member came up. First operation of its incarnation.
    Member {
        /// What it is.
        facts: MemberFacts,
    },
    /// Partitions came to a member (Java: `onPartitionsAssigned`): only those it did not have. Stands before the first
    /// poll or position of any of them.
    Assigned {
        /// The generation (classic) or member epoch (KIP-848).
        generation: i32,
        /// The new ones; may be empty.
        partitions: Vec<TopicPartition>,
    },
    /// Partitions were taken from a member. Stands after whatever its callback committed.
    Revoked {
        /// The generation or member epoch it had them in.
        generation: i32,
        /// Which; all of them when an eager rebalance begins.
        partitions: Vec<TopicPartition>,
        /// It had lost them already and could commit nothing (Java: `onPartitionsLost`).
        lost: bool,
    },
    /// A member asks the coordinator to commit offsets.
    Commit {
        /// Names the commit, within client and incarnation; rising.
        commit: u64,
        /// What made it.
        trigger: CommitTrigger,
        /// The generation or member epoch it is sent with.
        generation: i32,
        /// Each partition's next offset to be read.
        offsets: Vec<(TopicPartition, Offset)>,
    },
    /// A commit resolved. One that is never answered stays `info`.
    Committed {
        /// Which.
        commit: u64,
        /// How.
        outcome: Outcome,
        /// The error's name, if it failed.
        error: Option<Arc<str>>,
    },
    /// The application is through with the records that were delivered to it in `from..to`.
    Finished {
        /// Topic and partition.
        source: TopicPartition,
        /// First offset.
        from: Offset,
        /// End, exclusive.
        to: Offset,
    },
    /// The application did something outside Kafka because of a record.
    Effect {
        /// Topic and partition.
        source: TopicPartition,
        /// The record's offset.
        offset: Offset,
        /// What it carried.
        value: ValueId,
    },
    /// What the harness found committed for a group, after convergence. None: no commit.
    GroupOffset {
        /// `group.id`.
        group: Arc<str>,
        /// Topic and partition.
        source: TopicPartition,
        /// The committed offset.
        offset: Option<Offset>,
    },
}

/// An operation with its circumstances.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The world's time, nanoseconds.
    pub at: u64,
    /// Which client.
    pub client: ClientId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// What it did.
    #[serde(flatten)]
    pub op: Op,
}
