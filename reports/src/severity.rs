//! How bad a violation is: what a client loses comes before what a broker does wrong inside. One table.

/// Kinds of violation, the worst first.
const ORDER: &[(&str, &[&str])] = &[
    (
        "data that was promised is gone",
        &["lost-write", "unseen", "half-done", "skipped-record", "compacted-value", "read-model"],
    ),
    (
        "clients see what is wrong",
        &[
            "unknown-read",
            "failed-write-visible",
            "inconsistent-offsets",
            "duplicate",
            "double-effect",
            "nonmonotonic-send",
            "int-nonmonotonic-send",
            "out-of-step",
            "realtime-order",
            "poll-skip",
            "int-poll-skip",
            "nonmonotonic-poll",
            "int-nonmonotonic-poll",
            "illegal-resume",
            "commit-too-far",
            "commit-regression",
            "clean-handover",
            "key-affinity",
            "next-offset-divergence",
            "read-epoch-regression",
            "list-offsets-regression",
        ],
    ),
    ("a process died, or went round in circles", &["crash", "runaway", "shell-contract"]),
    ("something stands still", &["convergence", "send-resolves", "client-recovers"]),
];

/// A violation's place among kinds and within its kind: the smaller, the worse. What is in no kind is an invariant of
/// brokers and controllers.
pub fn severity(check: &str) -> (u8, u8) {
    for (kind, (_, checks)) in ORDER.iter().enumerate() {
        if let Some(place) = checks.iter().position(|c| *c == check) {
            return (kind as u8, place as u8);
        }
    }
    (ORDER.len() as u8, 0)
}

/// What kind of violation it is, in words.
pub fn kind(check: &str) -> &'static str {
    ORDER.get(usize::from(severity(check).0)).map_or("a broker or controller breaks a rule of its own", |k| k.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_loss_comes_before_a_brokers_invariant() {
        let mut checks = ["high-watermark", "convergence", "duplicate", "unseen", "crash", "lost-write"];
        checks.sort_by_key(|c| severity(c));
        assert_eq!(checks, ["lost-write", "unseen", "duplicate", "crash", "convergence", "high-watermark"]);
        assert_eq!(kind("high-watermark"), "a broker or controller breaks a rule of its own");
    }

    #[test]
    fn every_check_has_one_place() {
        let mut all: Vec<&str> = ORDER.iter().flat_map(|k| k.1).copied().collect();
        let n = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), n);
    }
}
