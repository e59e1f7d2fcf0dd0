//! All replicas of this broker, and what metadata makes of them: roles, new replicas, removed ones.
//!
//! Replicas are matched by topic id, never by name: a topic that was deleted and created again under its name is
//! another topic (KIP-516). Follows Kafka's `ReplicaManager.applyDelta`, `BrokerMetadataPublisher` and the parts of
//! `LogManager` that own directories.

use super::partition::{IsrAnswer, Moved, Partition};
use super::startup::LoadedLog;
use super::{Phase, Process, SELF};
use crate::config::{BrokerConfig, Properties, TopicConfig};
use crate::controller::image::{Image, PartitionImage};
use crate::defects::Defect;
use crate::disk::{DiskOp, DiskResult, DiskToken, Path};
use crate::ids::*;
use crate::inspect::PartitionInspection;
use crate::log::{Finding, Log, LogConfig, LogEvent};
use crate::node::Outbox;
use crate::trace::TraceEvent;
use crate::units::{Instant, Now};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};

/// All replicas, each with a number that is never used again: it routes disk completions.
#[derive(Debug)]
pub(crate) struct Replicas {
    slots: Vec<Option<Box<Partition>>>,
    by_id: BTreeMap<TopicIdPartition, u32>,
    /// Directories being removed or renamed, with the step under way, and whether that is the last.
    deleting: BTreeMap<u64, (Path, bool)>,
    /// Logs of which only their directory's name says to which topic they belong.
    nameless: BTreeMap<u32, Nameless>,
    /// Partitions of which this disk held a replica before this start.
    pub(super) once_here: BTreeSet<(String, i32)>,
    next_poll: Instant,
}

/// A log with records, and without a `partition.metadata` that can be read.
#[derive(Debug)]
pub(crate) struct Nameless {
    /// Itself, loaded.
    pub log: Log,
    /// From its directory's name.
    pub topic: String,
    /// From its directory's name.
    pub partition: i32,
    /// Whether it was scanned.
    pub recovered: bool,
    /// As checkpointed.
    pub high_watermark: Offset,
}

impl Replicas {
    /// None.
    pub fn new() -> Replicas {
        // Number 0 is the broker itself.
        Replicas {
            slots: vec![None],
            by_id: BTreeMap::new(),
            deleting: BTreeMap::new(),
            nameless: BTreeMap::new(),
            once_here: BTreeSet::new(),
            next_poll: Instant::MAX,
        }
    }
    /// A number for a log to come.
    pub fn reserve(&mut self) -> u32 {
        self.slots.push(None);
        (self.slots.len() - 1) as u32
    }
    /// Puts a replica in its place.
    pub fn insert(&mut self, owner: u32, partition: Partition) {
        self.by_id.insert(partition.id, owner);
        self.slots[owner as usize] = Some(Box::new(partition));
    }
    /// By number.
    pub fn get(&self, owner: u32) -> Option<&Partition> {
        self.slots.get(owner as usize)?.as_deref()
    }
    /// By number.
    pub fn get_mut(&mut self, owner: u32) -> Option<&mut Partition> {
        self.slots.get_mut(owner as usize)?.as_deref_mut()
    }
    /// The number of a replica.
    pub fn owner(&self, id: TopicIdPartition) -> Option<u32> {
        self.by_id.get(&id).copied()
    }
    /// By partition.
    pub fn find(&self, id: TopicIdPartition) -> Option<&Partition> {
        self.get(self.owner(id)?)
    }
    /// Every number, in order of partition.
    pub fn owners(&self) -> Vec<u32> {
        self.by_id.values().copied().collect()
    }
    /// Every replica, in order of partition.
    pub fn iter(&self) -> impl Iterator<Item = &Partition> {
        self.by_id.values().filter_map(|&owner| self.get(owner))
    }

    /// A log was touched: it may have a deadline now.
    pub fn note_deadline(&mut self, owner: u32) {
        if let Some(at) = self.get(owner).and_then(|p| p.log.deadline()) {
            self.next_poll = self.next_poll.min(at);
        }
    }
    /// When [`Replicas::poll`] is next needed.
    pub fn next_poll(&self) -> Instant {
        self.next_poll
    }
    /// Lets logs do what has come due.
    pub fn poll(&mut self, now: Now, out: &mut Outbox) {
        if now.mono < self.next_poll {
            return;
        }
        self.next_poll = Instant::MAX;
        for owner in self.owners() {
            if let Some(p) = self.get_mut(owner) {
                p.log.poll(now, out);
            }
            self.note_deadline(owner);
        }
    }

    /// Retention, on every log.
    pub fn apply_retention(&mut self, now: Now, out: &mut Outbox) {
        for owner in self.owners() {
            if let Some(p) = self.get_mut(owner).filter(|p| p.ready) {
                p.apply_retention(now, out);
            }
            self.note_deadline(owner);
        }
    }
    /// Forgets idle producers, in every log.
    pub fn expire_producers(&mut self, now: Now, out: &mut Outbox) {
        for owner in self.owners() {
            let Some(p) = self.get_mut(owner) else { continue };
            for producer in p.log.remove_expired_producers(now) {
                out.trace(TraceEvent::ProducerStateRemoved { partition: p.id, producer });
            }
        }
    }

    /// Whether a completion is that of a directory being removed.
    pub fn is_deleting(&self, token: DiskToken) -> bool {
        self.deleting.contains_key(&token.seq)
    }
    fn delete_directory(&mut self, dir: Path, out: &mut Outbox) {
        let token = out.disk(SELF, DiskOp::Delete { path: dir.clone() });
        self.deleting.insert(token.seq, (dir, false));
    }

    /// Moves a directory that does not belong here aside, under the name that Kafka gives such; returns that.
    fn set_aside(&mut self, dir: Path, incarnation: Uuid, out: &mut Outbox) -> Path {
        let aside = Path::new(format!("{dir}.{}-stray", incarnation.simple()));
        let token = out.disk(SELF, DiskOp::Rename { from: dir.clone(), to: aside.clone() });
        self.deleting.insert(token.seq, (dir, false));
        out.trace(TraceEvent::Mark { mark: "stray-kept" });
        aside
    }
    /// A step of it is through: then the directory that held the name is fsynced. Says whether all is done.
    fn step_done(&mut self, token: DiskToken, out: &mut Outbox) -> bool {
        match self.deleting.remove(&token.seq) {
            Some((dir, false)) => {
                let token = out.disk(SELF, DiskOp::FsyncDir { dir: dir.parent() });
                self.deleting.insert(token.seq, (dir, true));
                false
            }
            _ => true,
        }
    }
    /// A log that waits for metadata to say what it is.
    pub fn keep_nameless(&mut self, owner: u32, log: Nameless) {
        self.nameless.insert(owner, log);
    }

    /// The replicas' account of themselves.
    pub fn inspect(&self) -> Vec<PartitionInspection> {
        let account = |p: &Partition| PartitionInspection {
            partition: p.id,
            topic: p.topic.to_string(),
            dir: p.dir.clone(),
            leader: p.leader,
            leader_epoch: p.leader_epoch,
            partition_epoch: p.partition_epoch,
            isr: p.isr().to_vec(),
            high_watermark: p.high_watermark(),
            log_start: p.log.log_start(),
            log_end: p.log.log_end(),
            epochs: p.log.epochs().to_vec(),
            producers: p.log.producers().collect(),
        };
        self.iter().map(account).collect()
    }
}

/// What becomes of a directory whose replica does not belong here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Metadata said, while this process followed it, that the topic is deleted or the replica moved.
    Deleted,
    /// It was found at the start: nothing proves that its records are not wanted. It is renamed, and stays.
    Aside,
}

/// `<topic>-<partition>`, as Kafka names a partition's directory.
pub(crate) fn directory(topic: &str, partition: i32) -> Path {
    Path::new(format!("{topic}-{partition}"))
}

/// A topic's settings, with the broker's where it has none.
pub(crate) fn settings(image: &Image, topic: &str, broker: &BrokerConfig) -> BrokerConfig {
    let Some(set) = image.topic_config(topic) else { return broker.clone() };
    let set: Properties = set.clone();
    TopicConfig::examined(&set).over(broker)
}

/// The settings of a topic's logs. The offsets topic is not compacted: whoever reads it reads all of it.
fn log_config(topic: &str, config: &BrokerConfig) -> LogConfig {
    let config = LogConfig::of(config);
    if topic == OFFSETS_TOPIC { LogConfig { compaction: None, ..config } } else { config }
}

impl Process {
    /// The log with a number, loaded or not.
    pub(super) fn log_mut(&mut self, owner: u32) -> Option<&mut Log> {
        if let Phase::Loading(loading) = &mut self.phase
            && let Some(log) = loading.log_mut(owner)
        {
            return Some(log);
        }
        if self.replicas.nameless.contains_key(&owner) {
            return self.replicas.nameless.get_mut(&owner).map(|n| &mut n.log);
        }
        self.replicas.get_mut(owner).map(|p| &mut p.log)
    }

    /// The image holds this incarnation's registration. If logs are missing that the cluster counts on, though the last end
    /// was clean, the controller hears of that first.
    pub(super) fn caught_up(&mut self, now: Now, out: &mut Outbox) {
        self.name_logs(out);
        if self.lifecycle.is_clean() && self.lacks_logs() {
            out.trace(TraceEvent::Mark { mark: "log-missing-after-clean-end" });
            return self.lifecycle.register_again(now.mono);
        }
        self.publish(now, out);
    }

    /// Whether a partition, not a new one, relies on a replica that is not on this disk.
    fn lacks_logs(&self) -> bool {
        let me = self.spec.id;
        let relied_on = |p: &PartitionImage| {
            let eligible = p.isr.contains(&me) || p.elr.contains(&me) || p.last_known_elr.contains(&me);
            p.partition_epoch.0 > 0 && eligible
        };
        self.metadata.image.partitions().any(|(id, p)| relied_on(p) && self.replicas.owner(id).is_none())
    }

    /// Partitions are taken up for the first time.
    fn publish(&mut self, now: Now, out: &mut Outbox) {
        self.published = true;
        let (image, replicas) = (&self.metadata.image, &self.replicas);
        let me = self.spec.id;
        let belongs = |id| image.partition(id).is_some_and(|p| p.replicas.contains(&me));
        let stray: Vec<TopicIdPartition> = replicas.iter().map(|p| p.id).filter(|&id| !belongs(id)).collect();
        let mine: Vec<TopicIdPartition> =
            image.partitions().filter(|(_, p)| p.replicas.contains(&me)).map(|(id, _)| id).collect();
        for id in stray {
            self.remove(id, Fate::Aside, out);
        }
        // Logs were loaded with the broker's settings; topics may have their own.
        let named: BTreeSet<String> = self.replicas.iter().map(|p| p.topic.to_string()).collect();
        for name in named {
            self.configure(&name);
        }
        for id in mine {
            self.take_up(now, id, out);
        }
        self.schedule_tasks(now);
        self.lifecycle.set_ready_to_unfence(now.mono);
    }

    /// Metadata moved on.
    pub(super) fn apply_changes(&mut self, now: Now, changes: super::Changes, out: &mut Outbox) {
        let changed = !changes.partitions.is_empty() || !changes.removed.is_empty();
        if changed && !self.spec.defects.on(Defect::GroupsMissNewPartitions) {
            self.groups.metadata_changed();
        }
        // Removals first: a topic may have come again under its name.
        for topic in &changes.removed {
            for &partition in topic.partitions.keys() {
                self.remove(TopicIdPartition { topic: topic.id, partition }, Fate::Deleted, out);
            }
        }
        for name in &changes.configured {
            self.configure(name);
            self.take_up_missing(now, |_, topic| topic == name, out);
        }
        for &id in &changes.partitions {
            match self.metadata.image.partition(id) {
                Some(state) if state.replicas.contains(&self.spec.id) => self.take_up(now, id, out),
                _ => self.remove(id, Fate::Deleted, out),
            }
        }
        if changes.brokers {
            self.fetchers.brokers_changed(&self.metadata.image);
        }
        self.fetchers.close_idle(now.mono, out);
    }

    fn configure(&mut self, name: &str) {
        let Some(topic) = self.metadata.image.topic_by_name(name) else { return };
        let config = settings(&self.metadata.image, name, &self.spec.config);
        for &partition in topic.partitions.keys() {
            let id = TopicIdPartition { topic: topic.id, partition };
            if let Some(p) = self.replicas.owner(id).and_then(|o| self.replicas.get_mut(o)) {
                p.configure(&config);
                p.log.set_config(log_config(name, &config));
            }
        }
    }

    /// Creates a replica if it is not there, and gives it the role the image says.
    fn take_up(&mut self, now: Now, id: TopicIdPartition, out: &mut Outbox) {
        if self.replicas.owner(id).is_none() && (self.withheld(id, out) || !self.create(now, id, out)) {
            return;
        }
        let Some(owner) = self.replicas.owner(id) else { return };
        self.assume_role(now, owner, out);
        self.look_for_cleaning(now, owner, out);
    }

    /// Whether a replica that was on this disk, and is not any more, is not to be made anew yet: it would lead with an empty
    /// log, and the other replicas would cut theirs to nothing. Another leader, or `unclean.leader.election.enable`, ends that.
    fn withheld(&mut self, id: TopicIdPartition, out: &mut Outbox) -> bool {
        let image = &self.metadata.image;
        let (Some(name), Some(state)) = (image.topic_name(id.topic), image.partition(id)) else { return false };
        let alone = state.replicas.len() == 1 || state.partition_epoch.0 == 0;
        let led_elsewhere = state.leader != NodeId::NONE && state.leader != self.spec.id;
        if alone || led_elsewhere || !self.replicas.once_here.contains(&(name.to_owned(), id.partition)) {
            return false;
        }
        if settings(image, name, &self.spec.config).unclean_leader_election {
            return false;
        }
        if state.leader == self.spec.id {
            let dir = directory(name, id.partition);
            out.trace(TraceEvent::Mark { mark: "empty-log-withheld" });
            self.found(dir, Finding::Withheld, out);
        }
        true
    }

    /// False if its directory's old content is still being removed: then it is created afterwards.
    fn create(&mut self, now: Now, id: TopicIdPartition, out: &mut Outbox) -> bool {
        let Some(name) = self.metadata.image.topic_name(id.topic) else { return false };
        let dir = directory(name, id.partition);
        if self.replicas.deleting.values().any(|(d, _)| *d == dir) {
            return false;
        }
        let config = settings(&self.metadata.image, name, &self.spec.config);
        let topic = TopicName(StrBytes::from_string(name.to_owned()));
        let owner = self.replicas.reserve();
        let mut log = Log::new(owner, dir.clone(), log_config(name, &config), self.spec.defects);
        log.create(now, id.topic, out);
        let mut p = Partition::new(id, topic, dir, log, self.spec.id, &config, self.spec.defects);
        p.loaded(Offset(0));
        trace_loaded(&p, false, out);
        self.replicas.insert(owner, p);
        true
    }

    fn assume_role(&mut self, now: Now, owner: u32, out: &mut Outbox) {
        let image = &self.metadata.image;
        let Some(p) = self.replicas.get_mut(owner).filter(|p| p.ready) else { return };
        let Some(state) = image.partition(p.id) else { return };
        if state.leader == self.spec.id {
            self.fetchers.remove(owner);
            let moved = p.become_leader(now, state, image, out);
            self.after_move(owner, moved, out);
            self.group_role_changed(owner);
            // Fetches that name an older epoch are fenced now.
            return self.check_fetches(owner, out);
        }
        let before = p.leader;
        let new_epoch = p.become_follower(state, out);
        let settled_away = state.leader == NodeId::NONE || !state.isr.contains(&self.spec.id);
        if self.lifecycle.state() == super::lifecycle::BrokerState::PendingControlledShutdown && settled_away {
            self.fetchers.remove(owner);
        } else if new_epoch {
            let same_leader = before == state.leader;
            self.fetchers.follow(owner, p, same_leader, image);
        }
        if new_epoch {
            self.group_role_changed(owner);
            self.fail_produces(owner, ResponseError::NotLeaderOrFollower, out);
            self.fail_deletions(owner, ResponseError::NotLeaderOrFollower, out);
            self.check_fetches(owner, out);
        }
    }

    /// What moved may let others go on.
    pub(super) fn after_move(&mut self, owner: u32, moved: Moved, out: &mut Outbox) {
        if moved.proposed {
            self.propose(owner, out);
        }
        if moved.high_watermark {
            self.check_produces(owner, out);
            self.check_fetches(owner, out);
        }
    }

    fn propose(&mut self, owner: u32, out: &mut Outbox) {
        let Some(epoch) = self.lifecycle.epoch() else { return };
        let Some(p) = self.replicas.get_mut(owner) else { return };
        let Some(proposal) = p.proposal(epoch) else { return };
        if !self.alter.submit(p.id, proposal) {
            p.revert_proposal(out);
        }
    }

    /// The controller answered a partition's wish for another ISR.
    pub(super) fn isr_answered(
        &mut self,
        now: Now,
        id: TopicIdPartition,
        number: u64,
        came_to: IsrAnswer,
        out: &mut Outbox,
    ) {
        let Some(owner) = self.replicas.owner(id) else { return };
        let Some(p) = self.replicas.get_mut(owner) else { return };
        let (moved, again) = p.isr_answered(now, number, came_to, &self.metadata.image, out);
        if again {
            self.propose(owner, out);
        }
        self.after_move(owner, moved, out);
    }

    /// The periodic look for followers that lag.
    pub(super) fn shrink_isrs(&mut self, now: Now, out: &mut Outbox) {
        for owner in self.replicas.owners() {
            let Some(p) = self.replicas.get_mut(owner) else { continue };
            let moved = p.maybe_shrink_isr(now.mono, out);
            self.after_move(owner, moved, out);
        }
    }

    /// The image is caught up, and says to which topics the names of directories belong. A log whose own word of that is
    /// lost is taken for the partition of its name if this broker has a replica of it, and if the log knows of no later
    /// leader than the image does: it keeps its records, and so does every replica that may follow it. Kafka takes the
    /// whole log directory offline if the file is damaged, and sets the log aside if it is missing.
    fn name_logs(&mut self, out: &mut Outbox) {
        for (owner, nameless) in std::mem::take(&mut self.replicas.nameless) {
            let Nameless { mut log, topic, partition, recovered, high_watermark } = nameless;
            let id = self.metadata.image.topic_by_name(&topic).map(|t| TopicIdPartition { topic: t.id, partition });
            let fits = |id: &TopicIdPartition| {
                let state = self.metadata.image.partition(*id).filter(|p| p.replicas.contains(&self.spec.id));
                state.is_some_and(|p| log.latest_epoch().is_none_or(|e| e <= p.leader_epoch))
            };
            let free = |id: &TopicIdPartition| self.replicas.owner(*id).is_none();
            match id.filter(|id| fits(id) && free(id)) {
                Some(id) => {
                    log.name(id.topic, out);
                    out.trace(TraceEvent::Mark { mark: "topic-id-restored" });
                    self.found(log.dir().clone(), Finding::Named, out);
                    self.adopt(LoadedLog { owner, log, topic, id, recovered }, high_watermark, out);
                }
                None => self.set_aside(log.dir().clone(), (topic, partition), out),
            }
        }
    }

    /// The replica does not belong here any more.
    fn remove(&mut self, id: TopicIdPartition, fate: Fate, out: &mut Outbox) {
        let Some(owner) = self.replicas.owner(id) else { return };
        self.fetchers.remove(owner);
        self.group_role_changed(owner);
        self.fail_produces(owner, ResponseError::UnknownTopicOrPartition, out);
        self.fail_deletions(owner, ResponseError::UnknownTopicOrPartition, out);
        self.replicas.by_id.remove(&id);
        let gone = self.replicas.slots[owner as usize].take();
        if let Some(p) = gone {
            self.cleaner.forget(&p.topic, p.id.partition);
            match fate {
                Fate::Deleted => {
                    self.replicas.once_here.remove(&(p.topic.to_string(), p.id.partition));
                    self.replicas.delete_directory(p.dir, out);
                }
                Fate::Aside => self.set_aside(p.dir.clone(), (p.topic.to_string(), p.id.partition), out),
            }
            out.trace(TraceEvent::LogDeleted { partition: id });
            for request in p.fetch_waits {
                self.complete_fetch(request, out);
            }
        }
    }

    fn set_aside(&mut self, dir: Path, of: (String, i32), out: &mut Outbox) {
        self.replicas.once_here.insert(of);
        let to = self.replicas.set_aside(dir.clone(), self.lifecycle.incarnation(), out);
        self.found(dir, Finding::Stray { to }, out);
    }

    /// A directory to which nothing was ever appended, and which does not say its topic.
    pub(super) fn remove_empty_directory(&mut self, dir: Path, out: &mut Outbox) {
        self.replicas.delete_directory(dir, out);
    }

    /// A step of removing a directory is through.
    pub(super) fn directory_deleted(&mut self, now: Now, token: DiskToken, result: DiskResult, out: &mut Outbox) {
        if result.is_err() {
            return self.disk_failed("a directory could not be removed", out);
        }
        // A topic of the same name may wait for the place.
        if self.replicas.step_done(token, out) && self.published {
            self.take_up_missing(now, |_, _| true, out);
        }
    }

    /// Takes up replicas that this broker should have and does not.
    fn take_up_missing(&mut self, now: Now, which: impl Fn(TopicIdPartition, &str) -> bool, out: &mut Outbox) {
        let me = self.spec.id;
        let image = &self.metadata.image;
        let missing = |&(id, p): &(TopicIdPartition, &PartitionImage)| {
            p.replicas.contains(&me) && self.replicas.owner(id).is_none()
        };
        let ids = image.partitions().filter(missing).map(|(id, _)| id);
        let ids: Vec<TopicIdPartition> =
            ids.filter(|id| image.topic_name(id.topic).is_some_and(|n| which(*id, n))).collect();
        for id in ids {
            self.take_up(now, id, out);
        }
    }

    /// A log found on disk is loaded.
    pub(super) fn adopt(&mut self, loaded: LoadedLog, high_watermark: Offset, out: &mut Outbox) {
        let LoadedLog { owner, log, topic, id, recovered } = loaded;
        let dir = log.dir().clone();
        let config = self.spec.config.clone();
        let topic = TopicName(StrBytes::from_string(topic));
        let mut p = Partition::new(id, topic, dir, log, self.spec.id, &config, self.spec.defects);
        p.loaded(high_watermark);
        trace_loaded(&p, recovered, out);
        self.replicas.insert(owner, p);
    }

    /// Something became true of a log.
    pub(super) fn on_log_event(&mut self, now: Now, owner: u32, event: LogEvent, out: &mut Outbox) {
        match event {
            LogEvent::Loaded { recovery, topic_id } => self.log_loaded(now, owner, recovery, topic_id, out),
            LogEvent::Appended => self.appended(now, owner, out),
            // No record may follow the cut before it is known, durably, that nothing beyond is flushed: recovery
            // would not look at what lies below the old recovery point.
            LogEvent::Cut => {
                self.cleaned_log_cut(owner);
                self.write_checkpoint(super::Task::RecoveryPoints, out);
            }
            LogEvent::Truncated => {
                self.fetchers.settled(owner, &mut self.replicas, out);
                self.closing_settled(now, owner, out);
            }
            LogEvent::Flushed { .. } => self.closing_flushed(owner, out),
            LogEvent::Cleaned { up_to } => self.cleaned(now, owner, up_to, out),
            LogEvent::SegmentsDeleted => out.trace(TraceEvent::Mark { mark: "segments-deleted" }),
            LogEvent::AppendForgotten { base, last } => {
                self.forget_produces(owner, base, last, out);
                // A follower fetches again what it could not append.
                self.fetchers.settled(owner, &mut self.replicas, out);
                self.group_appends_forgotten(owner, out);
            }
            LogEvent::Damaged { .. } => self.halt("a log lacks what it must hold", out),
            LogEvent::Failed(error) => self.disk_failed(&format!("a log's disk failed: {error}"), out),
        }
    }

    fn appended(&mut self, now: Now, owner: u32, out: &mut Outbox) {
        let Some(p) = self.replicas.get_mut(owner) else { return };
        if p.is_leader() {
            let moved = p.maybe_raise_high_watermark(now.mono, &self.metadata.image, out);
            self.check_produces(owner, out);
            self.check_fetches(owner, out);
            if moved.proposed {
                self.propose(owner, out);
            }
        } else {
            let rose = self.fetchers.settled(owner, &mut self.replicas, out);
            if rose {
                self.check_fetches(owner, out);
            }
        }
        self.closing_settled(now, owner, out);
    }

    fn schedule_tasks(&mut self, now: Now) {
        use super::Task;
        let config = &self.spec.config;
        let soon = now.mono;
        let tasks = [
            (Task::IsrExpiration, crate::units::Duration::from_nanos(config.replica_lag_time_max.as_nanos() / 2)),
            (Task::HighWatermarks, config.hw_checkpoint_interval),
            (Task::RecoveryPoints, config.recovery_checkpoint_interval),
            (Task::LogStarts, config.log_start_checkpoint_interval),
            (Task::Retention, config.retention_check_interval),
            (Task::ProducerExpiration, config.producer_id_expiration_check),
        ];
        for (task, interval) in tasks {
            self.timers.set(soon + interval, task);
        }
    }
}

fn trace_loaded(p: &Partition, recovered: bool, out: &mut Outbox) {
    out.trace(TraceEvent::LogLoaded {
        partition: p.id,
        dir: p.dir.clone(),
        log_start: p.log.log_start(),
        log_end: p.log.log_end(),
        recovered,
    });
}
