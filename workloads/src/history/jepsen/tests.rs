//! Published anomalies of Jepsen's workload, in Jepsen's own form.

use super::*;
use crate::oracles::{Judge, JudgeConfig};
use crate::permission::Declared;

/// Judges a history: the checks of its violations, each with partition and offset, in order.
fn judged(text: &str) -> Vec<String> {
    let mut jepsen = Jepsen::new(text);
    let mut judge = Judge::new(JudgeConfig { resolve_slack: 0, max_findings: 10 });
    for entry in jepsen.by_ref() {
        judge.entry(&entry.unwrap());
    }
    for entry in jepsen.together() {
        judge.entry(&entry);
    }
    let verdicts = judge.finish(jepsen.last, &Declared::default());
    let told = |f: &crate::oracles::Finding| format!("{} {} {}", f.check, f.source.topic, f.offset.map_or(-1, |o| o.0));
    let mut all: Vec<String> = verdicts.violations().map(told).collect();
    all.sort();
    all
}

fn refused(text: &str) -> String {
    Jepsen::new(text).find_map(Result::err).expect("an error").to_string()
}

#[test]
fn a_lost_write_is_found_although_no_position_is_known() {
    let text = "
        {:process 0, :type :invoke, :f :send, :value [[:send 7 :a]], :time 1, :index 0}
        {:process 0, :type :ok, :f :send, :value [[:send 7 [0 :a]]], :time 2, :index 1}
        {:process 1, :type :invoke, :f :send, :value [[:send 7 :c]], :time 3, :index 2}
        {:process 1, :type :info, :f :send, :value [[:send 7 :c]], :time 4, :index 3, :error :timeout}
        {:process 2, :type :invoke, :f :poll, :value [[:poll]], :time 5, :index 4}
        {:process 2, :type :ok, :f :poll, :value [[:poll {7 [[2 :c]]}]], :time 6, :index 5}";
    assert_eq!(judged(text), ["lost-write 7 0"]);
}

#[test]
fn what_was_acknowledged_and_not_yet_reached_is_not_lost() {
    let text = "
        [{:process 0, :type :invoke, :f :send, :value [[:send 7 1] [:send 7 2]], :time 1}
         {:process 0, :type :ok, :f :send, :value [[:send 7 [0 1]] [:send 7 [1 2]]], :time 2}
         {:process 1, :type :invoke, :f :poll, :value [[:poll]], :time 3}
         {:process 1, :type :ok, :f :poll, :value [[:poll {7 [[0 1]]}]], :time 4}]";
    assert_eq!(judged(text), Vec::<String>::new());
}

#[test]
fn an_aborted_read_is_a_failed_write_that_is_visible() {
    let text = "
        {:process 0, :type :invoke, :f :send, :value [[:send :x 2] [:send :y 3]]}
        {:process 0, :type :fail, :f :send, :value [[:send :x 2] [:send :y 3]]}
        {:process 1, :type :invoke, :f :poll, :value [[:poll]]}
        {:process 1, :type :ok, :f :poll, :value [[:poll {:x [[0 2]]}]]}";
    assert_eq!(judged(text), ["failed-write-visible x 0"]);
}

#[test]
fn two_values_at_one_offset_are_inconsistent() {
    // From Jepsen's tests: a real-world example.
    let text = "
        {:type :invoke, :f :send, :value [[:send 11 641]], :time 280153467070, :process 379}
        {:type :ok, :f :send, :value [[:send 11 [537 641]]], :time 280169754615, :process 379}
        {:type :invoke, :f :send, :value [[:send 11 645]], :time 283654729962, :process 363}
        {:type :ok, :f :send, :value [[:send 11 [537 645]]], :time 287474569112, :process 363}";
    assert!(judged(text).contains(&"inconsistent-offsets 11 537".to_owned()), "{:?}", judged(text));
}

/// Process 0 reads 1 and 4; another reads 2 and 3 in between. `between` is done by process 0 before it goes on.
fn skipping(between: &str) -> String {
    format!(
        "{{:process 3, :type :invoke, :f :send, :value [[:send :x :a] [:send :x :b] [:send :x :c] [:send :x :d]]}}
         {{:process 0, :type :invoke, :f :poll, :value [[:poll]]}}
         {{:process 0, :type :ok, :f :poll, :value [[:poll {{:x [[1 :a]]}}]]}}
         {{:process 1, :type :invoke, :f :poll, :value [[:poll]]}}
         {{:process 1, :type :ok, :f :poll, :value [[:poll {{:x [[2 :b] [3 :c]]}}]]}}
         {between}
         {{:process 0, :type :invoke, :f :poll, :value [[:poll]]}}
         {{:process 0, :type :ok, :f :poll, :value [[:poll {{:x [[4 :d]]}}]]}}
         {{:process 3, :type :info, :f :send, :value [[:send :x :a] [:send :x :b] [:send :x :c] [:send :x :d]]}}"
    )
}

#[test]
fn a_poll_that_skips_is_found() {
    let found = judged(&skipping(""));
    // What all readers together saw contradicts it, too.
    let of_it = |f: &String| f.starts_with("poll-skip x") || f.starts_with("next-offset-divergence x");
    assert!(found.iter().any(|f| f.starts_with("poll-skip x")) && found.iter().all(of_it), "{found:?}");
    let kept = "{:process 0, :type :ok, :f :assign, :value [:x :y]}";
    assert_eq!(judged(&skipping(kept)), found);
}

#[test]
fn positions_that_are_not_known_excuse_a_skip() {
    for between in [
        "{:process 0, :type :ok, :f :assign, :value [:y]}",
        "{:process 0, :type :ok, :f :subscribe, :value [:x]}",
        "{:process 0, :type :invoke, :f :poll, :value [[:poll]]} {:process 0, :type :fail, :f :poll, :value [[:poll]]}",
    ] {
        assert_eq!(judged(&skipping(between)), Vec::<String>::new(), "{between}");
    }
    let told = "{:process 0, :type :ok, :f :subscribe, :value [:x]} {:process 9, :type :ok, :f :poll, :value [], :rebalance-log []}";
    assert!(!judged(&skipping(told)).is_empty(), "a history that tells of rebalances is judged between them");
}

#[test]
fn a_poll_that_goes_back_is_found() {
    let text = "
        {:process 3, :type :invoke, :f :send, :value [[:send 1 1] [:send 1 2]]}
        {:process 3, :type :ok, :f :send, :value [[:send 1 [0 1]] [:send 1 [1 2]]]}
        {:process 0, :type :invoke, :f :poll, :value [[:poll]]}
        {:process 0, :type :ok, :f :poll, :value [[:poll {1 [[0 1] [1 2]]}]]}
        {:process 0, :type :invoke, :f :poll, :value [[:poll]]}
        {:process 0, :type :ok, :f :poll, :value [[:poll {1 [[0 1] [1 2]]}]]}";
    let found = judged(text);
    assert!(found.iter().any(|f| f.starts_with("nonmonotonic-poll 1")), "{found:?}");
}

#[test]
fn what_is_not_judged_is_counted() {
    let text = "
        {:process :nemesis, :type :info, :f :kill, :value :all}
        {:process 0, :type :invoke, :f :txn, :value [[:send 1 1] [:poll]]}
        {:process 0, :type :info, :f :txn, :value [[:send 1 1] [:poll {1 [[0 1] [nil 4]]}]], :error [:network \"x\"]}";
    let mut jepsen = Jepsen::new(text);
    assert!(jepsen.by_ref().all(|entry| entry.is_ok()));
    let expected = Aside { transactions: 1, polls_astray: 1, without_offset: 1, others: 1, blind_subscriptions: false };
    assert_eq!(jepsen.aside(), &expected);
}

#[test]
fn what_is_no_history_of_jepsens_is_refused_with_its_place() {
    assert!(refused("").contains("the history is empty"));
    assert!(refused("{:a 1}").contains("line 1, column 1: expected an operation of Jepsen's"));
    assert!(refused("\n {:process 0, :type :maybe, :f :send}").contains("line 2, column 2: unknown :type `maybe`"));
    assert!(refused("{:process 0, :type :ok").contains("line 1, column 23: not EDN"));
    let twice = "{:process 0, :type :invoke, :f :send, :value [[:send 1 1]]}\n\
                 {:process 1, :type :invoke, :f :send, :value [[:send 1 1]]}";
    assert!(refused(twice).contains("line 2, column 1: value \"1/1\" is sent a second time; line 1 sent it"));
    let stray = "{:process 0, :type :ok, :f :send, :value [[:send 1 [0 1]]]}";
    assert!(refused(stray).contains("no operation that process 0 has open sends it"));
}
