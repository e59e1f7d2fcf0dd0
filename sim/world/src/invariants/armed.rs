//! How often each check could have judged: a check that was armed in no event of a run says nothing by its silence.

use klamm_model::checks::Check;

/// See the module.
#[derive(Debug)]
pub(crate) struct Armed([u64; Check::ALL.len()]);

impl Default for Armed {
    fn default() -> Armed {
        Armed([0; Check::ALL.len()])
    }
}

impl Armed {
    /// A check can judge once more.
    #[inline]
    pub(crate) fn judged(&mut self, check: Check) {
        self.0[check as usize] += 1;
    }
    /// A check can judge so often in all, if that is more than before.
    pub(crate) fn at_least(&mut self, check: Check, times: u64) {
        self.0[check as usize] = self.0[check as usize].max(times);
    }
    /// The checks that could judge, and how often.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Check, u64)> + '_ {
        Check::ALL.iter().copied().zip(self.0).filter(|(_, n)| *n > 0)
    }
}
