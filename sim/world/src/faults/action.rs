//! The vocabulary of faults. One format serves the symbolic schedule ("kill leader(orders-0)") and the fired one
//! ("kill b2"): a fired schedule is a symbolic one that names hosts.

use serde::{Deserialize, Serialize};

/// Who, as written: a host's name (`b1`, `c1`, `p1`), or an expression resolved when the fault fires.
///
/// `leader(orders-0)`, `follower(orders-0)` (drawn among them), `follower(orders-0, 1)`, `replicas(orders-0)`,
/// `isr(orders-0)`, `controller`, `broker` (drawn), `brokers`, `clients`, `others` (in a pair: everybody else),
/// `last-killed`. Choices are drawn among hosts that run, if any do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Who(pub String);

/// One fault. Durations are nanoseconds here; scenario files write them with units.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Action {
    /// The host's processes vanish; connections are reset; the page cache survives.
    Kill {
        /// Whom.
        who: Who,
    },
    /// Several hosts lose power at one instant; unsynced data is at risk.
    PowerLoss {
        /// Whom.
        who: Vec<Who>,
    },
    /// A dead host's processes start again. No effect on a living one.
    Restart {
        /// Whom.
        who: Who,
    },
    /// SIGTERM: a controlled shutdown.
    Shutdown {
        /// Whom.
        who: Who,
    },
    /// Nothing is processed; peers see silence; input queues up. Ends after the schedule's `for`.
    Pause {
        /// Whom.
        who: Who,
    },
    /// Messages between two sides vanish in silence.
    Partition {
        /// One side.
        a: Vec<Who>,
        /// The other.
        b: Vec<Who>,
        /// Only from `a` to `b`.
        #[serde(default)]
        one_way: bool,
    },
    /// Messages between two sides take longer.
    Latency {
        /// One side.
        a: Vec<Who>,
        /// The other.
        b: Vec<Who>,
        /// Added to each message, up to twice this (drawn).
        extra: u64,
    },
    /// Segments between two sides are lost, each costing a retransmission timeout.
    Loss {
        /// One side.
        a: Vec<Who>,
        /// The other.
        b: Vec<Who>,
        /// Parts per million.
        ppm: u32,
    },
    /// Every connection between two sides is reset, now.
    Reset {
        /// One side.
        a: Vec<Who>,
        /// The other.
        b: Vec<Who>,
    },
    /// Messages of one API in one direction are held back until the end, then delivered in order.
    Hold {
        /// Kafka's name of the API, such as `Fetch`.
        api: String,
        /// Responses instead of requests.
        #[serde(default)]
        responses: bool,
        /// Sender.
        from: Vec<Who>,
        /// Receiver.
        to: Vec<Who>,
    },
    /// A host's name does not resolve.
    Unresolvable {
        /// Whose.
        who: Who,
    },
    /// The device answers nothing until the end; reads that the page cache can serve still are.
    DiskStall {
        /// Whose.
        who: Who,
    },
    /// The disk is slower.
    DiskSlow {
        /// Whose.
        who: Who,
        /// By which factor.
        factor: u32,
    },
    /// The disk fails.
    DiskError {
        /// Whose.
        who: Who,
        /// Which operations.
        on: DiskErrorOn,
    },
    /// The disk says that an fsync is done, and it is not.
    LyingFsync {
        /// Whose.
        who: Who,
    },
    /// Bits of a closed part of a partition's log on disk flip.
    BitRot {
        /// Whose.
        who: Who,
        /// Which partition's log, such as `orders-0`.
        log: String,
    },
    /// No space.
    DiskFull {
        /// Whose.
        who: Who,
    },
    /// The data directory is gone when the host next starts (the host is killed, too).
    Wipe {
        /// Whose.
        who: Who,
    },
    /// The wall clock jumps, and stays so.
    ClockStep {
        /// Whose.
        who: Who,
        /// By how many milliseconds.
        by_ms: i64,
    },
    /// The monotonic clock runs fast or slow.
    ClockDrift {
        /// Whose.
        who: Who,
        /// By how many parts per million.
        ppm: i32,
    },
}

impl Action {
    /// Its name, as schedules write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Action::Kill { .. } => "kill",
            Action::PowerLoss { .. } => "power-loss",
            Action::Restart { .. } => "restart",
            Action::Shutdown { .. } => "shutdown",
            Action::Pause { .. } => "pause",
            Action::Partition { .. } => "partition",
            Action::Latency { .. } => "latency",
            Action::Loss { .. } => "loss",
            Action::Reset { .. } => "reset",
            Action::Hold { .. } => "hold",
            Action::Unresolvable { .. } => "unresolvable",
            Action::DiskStall { .. } => "disk-stall",
            Action::DiskSlow { .. } => "disk-slow",
            Action::DiskError { .. } => "disk-error",
            Action::LyingFsync { .. } => "lying-fsync",
            Action::BitRot { .. } => "bit-rot",
            Action::DiskFull { .. } => "disk-full",
            Action::Wipe { .. } => "wipe",
            Action::ClockStep { .. } => "clock-step",
            Action::ClockDrift { .. } => "clock-drift",
        }
    }

    /// The one host it is done to, where it is one.
    pub fn target_mut(&mut self) -> Option<&mut Who> {
        match self {
            Action::Kill { who }
            | Action::Restart { who }
            | Action::Shutdown { who }
            | Action::Pause { who }
            | Action::Unresolvable { who }
            | Action::DiskStall { who }
            | Action::DiskSlow { who, .. }
            | Action::DiskError { who, .. }
            | Action::LyingFsync { who }
            | Action::BitRot { who, .. }
            | Action::DiskFull { who }
            | Action::Wipe { who }
            | Action::ClockStep { who, .. }
            | Action::ClockDrift { who, .. } => Some(who),
            Action::PowerLoss { .. }
            | Action::Partition { .. }
            | Action::Latency { .. }
            | Action::Loss { .. }
            | Action::Reset { .. }
            | Action::Hold { .. } => None,
        }
    }

    /// The groups of hosts it is done to, where they are groups: two sides, or one group.
    pub fn sides_mut(&mut self) -> Vec<&mut Vec<Who>> {
        match self {
            Action::PowerLoss { who } => vec![who],
            Action::Partition { a, b, .. }
            | Action::Latency { a, b, .. }
            | Action::Loss { a, b, .. }
            | Action::Reset { a, b } => vec![a, b],
            Action::Hold { from, to, .. } => vec![from, to],
            _ => Vec::new(),
        }
    }

    /// Everybody it names.
    pub fn names(&self) -> Vec<Who> {
        let mut copy = self.clone();
        match copy.target_mut() {
            Some(who) => vec![who.clone()],
            None => copy.sides_mut().into_iter().flat_map(|side| side.clone()).collect(),
        }
    }
}

/// Which disk operations fail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskErrorOn {
    /// Appends and writes.
    Write,
    /// Reads.
    Read,
    /// Fsyncs; dirty pages are dropped, as Linux does.
    Fsync,
}

/// One line of a schedule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Planned {
    /// The earliest moment, nanoseconds from the beginning of hardship.
    pub at: u64,
    /// Fires at the first moment from `at` on at which this holds, such as `unreplicated(orders-0)`; without it,
    /// at `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// In a fired schedule: the ordinal of the event that made it fire, within the instant `at`. Only this makes a
    /// replay exact; where it does not come at that instant any more (the schedule was shrunk), the fault fires
    /// right after the instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// How long it lasts, nanoseconds; for kill, power loss, shutdown and wipe: after which the host restarts.
    /// Without it, to the end of hardship.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<u64>,
    /// Which `[[fault]]` of the scenario beside it this line comes from, counted from 0, if it comes from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<usize>,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}
