//! How long operations take: the queue and transfer of the device, the copy into the page cache, and the faults
//! that slow, stop or break them.

use super::DiskFault;
use super::draw::{Draws, For};
use super::profile::{DiskProfile, JITTER, transfer};
use crate::faults::DiskErrorOn;
use klamm_model::units::{Duration, Instant};
use std::collections::BTreeMap;

/// What an operation costs before any queueing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cost {
    /// Bytes copied to or from the page cache.
    Cache(u64),
    /// A change of, or a look at, names.
    Names,
    /// A read of the medium, bytes.
    Read(u64),
    /// An fsync with bytes to transfer.
    Fsync(u64),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Device {
    profile: DiskProfile,
    draws: Draws,
    /// When the transfer now under way ends.
    bus_free: Instant,
    /// When each place of the queue is free.
    slots: Vec<Instant>,
    /// The faults in force, in the order they began.
    faults: Vec<DiskFault>,
    /// How many operations each fault has altered so far, those that are over included.
    met: BTreeMap<DiskFault, u64>,
    priced: u64,
}

impl Device {
    pub fn new(profile: DiskProfile, draws: Draws) -> Device {
        let slots = vec![Instant::ZERO; profile.queue.max(1) as usize];
        Device { profile, draws, bus_free: Instant::ZERO, slots, faults: Vec::new(), met: BTreeMap::new(), priced: 0 }
    }
    /// Whether a fault is in force.
    pub fn has(&self, fault: DiskFault) -> bool {
        self.faults.contains(&fault)
    }
    /// Whether it answers at all.
    pub fn is_stalled(&self) -> bool {
        self.has(DiskFault::Stall)
    }
    /// Whether operations of a kind fail.
    pub fn fails(&self, on: DiskErrorOn) -> bool {
        self.has(DiskFault::Error(on))
    }
    /// A fault begins or ends.
    pub fn set(&mut self, fault: DiskFault, on: bool) {
        if on {
            self.faults.push(fault);
        } else if let Some(i) = self.faults.iter().position(|f| *f == fault) {
            self.faults.remove(i);
        }
    }
    /// Every fault ends.
    pub fn heal(&mut self) {
        self.faults.clear();
    }
    /// A fault in force has altered an operation.
    pub fn meet(&mut self, fault: DiskFault) {
        *self.met.entry(fault).or_default() += 1;
    }
    /// How many operations such faults have altered.
    pub fn met(&self, fault: DiskFault) -> u64 {
        self.met.get(&fault).copied().unwrap_or(0)
    }
    /// The queue is empty again (power loss).
    pub fn clear(&mut self) {
        self.bus_free = Instant::ZERO;
        self.slots.fill(Instant::ZERO);
    }
    /// After a stall: what was under way takes that much longer.
    pub fn shift(&mut self, since: Instant, by: Duration) {
        for at in self.slots.iter_mut().chain([&mut self.bus_free]) {
            if *at > since {
                *at += by;
            }
        }
    }
    /// A write-back takes its share of the device.
    pub fn write_back(&mut self, now: Instant, bytes: u64) {
        self.meet_slowness();
        self.bus_free = self.bus_free.max(now) + self.slowed(transfer(bytes, self.profile.bandwidth));
    }
    /// When an operation that comes now is over.
    pub fn finish(&mut self, now: Instant, cost: Cost) -> Instant {
        self.priced += 1;
        self.meet_slowness();
        let p = &self.profile;
        let (median, bytes, rate) = match cost {
            Cost::Cache(bytes) => (p.write_nanos, bytes, p.copy_rate),
            Cost::Names => (p.names_nanos, 0, p.copy_rate),
            Cost::Read(bytes) => (p.read_nanos, bytes, p.bandwidth),
            Cost::Fsync(bytes) => (p.fsync_nanos, bytes, p.bandwidth),
        };
        let latency = self.slowed(self.jitter(median));
        let transfer = self.slowed(transfer(bytes, rate));
        if matches!(cost, Cost::Cache(_) | Cost::Names) {
            return now + latency + transfer;
        }
        // A place in the queue, then the bus, then the medium's own latency.
        let slot = (0..self.slots.len()).min_by_key(|i| self.slots[*i]).unwrap_or(0);
        let start = self.slots[slot].max(now).max(self.bus_free);
        self.bus_free = start + transfer;
        self.slots[slot] = self.bus_free + latency;
        self.slots[slot]
    }

    fn factor(&self) -> u32 {
        self.faults.iter().map(|f| if let DiskFault::Slow(by) = f { *by } else { 1 }).max().unwrap_or(1).max(1)
    }
    fn slowed(&self, time: Duration) -> Duration {
        time.saturating_mul(u64::from(self.factor()))
    }
    /// Of several that slow it, the greatest counts.
    fn meet_slowness(&mut self) {
        if !self.faults.is_empty() && self.factor() > 1 {
            self.meet(DiskFault::Slow(self.factor()));
        }
    }
    /// Between two neighbouring quantiles of the table.
    fn jitter(&self, median: u64) -> Duration {
        let bits = self.draws.bits(For::Latency, self.priced, 0);
        let (i, part) = ((bits >> 60) as usize, (bits >> 52) & 0xff);
        let low = u64::from(JITTER[i]);
        let high = JITTER.get(i + 1).map_or(low * 2, |h| u64::from(*h));
        Duration::from_nanos(median * (low * 256 + (high - low) * part) / 65_536)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Device {
        Device::new(DiskProfile::nvme(), Draws(1))
    }

    #[test]
    fn transfers_queue_and_latencies_overlap() {
        let mut d = device();
        let ends: Vec<_> = (0..32).map(|_| d.finish(Instant::ZERO, Cost::Fsync(2_000_000)).as_nanos()).collect();
        // 32 transfers of 1 ms one after another, and one latency beyond.
        let last = *ends.iter().max().unwrap();
        assert!((32_000_000..36_000_000).contains(&last), "{last}");
    }

    #[test]
    fn a_spinning_disk_serves_one_at_a_time() {
        let mut d = Device::new(DiskProfile::spinning(), Draws(1));
        let ends: Vec<_> = (0..10).map(|_| d.finish(Instant::ZERO, Cost::Read(4096)).as_nanos()).collect();
        assert!(ends.windows(2).all(|w| w[1] >= w[0] + 4_000_000), "{ends:?}");
    }

    #[test]
    fn slow_multiplies_and_ends() {
        let mut d = device();
        d.set(DiskFault::Slow(50), true);
        assert!(d.finish(Instant::ZERO, Cost::Cache(0)).as_nanos() >= 12_000 * 50 * 180 / 256);
        d.set(DiskFault::Slow(50), false);
        assert!(d.finish(Instant::ZERO, Cost::Cache(0)).as_nanos() <= 12_000 * 8);
    }

    #[test]
    fn half_of_the_draws_are_below_the_median() {
        let mut d = device();
        let below = (0..1000).filter(|_| d.finish(Instant::ZERO, Cost::Cache(0)).as_nanos() < 12_000).count();
        assert!((420..580).contains(&below), "{below}");
    }
}
