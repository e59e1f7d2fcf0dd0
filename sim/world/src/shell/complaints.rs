//! What is said of peers that misbehave: the first of a kind at once, the others of it counted and told together, so that a
//! peer that misbehaves all the time does not fill a log.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// How long further complaints of a kind are gathered.
const GATHERED: Duration = Duration::from_secs(10);
/// How many peers are told apart; the others are one.
const PEERS: usize = 1_000;

/// A kind of complaint about a peer's address.
type Key = (String, &'static str);

/// The complaints of one process.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// How many were not said, of those of which one was said in the last [`GATHERED`].
    unsaid: RefCell<BTreeMap<Key, u64>>,
}

/// A peer's address without its port, which is another one for each connection.
fn host(peer: &str) -> String {
    peer.parse::<SocketAddr>()
        .map(|a| a.ip())
        .or_else(|_| peer.parse::<IpAddr>())
        .map_or(peer.to_owned(), |ip| ip.to_string())
}

/// `1,203`.
fn with_commas(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

impl Complaints {
    /// Whether a complaint is to be said now. If not, it is counted, and told of within [`GATHERED`].
    fn take(&self, key: Key) -> (bool, Option<Key>) {
        let mut unsaid = self.unsaid.borrow_mut();
        let others = (String::from("other peers"), key.1);
        let key = if unsaid.len() < PEERS || unsaid.contains_key(&key) { key } else { others };
        match unsaid.get_mut(&key) {
            Some(count) => {
                *count += 1;
                (false, None)
            }
            None => {
                unsaid.insert(key.clone(), 0);
                (true, Some(key))
            }
        }
    }

    /// The time of a kind is over: how many were not said. While there are any, its time begins again.
    fn gathered(&self, key: &Key) -> Option<u64> {
        let mut unsaid = self.unsaid.borrow_mut();
        match unsaid.get_mut(key) {
            Some(0) | None => {
                unsaid.remove(key);
                None
            }
            Some(count) => Some(std::mem::take(count)),
        }
    }

    /// Complains of a peer. To be called within a `LocalSet`.
    pub(super) fn say(self: &Rc<Self>, name: &str, kind: &'static str, peer: &str, what: &dyn std::fmt::Display) {
        let (now, begun) = self.take((host(peer), kind));
        if now {
            tracing::warn!("{name}: {what}");
        }
        if let Some(key) = begun {
            tokio::task::spawn_local(tell(Rc::downgrade(self), name.to_owned(), key));
        }
    }
}

/// Tells again and again what was gathered, until nothing was.
async fn tell(complaints: Weak<Complaints>, name: String, key: Key) {
    loop {
        tokio::time::sleep(GATHERED).await;
        let Some(count) = complaints.upgrade().and_then(|complaints| complaints.gathered(&key)) else { return };
        let (peer, kind) = &key;
        tracing::warn!("{name}: {kind}: and {} more in the last {GATHERED:?}, of {peer}", with_commas(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::LocalSet;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 7, 203, 1_203, 1_000_000].map(with_commas), ["0", "7", "203", "1,203", "1,000,000"]);
    }

    #[test]
    fn one_of_a_kind_is_said_and_the_others_are_counted() {
        let complaints = Complaints::default();
        let key = |peer: &str, kind| (host(peer), kind);
        let said = |peer: &str, kind| complaints.take(key(peer, kind)).0;
        assert!(said("10.0.0.1:4000", "bad frame"));
        assert!(
            (0..1_203).all(|n| !said(&format!("10.0.0.1:{}", 5_000 + n), "bad frame")),
            "another port is the same peer"
        );
        assert!(said("10.0.0.2:4000", "bad frame") && said("10.0.0.1:4000", "refused"));
        assert_eq!(complaints.gathered(&key("10.0.0.1:1", "bad frame")), Some(1_203));
        assert_eq!(complaints.gathered(&key("10.0.0.1:1", "bad frame")), None, "a quiet time ends it");
        assert!(said("10.0.0.1:4000", "bad frame"));
    }

    #[test]
    fn a_crowd_of_peers_is_one() {
        let complaints = Complaints::default();
        let said = (0..5_000).filter(|n| complaints.take((format!("peer {n}"), "bad frame")).0).count();
        assert_eq!(said, PEERS + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_gathered_is_told_until_it_is_quiet() {
        let local = LocalSet::new();
        local
            .run_until(async {
                let complaints = Rc::new(Complaints::default());
                for _ in 0..5 {
                    complaints.say("b1", "bad frame", "10.0.0.1:1", &"no");
                }
                assert_eq!(complaints.unsaid.borrow().values().copied().collect::<Vec<_>>(), [4]);
                tokio::time::sleep(GATHERED + Duration::from_secs(1)).await;
                assert_eq!(complaints.unsaid.borrow().values().copied().collect::<Vec<_>>(), [0]);
                tokio::time::sleep(GATHERED).await;
                assert!(complaints.unsaid.borrow().is_empty(), "and then forgotten");
            })
            .await;
    }
}
