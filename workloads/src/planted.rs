//! Mistakes planted into the judge, one at a time, for the test that must notice each. Without the feature `planted`
//! there are none, and the compiler leaves nothing of them.

#[cfg(feature = "planted")]
mod chosen {
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<u32> = const { Cell::new(0) };
    }

    /// The judge makes this mistake from now on, in this thread; 0: none.
    pub fn plant(mistake: u32) {
        CHOSEN.set(mistake);
    }

    pub(crate) fn planted(mistake: u32) -> bool {
        CHOSEN.get() == mistake
    }
}

#[cfg(feature = "planted")]
pub use chosen::plant;
#[cfg(feature = "planted")]
pub(crate) use chosen::planted;

/// Whether a mistake is being made.
#[cfg(not(feature = "planted"))]
pub(crate) const fn planted(_mistake: u32) -> bool {
    false
}
