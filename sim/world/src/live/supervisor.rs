//! Hosts that should run, run: one that gave up is started again, after a pause that grows while it keeps giving up; one that
//! faults hold down is started when the last of them is over. Nothing here waits for anything, so that no host's trouble
//! holds up another's.

use super::board::lock;
use super::cluster::Cluster;
use super::host::{Ended, Host, HostEnded};
use crate::shell::process::Control;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The pause after a host gave up for the first time; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A host that ran for so long begins anew with [`FIRST_PAUSE`].
const CALM: Duration = Duration::from_secs(60);

/// How long to wait before a host that gave up so many times in a row is started again.
fn pause_after(failures: u32) -> Duration {
    let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}

/// What is known of a host beyond whether it runs.
#[derive(Default, Debug)]
struct Plan {
    /// Faults that hold it down, and that pause it, by number.
    down: BTreeSet<u64>,
    paused: BTreeSet<u64>,
    /// It was asked to shut down, and has not ended since.
    leaving: bool,
    /// How often it gave up in a row, and in all.
    failures: u32,
    gave_up: u32,
    /// Why, the last time.
    why: Option<String>,
    started: Option<Instant>,
    /// Not to be started before.
    retry: Option<Instant>,
}

impl Plan {
    /// The host is to run from now on: at once if nothing is left of its former process, else with a later tick.
    fn start_soon(&mut self, host: &Host) {
        (self.failures, self.retry) = (0, None);
        if host.is_gone() && host.start(None, Duration::ZERO).is_ok() {
            self.has_started();
        }
    }
    fn has_started(&mut self) {
        (self.started, self.leaving) = (Some(Instant::now()), false);
        self.paused.clear();
    }
}

/// A host as people are told of it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Account {
    /// `up`, `paused`, `down` (a fault holds it down), `ending`, or `restarting` (it gave up, and is started again soon).
    pub state: &'static str,
    /// How often it gave up.
    pub gave_up: u32,
    /// Why it gave up the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it is started again, in milliseconds from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_in_ms: Option<u64>,
}

/// Something to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// A process ended, as it should.
    Ended(HostEnded),
    /// A process gave up, and is started again after a while.
    GaveUp {
        /// How it ended.
        end: HostEnded,
        /// How often in a row it has given up.
        times: u32,
        /// After which it is started; `None` while a fault holds the host down.
        pause: Option<Duration>,
    },
    /// A host that gave up runs again.
    Started(Arc<str>),
    /// A host could not be started, and is tried again after a while.
    NotStarted {
        /// Which.
        host: Arc<str>,
        /// Why not.
        why: String,
        /// After which it is tried again.
        pause: Duration,
    },
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            News::Ended(HostEnded { host, how: Ended::Killed, .. }) => write!(f, "{host} was killed"),
            News::Ended(HostEnded { host, .. }) => write!(f, "{host} has shut down"),
            News::GaveUp { end: HostEnded { host, how, .. }, times, pause } => {
                match how {
                    Ended::Halt(reason) => write!(f, "{host} gave up: {reason}")?,
                    Ended::Failed(reason) => write!(f, "{host} failed, which is a defect of klamm's: {reason}")?,
                    Ended::Exit | Ended::Killed => write!(f, "{host} ended by itself")?,
                }
                if *times > 1 {
                    write!(f, " ({times} times in a row)")?;
                }
                match pause {
                    Some(pause) => write!(f, "; it starts again in {pause:?}"),
                    None => write!(f, "; it stays down while a fault holds it down"),
                }
            }
            News::Started(host) => write!(f, "{host} was started again"),
            News::NotStarted { host, why, pause } => {
                write!(f, "{host} could not be started: {why}; the next try is in {pause:?}")
            }
        }
    }
}

/// Keeps the hosts of a cluster running.
pub struct Supervisor {
    cluster: Arc<Cluster>,
    plans: Mutex<BTreeMap<Arc<str>, Plan>>,
}

impl Supervisor {
    /// Of a cluster that was started.
    pub fn new(cluster: Arc<Cluster>) -> Supervisor {
        let now = Instant::now();
        let plan = || Plan { started: Some(now), ..Plan::default() };
        let plans = cluster.hosts().iter().map(|host| (host.name.clone(), plan())).collect();
        Supervisor { cluster, plans: Mutex::new(plans) }
    }

    fn with<T>(&self, who: &str, what: impl FnOnce(&Host, &mut Plan) -> T) -> Option<T> {
        let host = self.cluster.host(who)?;
        Some(what(host, lock(&self.plans).entry(host.name.clone()).or_default()))
    }

    /// A fault kills a host, and holds it down; with `wipe` its data is gone, too.
    pub(super) fn kill(&self, who: &str, fault: u64, wipe: bool) {
        self.with(who, |host, plan| {
            plan.down.insert(fault);
            // What was stopped in its tracks is not there any more.
            plan.paused.clear();
            host.stop(wipe);
        });
    }
    /// A fault shuts a host down in order, and holds it down.
    pub(super) fn shut_down(&self, who: &str, fault: u64) {
        self.with(who, |host, plan| {
            plan.down.insert(fault);
            plan.leaving |= host.tell(Control::Shutdown);
        });
    }
    /// A fault pauses a host, if it runs.
    pub(super) fn pause(&self, who: &str, fault: u64) {
        self.with(who, |host, plan| {
            if host.tell(Control::Pause) {
                plan.paused.insert(fault);
            }
        });
    }
    /// A host is started now, whatever held it down: faults that are over with it are returned.
    pub(super) fn start(&self, who: &str) -> BTreeSet<u64> {
        let started = self.with(who, |host, plan| {
            let held = std::mem::take(&mut plan.down);
            plan.start_soon(host);
            held
        });
        started.unwrap_or_default()
    }
    /// A fault is over: a host that no other fault holds down is started, one that no other pauses goes on.
    pub(super) fn release(&self, who: &str, fault: u64) {
        self.with(who, |host, plan| {
            if plan.down.remove(&fault) && plan.down.is_empty() {
                plan.start_soon(host);
            }
            if plan.paused.remove(&fault) && plan.paused.is_empty() {
                host.tell(Control::Resume);
            }
        });
    }

    /// A host, as people are told of it.
    pub fn account(&self, who: &str) -> Option<Account> {
        self.with(who, |host, plan| {
            let now = Instant::now();
            let waits = plan.retry.filter(|at| *at > now && plan.down.is_empty());
            let state = match () {
                () if host.is_up() && !plan.paused.is_empty() => "paused",
                () if host.is_up() && plan.leaving => "ending",
                () if host.is_up() => "up",
                () if !host.is_gone() => "ending",
                () if !plan.down.is_empty() => "down",
                () => "restarting",
            };
            Account {
                state,
                gave_up: plan.gave_up,
                why: plan.why.clone(),
                starts_in_ms: waits.map(|at| at.duration_since(now).as_millis() as u64),
            }
        })
    }

    /// Does what there is to do now; tells of what came to pass since the last time. To be called again and again.
    pub fn tick(&self) -> Vec<News> {
        let now = Instant::now();
        // Looked at first: what is gone has told how it ended.
        let gone: Vec<&Host> = self.cluster.hosts().iter().filter(|host| host.is_gone()).collect();
        let mut news = Vec::new();
        while let Some(end) = self.cluster.next_ended(Duration::ZERO) {
            news.push(self.ended(end, now));
        }
        for host in gone {
            let mut plans = lock(&self.plans);
            let plan = plans.entry(host.name.clone()).or_default();
            if !plan.down.is_empty() || plan.retry.is_some_and(|at| at > now) || !host.is_gone() {
                continue;
            }
            match host.start(None, Duration::ZERO) {
                Ok(()) => {
                    plan.has_started();
                    if plan.retry.take().is_some() {
                        news.push(News::Started(host.name.clone()));
                    }
                }
                Err(error) => {
                    plan.failures += 1;
                    let pause = pause_after(plan.failures);
                    plan.retry = Some(now + pause);
                    plan.why = Some(error.to_string());
                    news.push(News::NotStarted { host: host.name.clone(), why: error.to_string(), pause });
                }
            }
        }
        news
    }

    fn ended(&self, end: HostEnded, now: Instant) -> News {
        let mut plans = lock(&self.plans);
        let plan = plans.entry(end.host.clone()).or_default();
        let was_leaving = std::mem::take(&mut plan.leaving);
        let why = match &end.how {
            Ended::Killed => return News::Ended(end),
            Ended::Exit if was_leaving => return News::Ended(end),
            Ended::Exit => "it ended by itself".to_owned(),
            Ended::Halt(reason) | Ended::Failed(reason) => reason.clone(),
        };
        if plan.started.is_some_and(|at| now.duration_since(at) >= CALM) {
            plan.failures = 0;
        }
        plan.failures += 1;
        plan.gave_up += 1;
        plan.why = Some(why);
        let pause = pause_after(plan.failures);
        plan.retry = Some(now + pause);
        let pause = plan.down.is_empty().then_some(pause);
        News::GaveUp { end, times: plan.failures, pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let seconds: Vec<u64> = [1, 2, 3, 4, 5, 6, 7, 40, u32::MAX].map(|n| pause_after(n).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
    }
}
