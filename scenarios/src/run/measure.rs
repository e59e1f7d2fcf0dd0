//! What a seed's clients experienced, in figures: response and service times, and what happened when.

use super::build::is_load;
use hdrhistogram::Histogram;
use klamm_model::history::{Entry, Op, Outcome, ValueId};
use klamm_model::small_map::SmallMap;
use std::collections::BTreeMap;
use std::collections::VecDeque;

/// Length of a window of the timeline, nanoseconds of virtual time.
pub const WINDOW_NS: u64 = 100_000_000;

/// A stretch without any acknowledgement, though a send was waiting, counts as an outage from this length on:
/// nanoseconds of virtual time.
pub const OUTAGE_NS: u64 = 500_000_000;

/// Measures sends as they resolve.
#[derive(Debug)]
pub struct Measure {
    /// When nothing was acknowledged though something waited.
    pub outages: Outages,
    /// What was to be sent before is not measured.
    from: u64,
    /// From the intended send time to the acknowledgement, nanoseconds.
    pub response: Histogram<u64>,
    /// From the actual send time to the acknowledgement, nanoseconds.
    pub service: Histogram<u64>,
    /// Response times by the window of their acknowledgement, for a timeline.
    windows: Option<BTreeMap<u64, Vec<u64>>>,
    /// Sends under way, oldest first, per client: values are handed over in order.
    under_way: SmallMap<u32, VecDeque<Pending>>,
}

/// How long the cluster answered nobody.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Outages {
    /// Outages of at least [`OUTAGE_NS`], together, nanoseconds.
    pub unavailable: u64,
    /// The longest, nanoseconds.
    pub longest: u64,
    /// How many.
    pub count: u64,
    /// Sends under way.
    waiting: u64,
    /// Since when something waits and nothing was acknowledged.
    since: u64,
    /// What came before is not counted.
    from: u64,
    /// Hardship's end: what comes later is not counted.
    until: Option<u64>,
}

impl Outages {
    /// Only what lies between these two moments is counted.
    pub fn between(&mut self, from: u64, until: u64) {
        (self.from, self.until) = (from, Some(until));
    }
    fn sent(&mut self, at: u64) {
        if self.waiting == 0 {
            self.since = at;
        }
        self.waiting += 1;
    }
    fn resolved(&mut self, at: u64, acknowledged: bool) {
        self.waiting = self.waiting.saturating_sub(1);
        if !acknowledged && self.waiting > 0 {
            return;
        }
        let silent = self.until.map_or(at, |end| end.min(at)).saturating_sub(self.since.max(self.from));
        if silent >= OUTAGE_NS {
            self.unavailable += silent;
            self.longest = self.longest.max(silent);
            self.count += 1;
        }
        self.since = at;
    }
}

#[derive(Debug)]
struct Pending {
    value: ValueId,
    at: u64,
    late_by: u64,
    resolved: bool,
}

impl Measure {
    /// Nothing measured yet. With `timeline`, response times are kept by window.
    pub fn new(timeline: bool) -> Measure {
        let empty = || Histogram::new(3).expect("three significant digits");
        Measure {
            outages: Outages::default(),
            from: 0,
            response: empty(),
            service: empty(),
            windows: timeline.then(BTreeMap::new),
            under_way: SmallMap::new(),
        }
    }

    /// Sends intended before the first moment are not measured, and outages only until the second.
    pub fn between(&mut self, from: u64, until: u64) {
        self.from = from;
        self.outages.between(from, until);
    }

    /// Takes one operation. The harness's own applications are not measured.
    pub fn entry(&mut self, entry: &Entry) {
        if !is_load(entry.client) {
            return;
        }
        match &entry.op {
            Op::Send { value, late_by, .. } => {
                let pending = Pending { value: *value, at: entry.at, late_by: *late_by, resolved: false };
                self.under_way.get_or_insert_with(entry.client.0, VecDeque::new).push_back(pending);
                self.outages.sent(entry.at);
            }
            Op::Sent { value, outcome, error, .. } => {
                // With acks=0 nothing is ever acknowledged: a send is through once it was written to its connection.
                let through = *outcome == Outcome::Ok || *outcome == Outcome::Info && error.is_none();
                self.sent(entry, *value, through);
            }
            _ => {}
        }
    }

    fn sent(&mut self, entry: &Entry, value: ValueId, through: bool) {
        let Some(queue) = self.under_way.get_mut(&entry.client.0) else { return };
        // Values of one client rise by one, but for the leap of a restart.
        let near = queue.front().map_or(0, |first| value.0.saturating_sub(first.value.0)) as usize;
        let place = match queue.get(near) {
            Some(there) if there.value == value => near,
            _ => match queue.binary_search_by_key(&value, |p| p.value) {
                Ok(place) => place,
                Err(_) => return,
            },
        };
        let pending = &mut queue[place];
        pending.resolved = true;
        self.outages.resolved(entry.at, through);
        let service = entry.at.saturating_sub(pending.at).max(1);
        let response = service + pending.late_by;
        let measured = pending.at.saturating_sub(pending.late_by) >= self.from;
        while queue.front().is_some_and(|p| p.resolved) {
            queue.pop_front();
        }
        if through {
            // Not `saturating_record`: that clamps to the range the histogram has so far instead of growing it.
            if measured {
                self.service.record(service).expect("histograms grow");
                self.response.record(response).expect("histograms grow");
            }
            if let Some(windows) = &mut self.windows {
                windows.entry(entry.at / WINDOW_NS).or_default().push(response);
            }
        }
    }

    /// The timeline from `from` to `to` (virtual nanoseconds), if it was kept: one window after the other.
    pub fn timeline(&self, from: u64, to: u64) -> Option<Vec<klamm_reports::charts::Window>> {
        let windows = self.windows.as_ref()?;
        let all = (from / WINDOW_NS..to.div_ceil(WINDOW_NS))
            .map(|n| {
                let mut responses = windows.get(&n).cloned().unwrap_or_default();
                responses.sort_unstable();
                klamm_reports::charts::Window {
                    from: (n * WINDOW_NS).saturating_sub(from),
                    acknowledged: responses.len() as u64,
                    p50: responses.get(responses.len() / 2).copied().unwrap_or(0),
                    max: responses.last().copied().unwrap_or(0),
                }
            })
            .collect();
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::ids::{ClientId, Incarnation, Offset};

    fn entry(at: u64, op: Op) -> Entry {
        Entry { at, client: ClientId(1), incarnation: Incarnation(1), op }
    }

    #[test]
    fn response_counts_from_the_intended_time_and_nothing_is_clamped() {
        let mut measure = Measure::new(true);
        for (index, (at, late_by, took)) in [(0, 0, 3_000_000), (10, 5_000_000_000, 40_000_000_000)].iter().enumerate()
        {
            let value = ValueId::new(ClientId(1), index as u64);
            let topic = "orders".into();
            let send =
                Op::Send { value, topic, partition: None, key: None, tombstone: false, late_by: *late_by, from: None };
            measure.entry(&entry(*at, send));
            let sent = Op::Sent {
                value,
                outcome: Outcome::Ok,
                partition: Some(0),
                offset: Some(Offset(index as i64)),
                attempts: 1,
                producer_id: None,
                error: None,
            };
            measure.entry(&entry(at + took, sent));
        }
        let near = |a: u64, b: u64| a.abs_diff(b) <= b / 500;
        assert!(near(measure.service.max(), 40_000_000_000), "{}", measure.service.max());
        assert!(near(measure.response.max(), 45_000_000_000), "{}", measure.response.max());
        assert!(near(measure.response.min(), 3_000_000), "{}", measure.response.min());
        let windows = measure.timeline(0, 50_000_000_000).unwrap();
        assert_eq!(windows[400].max, 45_000_000_000);
    }

    #[test]
    fn what_comes_before_the_warm_up_ends_is_not_measured() {
        const S: u64 = 1_000_000_000;
        let mut o = Outages::default();
        o.between(3 * S, 20 * S);
        o.sent(S);
        o.resolved(4 * S, true);
        assert_eq!((o.count, o.unavailable), (1, S), "only what lies beyond");
        o.sent(5 * S);
        o.resolved(5 * S + 1, true);
        assert_eq!(o.count, 1);
    }

    #[test]
    fn an_outage_begins_with_the_first_that_waits_and_ends_with_hardship() {
        const S: u64 = 1_000_000_000;
        let mut o = Outages::default();
        o.between(0, 20 * S);
        o.sent(S);
        o.sent(2 * S);
        o.resolved(4 * S, true);
        assert_eq!((o.count, o.unavailable, o.longest), (1, 3 * S, 3 * S));
        o.resolved(4 * S + OUTAGE_NS - 1, true);
        assert_eq!(o.count, 1, "too short");
        o.sent(10 * S);
        o.sent(10 * S);
        o.resolved(11 * S, false);
        o.resolved(30 * S, true);
        assert_eq!(
            (o.count, o.unavailable, o.longest),
            (2, 13 * S, 10 * S),
            "a failure ends nothing while another waits"
        );
    }
}
