//! Signals: SIGINT and SIGTERM end a command within two seconds, and what is known by then is written.
//!
//! A command that takes long asks for [`Interrupt::cooperate`]: it takes up no further seed once a signal has come, and
//! seeds in flight may end. What is in flight for longer than [`GRACE`] is given up, in the middle. Every other command
//! ends at once. A second signal ends any.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long seeds in flight may take to end.
pub const GRACE: Duration = Duration::from_millis(1200);
/// What a shell gets beyond a signal's number.
const SIGNALLED: u8 = 128;

/// Whether a signal has come.
#[derive(Debug, Default)]
pub struct Interrupt {
    /// The signal's number; 0 while none has come.
    signal: AtomicU8,
    /// No further seed is to be taken up, for whatever reason.
    stop: AtomicBool,
    /// Seeds in flight are to be given up.
    give_up: AtomicBool,
    /// The command ends in order by itself.
    cooperates: AtomicBool,
}

impl Interrupt {
    /// Whether no further seed is to be taken up.
    pub fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
    /// No further seed is to be taken up; those in flight end as ever.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
    /// Whether seeds in flight are to be given up.
    pub fn gives_up(&self) -> bool {
        self.give_up.load(Ordering::Relaxed)
    }
    /// What a shell gets if a signal has come: 130 or 143.
    pub fn code(&self) -> Option<u8> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(SIGNALLED + signal),
        }
    }
    /// From now on the command ends in order by itself.
    pub fn cooperate(&self) {
        self.cooperates.store(true, Ordering::Relaxed);
    }
    /// A signal comes: nothing is taken up any more, and after [`GRACE`] nothing goes on.
    pub fn signal(self: &Arc<Self>, signal: u8) {
        self.signal.store(signal, Ordering::Relaxed);
        self.stop();
        let later = self.clone();
        std::thread::spawn(move || {
            std::thread::sleep(GRACE);
            later.give_up.store(true, Ordering::Relaxed);
        });
    }
}

/// The interrupt of this process.
pub fn interrupt() -> &'static Arc<Interrupt> {
    static THIS: OnceLock<Arc<Interrupt>> = OnceLock::new();
    THIS.get_or_init(Arc::default)
}

/// Listens for signals from now on. Not for a command that listens itself.
pub fn listen() {
    use signal_hook::consts::{SIGINT, SIGTERM};
    // Where signals cannot be listened for, they end the process, as they would without us.
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else { return };
    std::thread::spawn(move || {
        let this = interrupt();
        for signal in signals.forever() {
            let number = u8::try_from(signal).unwrap_or(0);
            if !this.cooperates.load(Ordering::Relaxed) || this.code().is_some() {
                std::process::exit(i32::from(SIGNALLED + number));
            }
            this.signal(number);
            // Nothing may be reading.
            let _ = writeln!(std::io::stderr(), "finishing the seeds in flight; a second signal ends at once");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_stops_at_once_and_gives_up_after_a_while() {
        let this = Arc::new(Interrupt::default());
        assert!(!this.stops() && this.code().is_none());
        this.signal(15);
        assert!(this.stops() && !this.gives_up());
        assert_eq!(this.code(), Some(143));
        std::thread::sleep(GRACE + Duration::from_millis(300));
        assert!(this.gives_up());
    }

    #[test]
    fn a_stop_without_a_signal_gives_nothing_up() {
        let this = Interrupt::default();
        this.stop();
        assert!(this.stops() && !this.gives_up() && this.code().is_none());
    }
}
