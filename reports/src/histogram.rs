//! Latency histograms: HdrHistogram, nanoseconds, three significant digits, merged losslessly.

use crate::ReportError;
use crate::record::Latency;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2Serializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use std::path::Path;
use std::time::Duration;

/// The quantiles at which seeds are compared, and a band is drawn.
pub const QUANTILES: [f64; 17] =
    [0.0, 0.1, 0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999];

/// Latencies of one kind, with the spread between seeds.
#[derive(Clone, Debug)]
pub struct Latencies {
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
        let at: Vec<u64> = QUANTILES.iter().map(|q| seed.value_at_quantile(*q)).collect();
        if self.band.is_empty() {
            self.band = at.into_iter().map(|v| (v, v)).collect();
        } else {
            for ((low, high), v) in self.band.iter_mut().zip(at) {
                (*low, *high) = ((*low).min(v), (*high).max(v));
            }
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

    /// Writes an HdrHistogram interval log with one interval, readable by existing HDR tools. Values are
    /// nanoseconds; the interval's length is the virtual time covered.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn write_hlog(&self, path: &Path, covered_ns: u64) -> Result<(), ReportError> {
        let mut bytes = Vec::new();
        let mut serializer = V2Serializer::new();
        let failed = |message: String| ReportError::Record { path: path.display().to_string(), message };
        let mut log = IntervalLogWriterBuilder::new()
            .with_max_value_divisor(1_000_000.0)
            .begin_log_with(&mut bytes, &mut serializer)
            .map_err(|e| failed(format!("{e:?}")))?;
        log.write_histogram(&self.all, Duration::ZERO, Duration::from_nanos(covered_ns), None)
            .map_err(|e| failed(format!("{e:?}")))?;
        crate::write_whole(path, &bytes)
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
    fn a_log_can_be_read_again() {
        use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("response.hlog");
        let mut l = Latencies::default();
        l.add_seed(&seed(&[1000, 2000]));
        l.write_hlog(&path, 1_000_000_000).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let intervals = IntervalLogIterator::new(&bytes).filter(|e| matches!(e, Ok(LogEntry::Interval(_)))).count();
        assert_eq!(intervals, 1);
    }
}
