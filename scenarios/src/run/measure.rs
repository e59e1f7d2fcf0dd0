//! What a seed's clients experienced, in figures: response and service times, and what happened when.

use hdrhistogram::Histogram;
use klamm_model::history::{Entry, Op, Outcome, ValueId};
use std::collections::BTreeMap;
use std::collections::VecDeque;

/// Length of a window of the timeline, nanoseconds of virtual time.
pub const WINDOW_NS: u64 = 100_000_000;

/// Measures sends as they resolve.
#[derive(Debug)]
pub struct Measure {
    /// From the intended send time to the acknowledgement, nanoseconds.
    pub response: Histogram<u64>,
    /// From the actual send time to the acknowledgement, nanoseconds.
    pub service: Histogram<u64>,
    /// Response times by the window of their acknowledgement, for a timeline.
    windows: Option<BTreeMap<u64, Vec<u64>>>,
    /// Sends under way, oldest first, per client: values are handed over in order.
    under_way: BTreeMap<u32, VecDeque<Pending>>,
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
            response: empty(),
            service: empty(),
            windows: timeline.then(BTreeMap::new),
            under_way: BTreeMap::new(),
        }
    }

    /// Takes one operation.
    pub fn entry(&mut self, entry: &Entry) {
        match &entry.op {
            Op::Send { value, late_by, .. } => {
                let pending = Pending { value: *value, at: entry.at, late_by: *late_by, resolved: false };
                self.under_way.entry(entry.client.0).or_default().push_back(pending);
            }
            Op::Sent { value, outcome, .. } => self.sent(entry, *value, *outcome),
            _ => {}
        }
    }

    fn sent(&mut self, entry: &Entry, value: ValueId, outcome: Outcome) {
        let Some(queue) = self.under_way.get_mut(&entry.client.0) else { return };
        // Values of one client rise, so the queue is sorted by them.
        let Ok(place) = queue.binary_search_by_key(&value, |p| p.value) else { return };
        let pending = &mut queue[place];
        pending.resolved = true;
        let service = entry.at.saturating_sub(pending.at).max(1);
        let response = service + pending.late_by;
        while queue.front().is_some_and(|p| p.resolved) {
            queue.pop_front();
        }
        if outcome == Outcome::Ok {
            self.service.saturating_record(service);
            self.response.saturating_record(response);
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
