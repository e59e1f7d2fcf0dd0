//! Network faults, as what turmoil can do to a link.
//!
//! Turmoil's own partition loses segments for good and refuses connections at once: nothing sends them again, so a stream
//! that met one stalls without an error. TCP sends again, and what was cut off arrives once it can. So a partition is
//! turmoil's **hold**, ended by its **release**; where it is one-way, what goes the other way is let through at every tick.
//! (Turmoil answers a connection attempt out of band: where only the way back is cut, it succeeds, and nothing comes.)
//! Turmoil's partition itself serves the moment in which a machine loses power: what was on its way is lost.

use crate::event::HostId;
use crate::world::RuleId;
use klamm_model::units::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration as Span;

/// What a rule does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    Cut,
    Latency(Duration),
}

#[derive(Debug)]
struct Rule {
    a: Vec<HostId>,
    b: Vec<HostId>,
    one_way: bool,
    effect: Effect,
}

impl Rule {
    fn concerns(&self, from: HostId, to: HostId) -> bool {
        let passes = |a: &[HostId], b: &[HostId]| a.contains(&from) && b.contains(&to);
        passes(&self.a, &self.b) || !self.one_way && passes(&self.b, &self.a)
    }
}

/// How a link is: whether each way is cut (from the lower host to the higher, and back), and what is added to its latency.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Link {
    cut: [bool; 2],
    extra: Duration,
}

/// The rules in force, and what was made of them.
#[derive(Debug)]
pub(super) struct Links {
    rules: BTreeMap<RuleId, Rule>,
    next: u32,
    /// Machines without power.
    pub(super) off: BTreeSet<HostId>,
    /// Hosts that turmoil knows, with their addresses.
    known: BTreeMap<HostId, IpAddr>,
    /// Links that are not as they were built.
    links: BTreeMap<(HostId, HostId), Link>,
    /// A link's least and greatest latency.
    latency: (Span, Span),
}

impl Links {
    pub(super) fn new(latency: (Span, Span)) -> Links {
        Links {
            rules: BTreeMap::new(),
            next: 0,
            off: BTreeSet::new(),
            known: BTreeMap::new(),
            links: BTreeMap::new(),
            latency,
        }
    }

    pub(super) fn add(&mut self, a: &[HostId], b: &[HostId], one_way: bool, effect: Effect) -> RuleId {
        self.next += 1;
        let id = RuleId(self.next);
        self.rules.insert(id, Rule { a: a.to_vec(), b: b.to_vec(), one_way, effect });
        id
    }

    pub(super) fn remove(&mut self, rule: RuleId) -> bool {
        self.rules.remove(&rule).is_some()
    }

    pub(super) fn known(&mut self, host: HostId, address: IpAddr) {
        self.known.insert(host, address);
    }

    pub(super) fn knows(&self, host: HostId) -> bool {
        self.known.contains_key(&host)
    }

    pub(super) fn address(&self, host: HostId) -> Option<IpAddr> {
        self.known.get(&host).copied()
    }

    /// Everybody turmoil knows but one.
    pub(super) fn others(&self, host: HostId) -> impl Iterator<Item = IpAddr> + '_ {
        self.known.iter().filter(move |(other, _)| **other != host).map(|(_, address)| *address)
    }

    fn wanted(&self, a: HostId, b: HostId) -> Link {
        let off = self.off.contains(&a) || self.off.contains(&b);
        let cut =
            |from, to| off || self.rules.values().any(|rule| rule.effect == Effect::Cut && rule.concerns(from, to));
        let extra = self.rules.values().filter(|rule| rule.concerns(a, b) || rule.concerns(b, a));
        let extra = extra.fold(Duration::ZERO, |sum, rule| match rule.effect {
            Effect::Latency(extra) => Duration::from_nanos(sum.as_nanos().saturating_add(extra.as_nanos())),
            Effect::Cut => sum,
        });
        Link { cut: [cut(a, b), cut(b, a)], extra }
    }

    /// The rules on each way between hosts that turmoil knows and that have power.
    pub(super) fn ways(&self) -> BTreeMap<(HostId, HostId), Vec<RuleId>> {
        let mut ways: BTreeMap<(HostId, HostId), Vec<RuleId>> = BTreeMap::new();
        let on: Vec<HostId> = self.known.keys().copied().filter(|host| !self.off.contains(host)).collect();
        for (id, rule) in self.rules.iter().filter(|(_, r)| r.effect != Effect::Latency(Duration::ZERO)) {
            let pairs = on.iter().flat_map(|a| on.iter().map(move |b| (*a, *b)));
            for (from, to) in pairs.filter(|(a, b)| a != b && rule.concerns(*a, *b)) {
                ways.entry((from, to)).or_default().push(*id);
            }
        }
        ways
    }

    /// Makes turmoil's links what the rules say. `fresh` names a host whose links turmoil has not as we left them.
    pub(super) fn apply(&mut self, sim: &::turmoil::Sim<'static>, fresh: &[HostId]) {
        let known: Vec<(HostId, IpAddr)> = self.known.iter().map(|(host, address)| (*host, *address)).collect();
        for (i, &(a, at)) in known.iter().enumerate() {
            for &(b, bt) in &known[i + 1..] {
                let wanted = self.wanted(a, b);
                let was = self.links.get(&(a, b)).copied().unwrap_or_default();
                let held = |link: Link| link.cut != [false; 2];
                let touched = fresh.contains(&a) || fresh.contains(&b);
                match (held(was), held(wanted)) {
                    (_, true) if touched || !held(was) || wanted.cut == [true; 2] => sim.hold(at, bt),
                    (true, false) => sim.release(at, bt),
                    (false, false) if touched => sim.release(at, bt),
                    _ => {}
                }
                if was.extra != wanted.extra {
                    let extra = Span::from_nanos(wanted.extra.as_nanos());
                    sim.set_link_latency(at, bt, self.latency.0 + extra);
                    sim.set_link_max_message_latency(at, bt, self.latency.1 + 2 * extra);
                }
                if wanted == Link::default() {
                    self.links.remove(&(a, b));
                } else {
                    self.links.insert((a, b), wanted);
                }
            }
        }
    }

    /// Lets through what goes the open way of a one-way cut. Before every tick.
    pub(super) fn let_through(&self, sim: &::turmoil::Sim<'static>) {
        let mut open: BTreeSet<(IpAddr, IpAddr)> = BTreeSet::new();
        for ((a, b), link) in &self.links {
            let (Some(a), Some(b)) = (self.known.get(a), self.known.get(b)) else { continue };
            match link.cut {
                [true, false] => open.insert((*b, *a)),
                [false, true] => open.insert((*a, *b)),
                _ => continue,
            };
        }
        if open.is_empty() {
            return;
        }
        sim.links(|links| {
            for sent in links.flatten() {
                let (from, to) = sent.pair();
                if open.contains(&(from.ip(), to.ip())) {
                    sent.deliver();
                }
            }
        });
    }
}
