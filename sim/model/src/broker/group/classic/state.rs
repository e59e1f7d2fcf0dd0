//! The states of a classic group, and which may follow which (Kafka's `ClassicGroupState`).
//!
//! | from | to |
//! |---|---|
//! | Empty | PreparingRebalance, Dead |
//! | PreparingRebalance | Empty, CompletingRebalance, Dead |
//! | CompletingRebalance | PreparingRebalance, Stable, Dead |
//! | Stable | PreparingRebalance, Dead |
//! | Dead | |

/// What a classic group does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::broker::group) enum State {
    /// It has no members, and maybe offsets.
    Empty,
    /// Members are joining.
    PreparingRebalance,
    /// All have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
    /// Deleted, or moved to another coordinator.
    Dead,
}

/// Each state with those that may follow it.
pub(in crate::broker::group) const TRANSITIONS: &[(State, &[State])] = &[
    (State::Empty, &[State::PreparingRebalance, State::Dead]),
    (State::PreparingRebalance, &[State::Empty, State::CompletingRebalance, State::Dead]),
    (State::CompletingRebalance, &[State::PreparingRebalance, State::Stable, State::Dead]),
    (State::Stable, &[State::PreparingRebalance, State::Dead]),
    (State::Dead, &[]),
];

impl State {
    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
            State::Dead => "Dead",
        }
    }
    /// Whether `next` may follow.
    pub fn may_become(self, next: State) -> bool {
        TRANSITIONS.iter().any(|(from, to)| *from == self && to.contains(&next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in this file's documentation is the one that is asserted.
    #[test]
    fn the_documented_table_is_the_one_in_force() {
        let mut rows = Vec::new();
        for (from, to) in TRANSITIONS {
            let names: Vec<&str> = to.iter().map(|s| s.name()).collect();
            let cell = if names.is_empty() { String::new() } else { format!("{} ", names.join(", ")) };
            rows.push(format!("//! | {} | {cell}|", from.name()));
        }
        let documented: Vec<&str> =
            include_str!("state.rs").lines().filter(|l| l.starts_with("//! |")).skip(2).collect();
        assert_eq!(documented, rows);
        assert_eq!(TRANSITIONS.len(), 5, "every state has its row");
    }
}
