//! Network rules in force: partitions, latency, loss, holds; and what they add up to for each pair of hosts.

use super::RuleId;
use crate::event::HostId;
use klamm_model::ids::ApiKey;
use klamm_model::units::Duration;

/// What a rule does to messages from one side to the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// They vanish.
    Cut,
    /// They take longer, by this to twice this.
    Latency(Duration),
    /// Their segments are lost, parts per million.
    Loss(u32),
    /// Those of one API are held back.
    Hold { api: ApiKey, responses: bool },
}

#[derive(Debug)]
struct Rule {
    id: RuleId,
    from: Vec<HostId>,
    to: Vec<HostId>,
    effect: Effect,
    both_ways: bool,
    /// Senders and receivers of what it has held up, delayed or lost, in order.
    met: Vec<HostId>,
}

impl Rule {
    fn concerns(&self, from: HostId, to: HostId) -> bool {
        let passes = |a: &[HostId], b: &[HostId]| a.contains(&from) && b.contains(&to);
        passes(&self.from, &self.to) || self.both_ways && passes(&self.to, &self.from)
    }
}

/// What holds from one host to another.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Way {
    pub(super) cut: bool,
    pub(super) holds: bool,
    pub(super) extra: Duration,
    pub(super) loss_ppm: u32,
}

/// All rules.
#[derive(Debug, Default)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    next: u32,
    hosts: usize,
    ways: Vec<Way>,
}

impl Rules {
    /// A host was added.
    pub(super) fn grow(&mut self, hosts: usize) {
        self.hosts = hosts;
        self.rebuild();
    }

    pub(super) fn add(&mut self, from: &[HostId], to: &[HostId], both_ways: bool, effect: Effect) -> RuleId {
        self.next += 1;
        let id = RuleId(self.next);
        self.rules.push(Rule { id, from: from.to_vec(), to: to.to_vec(), effect, both_ways, met: Vec::new() });
        self.rebuild();
        id
    }

    /// Ends one; false if it has ended.
    pub(super) fn remove(&mut self, id: RuleId) -> bool {
        let before = self.rules.len();
        self.rules.retain(|r| r.id != id);
        self.rebuild();
        self.rules.len() != before
    }

    /// From one host to another.
    pub(super) fn way(&self, from: HostId, to: HostId) -> Way {
        if self.rules.is_empty() { Way::default() } else { self.ways[self.at(from, to)] }
    }

    /// Whether a message is held.
    pub(super) fn holds(&self, from: HostId, to: HostId, api: ApiKey, response: bool) -> bool {
        self.rules.iter().any(|r| {
            matches!(r.effect, Effect::Hold { api: held, responses } if held == api && responses == response)
                && r.from.contains(&from)
                && r.to.contains(&to)
        })
    }

    /// Rules of such effects have met a message. Called only where one has: what is not concerned pays nothing.
    #[cold]
    pub(super) fn meet(&mut self, from: HostId, to: HostId, which: impl Fn(Effect) -> bool) {
        for rule in self.rules.iter_mut().filter(|r| which(r.effect) && r.concerns(from, to)) {
            for host in [from, to] {
                if let Err(place) = rule.met.binary_search(&host) {
                    rule.met.insert(place, host);
                }
            }
        }
    }

    /// The hosts whose messages a rule in force has met.
    pub(super) fn met_by(&self, id: RuleId) -> Vec<HostId> {
        self.rules.iter().find(|r| r.id == id).map_or_else(Vec::new, |r| r.met.clone())
    }

    fn at(&self, from: HostId, to: HostId) -> usize {
        usize::from(from.0) * self.hosts + usize::from(to.0)
    }

    fn rebuild(&mut self) {
        let mut ways = std::mem::take(&mut self.ways);
        ways.clear();
        ways.resize(self.hosts * self.hosts, Way::default());
        for rule in &self.rules {
            let pairs = rule.from.iter().flat_map(|&a| rule.to.iter().map(move |&b| (a, b)));
            let back = pairs.clone().filter(|_| rule.both_ways).map(|(a, b)| (b, a));
            // A host that is on both sides of a two-way rule is still one pair.
            let mut pairs: Vec<(HostId, HostId)> = pairs.chain(back).filter(|(a, b)| a != b).collect();
            pairs.sort_unstable();
            pairs.dedup();
            for (a, b) in pairs {
                let at = self.at(a, b);
                let way = &mut ways[at];
                match rule.effect {
                    Effect::Cut => way.cut = true,
                    Effect::Hold { .. } => way.holds = true,
                    Effect::Latency(extra) => way.extra = way.extra.saturating_add(extra),
                    Effect::Loss(ppm) => way.loss_ppm = way.loss_ppm.saturating_add(ppm).min(1_000_000),
                }
            }
        }
        self.ways = ways;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: HostId = HostId(0);
    const B: HostId = HostId(1);
    const C: HostId = HostId(2);

    #[test]
    fn rules_add_up_and_end_one_by_one() {
        let mut rules = Rules::default();
        rules.grow(3);
        assert_eq!(rules.way(A, B), Way::default());
        let one = rules.add(&[A], &[B, A], false, Effect::Cut);
        let two = rules.add(&[A, B], &[C], true, Effect::Loss(700_000));
        let three = rules.add(&[C], &[A], true, Effect::Loss(700_000));
        assert!(rules.way(A, B).cut && !rules.way(B, A).cut && !rules.way(A, A).cut);
        assert_eq!((rules.way(A, C).loss_ppm, rules.way(C, B).loss_ppm), (1_000_000, 700_000));
        assert!(rules.remove(one) && !rules.remove(one));
        assert!(!rules.way(A, B).cut);
        rules.remove(two);
        rules.remove(three);
        assert!(rules.rules.is_empty());
    }

    #[test]
    fn a_hold_is_for_one_api_one_kind_and_one_direction() {
        let mut rules = Rules::default();
        rules.grow(2);
        rules.add(&[A], &[B], false, Effect::Hold { api: ApiKey::Fetch, responses: true });
        assert!(rules.way(A, B).holds && !rules.way(B, A).holds);
        assert!(rules.holds(A, B, ApiKey::Fetch, true));
        assert!(!rules.holds(A, B, ApiKey::Fetch, false));
        assert!(!rules.holds(A, B, ApiKey::Produce, true));
        assert!(!rules.holds(B, A, ApiKey::Fetch, true));
    }

    #[test]
    fn what_a_rule_meets_is_kept_with_it_alone() {
        let mut rules = Rules::default();
        rules.grow(3);
        let cut = rules.add(&[A], &[B], false, Effect::Cut);
        let slow = rules.add(&[A], &[B, C], true, Effect::Latency(Duration::from_millis(1)));
        rules.meet(B, A, |e| e == Effect::Cut);
        assert_eq!((rules.met_by(cut), rules.met_by(slow)), (vec![], vec![]), "the other way passes");
        rules.meet(C, A, |e| matches!(e, Effect::Latency(_)));
        assert_eq!((rules.met_by(cut), rules.met_by(slow)), (vec![], vec![A, C]));
        rules.meet(A, B, |_| true);
        assert_eq!((rules.met_by(cut), rules.met_by(slow)), (vec![A, B], vec![A, B, C]));
        rules.remove(slow);
        assert_eq!(rules.met_by(slow), []);
    }
}
