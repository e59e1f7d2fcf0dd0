//! Time on the wall: per-seed ratios, a bootstrap interval over seeds, and the smallest effect that could have shown.
//!
//! Seeds are the same in both runs, so each is its own control. Of repetitions the quickest counts for each seed: what
//! else ran on the machine only ever adds. If the base differs from its own repetition there is no verdict.

use crate::figures::ScenarioFigures;
use schemars::JsonSchema;
use serde::Serialize;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2_000;
/// Fewer seeds than this say nothing.
const FEWEST: usize = 5;

/// An effect on the wall: 0.05 is five in a hundred slower.
#[derive(Clone, Copy, PartialEq, Debug, JsonSchema, Serialize)]
pub struct Effect {
    /// The geometric mean of the seeds' ratios, less one.
    pub mean: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The smallest effect that so many seeds would show in eight of ten comparisons.
    pub detectable: f64,
}

/// What can be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The interval lies above nothing.
    Slower,
    /// The interval lies below nothing.
    Faster,
    /// It does not exclude that nothing changed.
    NoDifference,
    /// There is no repetition of the base, or it differs from the base: the machine was not quiet enough to tell.
    NoVerdict,
}

/// Time on the wall in two runs.
#[derive(Clone, Copy, PartialEq, Debug, JsonSchema, Serialize)]
pub struct Wall {
    /// The other against the base.
    pub effect: Effect,
    /// The base against its repetition, if there is one.
    pub base_again: Option<Effect>,
    /// What can be said.
    pub verdict: Verdict,
}

/// Compares the seeds' times; `None` where there are too few.
pub fn compare(base: &[&ScenarioFigures], other: &[&ScenarioFigures]) -> Option<Wall> {
    let effect = effect(&ratios(base, other)?);
    let base_again = base.split_first().filter(|(_, rest)| !rest.is_empty());
    let base_again = base_again.and_then(|(first, rest)| ratios(&[*first], rest)).map(|r| self::effect(&r));
    let unlike = |e: &Effect| e.low > 0.0 || e.high < 0.0;
    let verdict = match &base_again {
        None => Verdict::NoVerdict,
        Some(again) if unlike(again) => Verdict::NoVerdict,
        Some(_) if effect.low > 0.0 => Verdict::Slower,
        Some(_) if effect.high < 0.0 => Verdict::Faster,
        Some(_) => Verdict::NoDifference,
    };
    Some(Wall { effect, base_again, verdict })
}

/// The logarithm of other to base, seed by seed.
fn ratios(base: &[&ScenarioFigures], other: &[&ScenarioFigures]) -> Option<Vec<f64>> {
    let quickest = |runs: &[&ScenarioFigures], place: usize| {
        runs.iter().filter_map(|f| f.walls.get(place)).map(|w| w.1).min().unwrap_or(0).max(1) as f64
    };
    let seeds = base.iter().chain(other).map(|f| f.walls.len()).min()?;
    (seeds >= FEWEST).then(|| (0..seeds).map(|n| (quickest(other, n) / quickest(base, n)).ln()).collect())
}

fn effect(logs: &[f64]) -> Effect {
    let n = logs.len();
    let mean = logs.iter().sum::<f64>() / n as f64;
    let variance = logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n.max(2) - 1) as f64;
    // Resampling needs no good randomness, only the same one every time.
    let mut state = 0x5eed_u64;
    let mut pick = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % n
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| (0..n).map(|_| logs[pick()]).sum::<f64>() / n as f64).collect();
    means.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| means[((RESAMPLES - 1) as f64 * share).round() as usize].exp() - 1.0;
    // 1.96 for the interval, 0.84 for a power of eight in ten.
    let detectable = ((1.96 + 0.84) * (variance / n as f64).sqrt()).exp() - 1.0;
    Effect { mean: mean.exp() - 1.0, low: at(0.025), high: at(0.975), detectable }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds of rising length, each times `factor`, with a little noise that depends on `salt`.
    fn run(factor: f64, salt: u64) -> ScenarioFigures {
        let wall = |n: u64| {
            let noise = (n.wrapping_mul(2_654_435_761).wrapping_add(salt * 40_503) % 101) as f64 / 1_000.0;
            (n, (1e7 * (1.0 + n as f64 / 10.0) * factor * (1.0 + noise)) as u64)
        };
        ScenarioFigures { walls: (0..50).map(wall).collect(), ..ScenarioFigures::default() }
    }

    #[test]
    fn a_slowdown_shows_and_none_is_not_invented() {
        let (a, again, same, slow, fast) = (run(1.0, 1), run(1.0, 2), run(1.0, 3), run(1.2, 3), run(0.8, 3));
        let verdict = |other: &ScenarioFigures| compare(&[&a, &again], &[other]).unwrap();
        let w = verdict(&slow);
        assert_eq!(w.verdict, Verdict::Slower);
        assert!(w.effect.low < 0.22 && w.effect.high > 0.18 && w.effect.detectable < 0.05, "{w:?}");
        assert_eq!(verdict(&fast).verdict, Verdict::Faster);
        assert_eq!(verdict(&same).verdict, Verdict::NoDifference);
    }

    #[test]
    fn without_a_quiet_machine_there_is_no_verdict() {
        let (a, noisy, slow) = (run(1.0, 1), run(1.3, 2), run(1.2, 3));
        assert_eq!(compare(&[&a], &[&slow]).unwrap().verdict, Verdict::NoVerdict, "the base was not repeated");
        assert_eq!(compare(&[&a, &noisy], &[&slow]).unwrap().verdict, Verdict::NoVerdict, "it differs from itself");
        assert_eq!(compare(&[&ScenarioFigures::default()], &[&slow]), None, "no times");
    }
}
