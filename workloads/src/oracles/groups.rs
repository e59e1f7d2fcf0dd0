//! The memory that the oracles of consumer groups share: members, what they hold, what they committed, what was
//! delivered and finished. It judges nothing.
//!
//! Which commit is in force is not known to a client, only which ones may be: a commit that was accepted takes effect
//! between its invocation and its answer; one without an answer may take effect at any time from its invocation on,
//! until it is *fenced* (a classic member of a later generation was seen, or under KIP-848 somebody else has the
//! partition); a rejected one never does. A commit is out of the question once another was accepted that was invoked
//! after the first could take effect for the last time. Those that remain are the candidates for where a member may
//! resume.
//!
//! What is kept for a partition: candidates, and ranges of offsets that are nearly one piece.

use super::ranges::Ranges;
use super::slots::Slot;
use super::store::{NONE, Reader, Store};
use crate::permission::AppFacts;
use klamm_model::checks::Check;
use klamm_model::history::{
    CommitTrigger, Entry, IsolationLevel, MemberFacts, Op, Outcome, PositionReason, Processing, RebalanceProtocol,
    TopicPartition, ValueId,
};
use klamm_model::ids::{ClientId, Incarnation, Offset};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One incarnation of one client.
pub(super) type Who = (ClientId, u32);

/// It may still take effect.
pub(super) const OPEN: u64 = u64::MAX;

/// A commit of one partition that may be in force.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) who: Who,
    pub(super) commit: u64,
    pub(super) trigger: CommitTrigger,
    pub(super) generation: i32,
    pub(super) offset: i64,
    pub(super) invoked: u64,
    /// When it was accepted.
    pub(super) accepted: Option<u64>,
    /// After this moment it takes effect no more; [`OPEN`] if that is not known.
    pub(super) until: u64,
}

impl Candidate {
    fn is(&self, who: Who, commit: u64) -> bool {
        self.who == who && self.commit == commit
    }
    /// The operations that show it, of this partition alone.
    pub(super) fn story(&self, source: &TopicPartition) -> impl Iterator<Item = Entry> + use<> {
        let entry = |at, op| Entry { at, client: self.who.0, incarnation: Incarnation(self.who.1), op };
        let asked = Op::Commit {
            commit: self.commit,
            trigger: self.trigger,
            generation: self.generation,
            offsets: vec![(source.clone(), Offset(self.offset))],
        };
        let accepted = Op::Committed { commit: self.commit, outcome: Outcome::Ok, error: None };
        let asked = entry(self.invoked, asked);
        [asked].into_iter().chain(self.accepted.map(|at| entry(at, accepted)))
    }
}

/// A partition was given up in order: the commit made for it was accepted.
#[derive(Clone, Debug)]
pub(super) struct Handover {
    pub(super) commit: Candidate,
    /// What was delivered after that commit was asked for ends here.
    pub(super) delivered: i64,
}

impl Handover {
    /// Nothing below may be delivered again.
    pub(super) fn end(&self) -> i64 {
        self.commit.offset.max(self.delivered)
    }
}

/// A partition was assigned, and nothing of it delivered yet.
#[derive(Clone, Default, Debug)]
pub(super) struct Window {
    /// Commits that may have been in force at some time since the assignment.
    pub(super) candidates: Vec<Candidate>,
    /// There may have been none.
    pub(super) none: bool,
    /// Where else it may begin: after a reset for want of a commit, or where truncation was found.
    pub(super) also: Vec<(i64, PositionReason)>,
}

/// A partition in a member's hands.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) generation: i32,
    pub(super) assigned_at: u64,
    /// Until the first record is delivered.
    pub(super) window: Option<Window>,
    /// The assignment's position has not been told yet.
    pub(super) awaited: bool,
    /// The next offset, as far as known; [`NONE`] if not.
    pub(super) next: i64,
    /// The highest offset committed in this assignment, or where it began; [`NONE`] at first.
    pub(super) floor: i64,
    /// The last commit above or at that.
    pub(super) last_commit: Option<Candidate>,
    /// How the partition came here, if in order.
    pub(super) clean: Option<Handover>,
    /// A redelivery after such a handover was reported.
    pub(super) reported: bool,
    /// When the application, a reset or a truncation moved the position last.
    pub(super) moved_at: u64,
    /// The commit made to give it up, and where what was delivered since ends.
    pub(super) giving_up: Option<(u64, i64)>,
}

/// One incarnation of a group member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) group: usize,
    pub(super) facts: MemberFacts,
    pub(super) holdings: BTreeMap<u32, Holding>,
    /// Commits without an answer, with their partitions.
    pending: BTreeMap<u64, Vec<u32>>,
}

impl Member {
    /// Its offsets may be committed before their records are finished.
    pub(super) fn commits_early(&self) -> bool {
        self.facts.processing != Processing::FinishThenCommit
    }
}

/// An effect outside Kafka.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applied {
    pub(super) at: u64,
    pub(super) who: Who,
    pub(super) value: ValueId,
    /// When the partition was assigned to that member; 0 if it was not its own any more.
    pub(super) assigned_at: u64,
}

/// One partition in one group.
#[derive(Debug)]
pub(super) struct GroupPart {
    /// Where the group began to read it.
    pub(super) start: Option<i64>,
    /// It was a reset or a seek that had it begin there.
    pub(super) start_moved: bool,
    pub(super) delivered: Ranges,
    /// The part of it that was delivered to members who commit before they finish.
    pub(super) delivered_early: Ranges,
    pub(super) finished: Ranges,
    /// The members' isolation.
    pub(super) isolation: IsolationLevel,
    /// Positions were moved up to here by the application or a legal reset.
    pub(super) moved_to: (i64, Option<PositionReason>),
    /// No commit is certain to have been in force ever.
    none: bool,
    pub(super) commits: Vec<Candidate>,
    /// Members with a window.
    waiting: Vec<Who>,
    /// It lies idle after having been given up in order.
    handover: Option<Handover>,
    pub(super) effects: BTreeMap<i64, Applied>,
    /// What was found committed after convergence.
    pub(super) found: Option<Entry>,
}

impl GroupPart {
    fn new() -> GroupPart {
        GroupPart {
            start: None,
            start_moved: false,
            delivered: Ranges::default(),
            delivered_early: Ranges::default(),
            finished: Ranges::default(),
            isolation: IsolationLevel::ReadCommitted,
            moved_to: (NONE, None),
            none: true,
            commits: Vec::new(),
            waiting: Vec::new(),
            handover: None,
            effects: BTreeMap::new(),
            found: None,
        }
    }
}

impl GroupPart {
    /// What was found committed after convergence, and where.
    pub(super) fn committed(&self) -> Option<(&Entry, i64)> {
        let found = self.found.as_ref()?;
        let Op::GroupOffset { offset: Some(Offset(committed)), .. } = found.op else { return None };
        Some((found, committed))
    }
    /// The first offset the group answers for.
    pub(super) fn begins(&self, store: &Store, part: u32) -> Option<i64> {
        let start = self.start?;
        let start = if self.start_moved { i64::MIN } else { start };
        Some(start.max(store.parts[part as usize].log_start))
    }
    /// What is known of the application that handled an offset.
    pub(super) fn app(&self, offset: i64) -> AppFacts {
        AppFacts { commits_before_finishing: self.delivered_early.contains(offset), ..AppFacts::default() }
    }
    /// Why an offset was passed over that was delivered to nobody, if positions were moved beyond it.
    pub(super) fn passed_over(&self, offset: i64) -> Option<PositionReason> {
        self.moved_to.1.filter(|_| !self.delivered.contains(offset) && offset < self.moved_to.0)
    }
    /// What members could see of what the group answers for, below an offset.
    pub(super) fn visible(&self, store: &Store, part: u32, below: i64) -> Vec<(i64, Slot)> {
        let from = self.begins(store, part).unwrap_or(below);
        let mut slots = store.parts[part as usize].kept_between(from, below);
        slots.retain(|(_, slot)| slot.flags & visible_flag(self.isolation) != 0);
        slots
    }
}

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: Arc<str>,
    pub(super) parts: BTreeMap<u32, GroupPart>,
    /// The latest generation any classic member was seen in.
    generation: i32,
}

impl Group {
    pub(super) fn part(&mut self, part: u32) -> &mut GroupPart {
        self.parts.entry(part).or_insert_with(GroupPart::new)
    }
}

/// Offsets that must hold nothing visible, or a finding is due.
#[derive(Debug)]
pub(super) struct OpenGap {
    pub(super) check: Check,
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) group: usize,
    pub(super) at: u64,
    pub(super) client: ClientId,
    pub(super) isolation: IsolationLevel,
    pub(super) boundary: Option<PositionReason>,
    pub(super) detail: String,
    pub(super) witness: Vec<Entry>,
}

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    names: BTreeMap<Arc<str>, usize>,
    pub(super) list: Vec<Group>,
    members: BTreeMap<Who, Member>,
    /// By partition.
    pub(super) open: BTreeMap<u32, Vec<OpenGap>>,
}

pub(super) fn who(entry: &Entry) -> Who {
    (entry.client, entry.incarnation.0)
}

impl Groups {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    pub(super) fn group(&mut self, name: &Arc<str>) -> usize {
        if let Some(n) = self.names.get(name) {
            return *n;
        }
        self.names.insert(name.clone(), self.list.len());
        self.list.push(Group { name: name.clone(), parts: BTreeMap::new(), generation: i32::MIN });
        self.list.len() - 1
    }
    pub(super) fn member(&self, who: Who) -> Option<&Member> {
        self.members.get(&who)
    }
    /// A member's partition, with the group's knowledge of it.
    pub(super) fn held(&mut self, who: Who, part: u32) -> Option<(&MemberFacts, &mut Holding, &mut GroupPart)> {
        let member = self.members.get_mut(&who)?;
        let group = &mut self.list[member.group];
        Some((&member.facts, member.holdings.get_mut(&part)?, group.part(part)))
    }

    /// A member came up. What its client was before is gone, and will not hear of its commits.
    pub(super) fn came_up(&mut self, entry: &Entry, facts: &MemberFacts) {
        let group = self.group(&facts.group);
        let old: Vec<Who> =
            self.members.range((entry.client, 0)..=(entry.client, u32::MAX)).map(|(who, _)| *who).collect();
        for who in old {
            let member = self.members.remove(&who).expect("listed above");
            for part in member.holdings.keys() {
                self.list[member.group].part(*part).waiting.retain(|w| *w != who);
            }
        }
        let member = Member { group, facts: facts.clone(), holdings: BTreeMap::new(), pending: BTreeMap::new() };
        self.members.insert(who(entry), member);
    }

    /// Partitions came to a member.
    pub(super) fn assigned(&mut self, entry: &Entry, generation: i32, parts: &[u32]) {
        let me = who(entry);
        let Some(member) = self.members.get_mut(&me) else { return };
        let group = &mut self.list[member.group];
        let consumer = member.facts.protocol == RebalanceProtocol::Consumer;
        if !consumer && generation > group.generation {
            group.generation = generation;
            for c in group.parts.values_mut().flat_map(|p| &mut p.commits) {
                if c.until == OPEN && c.generation < generation {
                    c.until = entry.at;
                }
            }
        }
        for &part in parts {
            let state = group.part(part);
            if consumer {
                for c in state.commits.iter_mut().filter(|c| c.until == OPEN && c.who != me) {
                    c.until = entry.at;
                }
            }
            let window = Window { candidates: state.commits.clone(), none: state.none, also: Vec::new() };
            let settled = |h: &Handover| !state.none && state.commits.iter().all(|c| c.offset >= h.commit.offset);
            let clean = state.handover.take().filter(settled);
            if !state.waiting.contains(&me) {
                state.waiting.push(me);
            }
            let holding = Holding {
                generation,
                assigned_at: entry.at,
                window: Some(window),
                awaited: true,
                next: NONE,
                floor: NONE,
                last_commit: None,
                clean,
                reported: false,
                moved_at: 0,
                giving_up: None,
            };
            member.holdings.insert(part, holding);
        }
    }

    /// Partitions were taken from a member.
    pub(super) fn revoked(&mut self, entry: &Entry, parts: &[u32], lost: bool) {
        let me = who(entry);
        let Some(member) = self.members.get_mut(&me) else { return };
        let group = &mut self.list[member.group];
        for part in parts {
            let Some(holding) = member.holdings.remove(part) else { continue };
            let state = group.part(*part);
            state.waiting.retain(|w| *w != me);
            state.handover = holding.giving_up.filter(|_| !lost).and_then(|(commit, delivered)| {
                let found = state.commits.iter().find(|c| c.is(me, commit) && c.accepted.is_some());
                found.map(|c| Handover { commit: c.clone(), delivered })
            });
        }
        // What was committed to give these up was not committed to give up the others, whose positions went with it.
        member.holdings.values_mut().for_each(|h| h.giving_up = None);
    }

    /// A commit is under way.
    pub(super) fn commit(&mut self, me: Who, part: u32, candidate: Candidate) {
        let Some(member) = self.members.get_mut(&me) else { return };
        member.pending.entry(candidate.commit).or_default().push(part);
        if let Some(holding) = member.holdings.get_mut(&part)
            && matches!(candidate.trigger, CommitTrigger::Revocation | CommitTrigger::Close)
        {
            holding.giving_up = Some((candidate.commit, NONE));
        }
        let group = &mut self.list[member.group];
        let classic = member.facts.protocol != RebalanceProtocol::Consumer;
        // What is sent in a generation that is over cannot take effect any more.
        let until = if classic && candidate.generation < group.generation { candidate.invoked } else { OPEN };
        let candidate = Candidate { until, ..candidate };
        let state = group.part(part);
        state.commits.push(candidate.clone());
        for who in &state.waiting {
            let window = self.members.get_mut(who).and_then(|m| m.holdings.get_mut(&part));
            if let Some(window) = window.and_then(|h| h.window.as_mut()) {
                window.candidates.push(candidate.clone());
            }
        }
    }

    /// A commit resolved.
    pub(super) fn committed(&mut self, entry: &Entry, commit: u64, outcome: Outcome) {
        let me = who(entry);
        let Some(member) = self.members.get_mut(&me) else { return };
        let Some(parts) = member.pending.remove(&commit) else { return };
        let group = member.group;
        for part in parts {
            let state = self.list[group].part(part);
            match outcome {
                Outcome::Info => {}
                Outcome::Fail => {
                    state.commits.retain(|c| !c.is(me, commit));
                    for who in state.waiting.clone() {
                        let window = self.members.get_mut(&who).and_then(|m| m.holdings.get_mut(&part));
                        if let Some(window) = window.and_then(|h| h.window.as_mut()) {
                            window.candidates.retain(|c| !c.is(me, commit));
                        }
                    }
                }
                Outcome::Ok => {
                    state.none = false;
                    let Some(own) = state.commits.iter_mut().find(|c| c.is(me, commit)) else { continue };
                    own.accepted = Some(entry.at);
                    own.until = entry.at;
                    let invoked = own.invoked;
                    state.commits.retain(|c| c.until >= invoked);
                }
            }
        }
    }

    /// A member's position was told. False if nothing entitles it to a new one: a partition that it kept.
    pub(super) fn position(
        &mut self,
        entry: &Entry,
        part: u32,
        offset: i64,
        reason: PositionReason,
        log_start: i64,
    ) -> bool {
        let me = who(entry);
        let Some(member) = self.members.get_mut(&me) else { return true };
        let state = self.list[member.group].part(part);
        let Some(holding) = member.holdings.get_mut(&part) else { return true };
        if reason == PositionReason::Assigned && !std::mem::take(&mut holding.awaited) {
            return false;
        }
        holding.awaited = false;
        if offset < 0 {
            return true;
        }
        if state.start.is_none() {
            state.start = Some(offset);
            state.start_moved = matches!(reason, PositionReason::Seek | PositionReason::Reset);
        }
        let mut legal = true;
        match (reason, &mut holding.window) {
            (PositionReason::Assigned, _) => {}
            (PositionReason::Seek, window) => {
                // From here on it is the poll oracles' matter.
                *window = None;
                state.waiting.retain(|w| *w != me);
            }
            (PositionReason::Truncation, Some(window)) => window.also.push((offset, reason)),
            (PositionReason::Reset, Some(window)) => {
                // For want of a commit, or because the log does not reach down to it any more.
                legal = window.none || window.candidates.iter().any(|c| c.offset < log_start);
                if legal {
                    window.also.push((offset, reason));
                }
            }
            (_, None) => {}
        }
        if reason != PositionReason::Assigned && legal {
            holding.moved_at = entry.at;
            holding.clean = None;
            if matches!(reason, PositionReason::Seek | PositionReason::Reset) && offset > state.moved_to.0 {
                state.moved_to = (offset, Some(reason));
            }
        }
        holding.next = offset;
        if holding.floor == NONE || reason != PositionReason::Assigned {
            holding.floor = if holding.floor == NONE { offset } else { holding.floor.min(offset) };
        }
        true
    }

    /// Nothing waits for the first record any more.
    pub(super) fn resumed(&mut self, me: Who, part: u32) -> Option<Window> {
        let member = self.members.get_mut(&me)?;
        let window = member.holdings.get_mut(&part)?.window.take()?;
        self.list[member.group].part(part).waiting.retain(|w| *w != me);
        Some(window)
    }

    /// Records up to `last` were delivered to a member, from the one at `first` on.
    pub(super) fn delivered(&mut self, me: Who, part: u32, first: i64, last: i64, isolation: IsolationLevel) {
        let Some(member) = self.members.get_mut(&me) else { return };
        let early = member.commits_early();
        let state = self.list[member.group].part(part);
        let mut from = first;
        if let Some(holding) = member.holdings.get_mut(&part) {
            if holding.next != NONE {
                from = from.min(holding.next);
            }
            holding.next = last.saturating_add(1);
            if let Some((_, delivered)) = &mut holding.giving_up {
                *delivered = (*delivered).max(last.saturating_add(1));
            }
            if holding.floor == NONE {
                holding.floor = first;
            }
        }
        state.start.get_or_insert(from);
        state.isolation = isolation;
        state.delivered.insert(from, last.saturating_add(1));
        if early {
            state.delivered_early.insert(from, last.saturating_add(1));
        }
    }

    /// What lies below a log start leaves the memory.
    pub(super) fn trim(&mut self, part: u32, below: i64) {
        for state in self.list.iter_mut().filter_map(|g| g.parts.get_mut(&part)) {
            for ranges in [&mut state.delivered, &mut state.delivered_early, &mut state.finished] {
                ranges.trim(below);
            }
            state.effects = state.effects.split_off(&below);
        }
        if let Some(open) = self.open.get_mut(&part) {
            open.retain(|g| g.to > below);
        }
        self.open.retain(|_, list| !list.is_empty());
    }

    /// A gap that is only a finding if something visible turns up in it.
    pub(super) fn watch(&mut self, part: u32, gap: OpenGap) {
        let list = self.open.entry(part).or_default();
        let covered = |g: &&OpenGap| {
            (g.check, g.group, g.isolation) == (gap.check, gap.group, gap.isolation)
                && g.from <= gap.from
                && gap.to <= g.to
        };
        if list.iter().find(covered).is_none() {
            list.push(gap);
        }
    }

    /// A reader passed whole gaps and saw nothing in them: there is nothing.
    pub(super) fn passed(&mut self, part: u32, reader: &Reader, offset: i64, isolation: IsolationLevel) {
        let Some(list) = self.open.get_mut(&part) else { return };
        if reader.last != NONE {
            list.retain(|g| !(g.isolation == isolation && reader.last < g.from && offset >= g.to));
        }
        if list.is_empty() {
            self.open.remove(&part);
        }
    }

    /// The gaps in which a record lies that somebody has read just now.
    pub(super) fn met(&mut self, part: u32, offset: i64, isolation: IsolationLevel) -> Vec<OpenGap> {
        let Some(list) = self.open.get_mut(&part) else { return Vec::new() };
        let visible = |g: &OpenGap| g.isolation == IsolationLevel::ReadUncommitted || isolation == g.isolation;
        let met = list.extract_if(.., |g| visible(g) && (g.from..g.to).contains(&offset)).collect();
        if list.is_empty() {
            self.open.remove(&part);
        }
        met
    }
}

/// What of `from..to` is known to be visible under an isolation: the first such offset and its value.
pub(super) fn visible_between(
    store: &Store,
    part: u32,
    from: i64,
    to: i64,
    isolation: IsolationLevel,
) -> Option<(i64, u64)> {
    let flag = visible_flag(isolation);
    let found = store.parts[part as usize].kept_between(from, to);
    found.into_iter().find(|(_, s)| s.flags & flag != 0).map(|(o, s)| (o, s.value))
}

/// What marks a record that a reader of this isolation sees.
pub(super) fn visible_flag(isolation: IsolationLevel) -> u16 {
    match isolation {
        IsolationLevel::ReadUncommitted => super::slots::READ,
        IsolationLevel::ReadCommitted => super::slots::READ_COMMITTED,
    }
}
