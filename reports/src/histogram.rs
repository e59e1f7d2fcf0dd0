//! Latency histograms: HdrHistogram, nanoseconds, three significant digits, merged losslessly.

use crate::ReportError;
use crate::record::Latency;
use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, IntervalLogWriterBuilder, LogEntry};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// The quantiles at which seeds are compared, and a band is drawn.
pub const QUANTILES: [f64; 17] =
    [0.0, 0.1, 0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999];

/// Latencies of one kind, with the spread between seeds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latencies {
    /// In JSON it is left out: it has a histogram log of its own.
    #[serde(skip, default = "empty")]
    all: Histogram<u64>,
    /// For each of [`QUANTILES`], the lowest and highest value any seed had.
    band: Vec<(u64, u64)>,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies { all: empty(), band: Vec::new() }
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new(3).expect("three significant digits")
}

impl Latencies {
    /// Adds one seed's latencies.
    pub fn add_seed(&mut self, seed: &Histogram<u64>) {
        if seed.is_empty() {
            return;
        }
        self.all.add(seed).expect("histograms grow");
        let at: Vec<(u64, u64)> = QUANTILES.iter().map(|q| seed.value_at_quantile(*q)).map(|v| (v, v)).collect();
        self.widen(&at);
    }

    /// Adds other seeds' latencies: nothing is lost, whatever the order.
    pub fn merge(&mut self, other: &Latencies) {
        self.all.add(&other.all).expect("histograms grow");
        self.widen(&other.band);
    }

    fn widen(&mut self, by: &[(u64, u64)]) {
        if self.band.is_empty() {
            by.clone_into(&mut self.band);
        }
        for ((low, high), v) in self.band.iter_mut().zip(by) {
            (*low, *high) = ((*low).min(v.0), (*high).max(v.1));
        }
    }

    /// All seeds together.
    pub fn all(&self) -> &Histogram<u64> {
        &self.all
    }
    /// The spread between seeds, one pair for each of [`QUANTILES`]; empty without any.
    pub fn band(&self) -> &[(u64, u64)] {
        &self.band
    }
    /// The figures, if there are any.
    pub fn figures(&self) -> Option<Latency> {
        let h = &self.all;
        (!h.is_empty()).then(|| Latency {
            count: h.len(),
            p50: h.value_at_quantile(0.5),
            p90: h.value_at_quantile(0.9),
            p99: h.value_at_quantile(0.99),
            p999: h.value_at_quantile(0.999),
            max: h.max(),
        })
    }

    /// Writes an HdrHistogram interval log with one interval, readable by existing HDR tools: these take compressed histograms
    /// only. Values are nanoseconds; the interval's length is the virtual time covered.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn write_hlog(&self, path: &Path, covered_ns: u64) -> Result<(), ReportError> {
        let mut bytes = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let failed = |message: String| ReportError::Record { path: path.display().to_string(), message };
        let mut log = IntervalLogWriterBuilder::new()
            .with_max_value_divisor(1_000_000.0)
            .begin_log_with(&mut bytes, &mut serializer)
            .map_err(|e| failed(format!("{e:?}")))?;
        // A histogram remembers how it grew; one that is made at once for all it holds gives the same bytes always.
        let mut even = Histogram::new_with_bounds(1, self.all.max().max(2), 3).map_err(|e| failed(format!("{e:?}")))?;
        even.add(&self.all).map_err(|e| failed(format!("{e:?}")))?;
        log.write_histogram(&even, Duration::ZERO, Duration::from_nanos(covered_ns), None)
            .map_err(|e| failed(format!("{e:?}")))?;
        crate::write_whole(path, &bytes)
    }

    /// Reads what [`Latencies::write_hlog`] wrote into these latencies, which must be empty but for their band.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn read_hlog(&mut self, path: &Path) -> Result<(), ReportError> {
        let name = || path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| ReportError::Io { path: name(), source })?;
        let wrong = |message: String| ReportError::Record { path: name(), message };
        for entry in IntervalLogIterator::new(&bytes) {
            let LogEntry::Interval(interval) = entry.map_err(|e| wrong(format!("{e:?}")))? else { continue };
            let decoded = base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram());
            let decoded = decoded.map_err(|e| wrong(e.to_string()))?;
            let read: Histogram<u64> =
                Deserializer::new().deserialize(&mut &decoded[..]).map_err(|e| wrong(format!("{e:?}")))?;
            self.all.add(&read).map_err(|e| wrong(format!("{e:?}")))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(values: &[u64]) -> Histogram<u64> {
        let mut h = empty();
        for v in values {
            h.record(*v).unwrap();
        }
        h
    }

    #[test]
    fn seeds_merge_losslessly_and_leave_a_band() {
        let mut l = Latencies::default();
        assert_eq!(l.figures(), None);
        l.add_seed(&seed(&[1000, 2000, 3000]));
        l.add_seed(&seed(&[5000; 3]));
        l.add_seed(&seed(&[]));
        assert_eq!(l.figures().unwrap().count, 6);
        let median = QUANTILES.iter().position(|q| *q == 0.5).unwrap();
        let (low, high) = l.band()[median];
        assert!(low.abs_diff(2000) <= 2 && high.abs_diff(5000) <= 5, "{low} {high}");
    }

    #[test]
    fn parts_merge_to_the_whole_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let seeds: Vec<Histogram<u64>> = (1..9u64).map(|n| seed(&[n * 1_017, n * n * 77_777, 1 << (3 * n)])).collect();
        let mut whole = Latencies::default();
        seeds.iter().for_each(|s| whole.add_seed(s));
        let (whole_log, part_log) = (dir.path().join("whole.hlog"), dir.path().join("part.hlog"));
        whole.write_hlog(&whole_log, 5).unwrap();
        let mut merged = Latencies::default();
        for shard in [2, 0, 1] {
            let mut part = Latencies::default();
            seeds.iter().skip(shard).step_by(3).for_each(|s| part.add_seed(s));
            part.write_hlog(&part_log, 5).unwrap();
            // Through the disk, as shards come.
            let mut read: Latencies = serde_json::from_str(&serde_json::to_string(&part).unwrap()).unwrap();
            read.read_hlog(&part_log).unwrap();
            merged.merge(&read);
        }
        merged.write_hlog(&part_log, 5).unwrap();
        assert_eq!(std::fs::read(&whole_log).unwrap(), std::fs::read(&part_log).unwrap());
        assert_eq!((merged.figures(), merged.band()), (whole.figures(), whole.band()));
    }

    #[test]
    fn a_log_can_be_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("response.hlog");
        let mut l = Latencies::default();
        l.add_seed(&seed(&[1000, 2000]));
        l.write_hlog(&path, 1_000_000_000).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let intervals = IntervalLogIterator::new(&bytes).filter(|e| matches!(e, Ok(LogEntry::Interval(_)))).count();
        assert_eq!(intervals, 1);
        // Zlib within the payload: Java's and Python's readers refuse a plain one. (`.ci/hlog` asks Python's.)
        let LogEntry::Interval(one) =
            IntervalLogIterator::new(&bytes).find(|e| matches!(e, Ok(LogEntry::Interval(_)))).unwrap().unwrap()
        else {
            panic!("an interval")
        };
        assert!(one.encoded_histogram().starts_with("HISTFAAA"), "{}", one.encoded_histogram());
    }
}
