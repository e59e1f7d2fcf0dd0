//! Names that do not exist are refused when the file is read, with place and suggestion; and so is a fault that would happen
//! without end.

mod common;

use common::{DEFECT, Place, TINY, failures};
use std::path::Path;

fn case(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/scenarios").join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn inert_leader() {
    let place = Place::new();
    place.put("inert-leader.toml", case("inert-leader.toml"));
    let said = place.klamm(&["run", "inert-leader.toml", "--seeds", "5", "--out", "out"]);
    said.refused(&["inert-leader.toml:15:15", "there is no topic `order`", "did you mean `orders`"]);
    assert!(!place.path().join("out").exists());
}

#[test]
fn serve_faults_times_bomb() {
    let place = Place::new();
    place.put("bomb.toml", case("serve-faults-times-bomb.toml"));
    let said = place.klamm(&["serve", "--brokers", "1", "--listen", "127.0.0.1:0", "--faults", "bomb.toml"]);
    said.refused(&["bomb.toml", "[[fault]] number 1", "`times` must be at most 1000"]);
    // The same in a scenario, whatever the numbers between which it is drawn.
    for times in ["1000000000", "\"0..1001\"", "[1, 4000000000]"] {
        place.put("tiny.toml", TINY.replace("times = 4", &format!("times = {times}")));
        place.klamm(&["run", "tiny.toml", "--out", "out"]).refused(&["tiny.toml:22:", "`times` must be at most 1000"]);
    }
}

/// What all tables of a kind come to has a bound, too: clients beyond it would be taken for the harness's own.
#[test]
fn what_comes_together_is_bounded() {
    let place = Place::new();
    let more = |n: u32| format!("{TINY}\n[[clients]]\nkind = \"consumer\"\ncount = {n}\n");
    place.put("tiny.toml", more(998));
    place.klamm(&["run", "tiny.toml"]).refused(&["tiny.toml:26:9", "together are 1000; at most 999"]);
    place.put("tiny.toml", TINY.replace("rate = 60", "rate = 10000000"));
    place.klamm(&["run", "tiny.toml"]).refused(&["tiny.toml:12:17", "60000000 records in one seed"]);
    let topics = "[[topic]]\nname = \"more\"\npartitions = 10000\n";
    place.put("tiny.toml", TINY.replace("[[topic]]", &format!("{topics}[[topic]]")));
    place.klamm(&["run", "tiny.toml"]).refused(&["together have 10001 partitions"]);
    let keys: String = (0..2000).map(|n| format!("\"key.{n}\" = 1\n")).collect();
    place.put("tiny.toml", TINY.replace("[[topic]]", &format!("[broker]\n{keys}[[topic]]")));
    place.klamm(&["run", "tiny.toml"]).refused(&["tiny.toml:7:2", "2000 settings"]);
    let list = vec!["1"; 5000].join(", ");
    place.put("tiny.toml", TINY.replace("rate = 60", &format!("rate = [{list}]")));
    place.klamm(&["run", "tiny.toml"]).refused(&["tiny.toml:12:17", "more than 1000 values"]);
}

#[test]
fn panic_linger_in_list() {
    let place = Place::new();
    place.put("linger.toml", case("panic-linger-in-list.toml"));
    let said = place.klamm(&["run", "linger.toml", "--seeds", "20", "--out", "out"]);
    said.refused(&["linger.toml:90:5", "Invalid value -5 for configuration linger.ms"]);
    assert!(!place.path().join("out").exists());
}

#[test]
fn panic_empty_group_id() {
    let place = Place::new();
    place.put("group.toml", case("panic-empty-group-id.toml"));
    let said = place.klamm(&["run", "group.toml", "--seeds", "20", "--out", "out"]);
    said.refused(&["group.toml:72:", "`group.id` that is not empty"]);
    assert!(!place.path().join("out").exists());
}

/// A scenario with a topic that grows, a group, and one fault.
fn with(fault: &str, more: &str) -> String {
    format!(
        "name = \"names\"\nsummary = \"Names.\"\nduration = \"4s\"\nconverge-within = \"60s\"\n\
         broker = {{ \"offsets.topic.num.partitions\" = [3, 5] }}\n\
         [[topic]]\nname = \"orders\"\npartitions = \"1..2\"\nreplication = [2, 3]\ngrow = {{ to = 4, at = \"1s\" }}\n\
         [[topic]]\nname = \"paid\"\n\
         [[clients]]\nkind = \"producer\"\nload = {{ rate = 20 }}\n\
         config = {{ \"delivery.timeout.ms\" = 8000, \"request.timeout.ms\" = 1500 }}\n\
         [[clients]]\nkind = \"group\"\nconfig = {{ \"group.id\" = [\"billing\", \"audit\"], \"session.timeout.ms\" = 6000 }}\n\
         [[clients]]\nkind = \"consumer\"\nconfig = {{ \"group.id\" = \"reader\" }}\n\
         [[fault]]\nkind = \"kill\"\nwho = \"b1\"\nat = \"1s\"\n\
         [[fault]]\nat = \"1s\"\n{fault}\n{more}"
    )
}

#[test]
fn names_that_cannot_exist_are_refused_and_those_that_can_are_not() {
    let place = Place::new();
    let said = |fault: &str, more: &str| {
        place.put("names.toml", with(fault, more));
        place.klamm(&["run", "names.toml", "--seeds", "1", "--recheck", "0", "--out", "out"])
    };
    let refused: &[(&str, &str, &[&str])] = &[
        ("kind = \"kill\"\nwho = \"leader(order-0)\"", "", &["names.toml:30:15", "did you mean `orders`"]),
        ("kind = \"kill\"\nwho = \"leader(orders-4)\"", "", &["never has a partition 4", "its last is 3"]),
        ("kind = \"kill\"\nwho = \"follower(orders-0, 2)\"", "", &["never has a follower 2", "2 at most"]),
        ("kind = \"power-loss\"\nwho = [\"b1\", \"isr(payd-0)\"]", "", &["did you mean `paid`"]),
        ("kind = \"kill\"\nwho = \"b4\"", "", &["there is no host `b4`"]),
        ("kind = \"kill\"\nwho = \"m2\"", "", &["there is no host `m2`"]),
        ("kind = \"partition\"\nbetween = [\"p1\", \"replicas(paid-1)\"]", "", &["never has a partition 1"]),
        ("kind = \"isolate\"\nwho = \"leader(klamm-probe-0)\"", "", &["there is no topic `klamm-probe`"]),
        ("kind = \"kill\"\nwho = \"leader(__cluster_metadata-0)\"", "", &["there is no topic `__cluster_metadata`"]),
        ("kind = \"kill\"\nwho = \"leader(__consumer_offsets-5)\"", "", &["never has a partition 5", "its last is 4"]),
        ("kind = \"kill\"\nwho = \"b1\"\nwhen = \"up(b2) and not hw-lag(orders-9)\"", "", &["never has a partition 9"]),
        ("kind = \"kill\"\nwho = \"b1\"\nwhen = \"leads(b7, orders-0)\"", "", &["no host `b7`"]),
        ("kind = \"kill\"\nwho = \"b1\"\nwhen = \"in-isr(leader(oders-0), orders-0)\"", "", &["did you mean `orders`"]),
        ("kind = \"kill\"\nwho = \"coordinator(biling)\"", "", &["a group `biling`", "did you mean `billing`"]),
        ("kind = \"kill\"\nwho = \"coordinator(reader)\"", "", &["no client is of a group `reader`"]),
        ("kind = \"kill\"\nwho = \"b1\"\nwhen = \"rebalancing(bill)\"", "", &["no client is of a group `bill`"]),
        ("kind = \"bit-rot\"\nwho = \"b1\"\nlog = \"order-0\"", "", &["there is no topic `order`"]),
        ("kind = \"bit-rot\"\nwho = \"b1\"\nlog = \"orders-4\"", "", &["never has a partition 4"]),
        ("kind = \"bit-rot\"\nwho = \"b1\"\nlog = \"orders\"", "", &["there is no log `orders`"]),
        (
            "kind = \"hold\"\nbetween = [\"b1\", \"b2\"]\napi = \"Fetsh\"",
            "",
            &["no API `Fetsh`", "did you mean `Fetch`"],
        ),
        ("kind = \"hold\"\nbetween = [\"b1\", \"b2\"]\napi = \"EndTxn\"", "", &["no node sends `EndTxn` here"]),
        (
            "kind = \"kill\"\nwho = \"b2\"",
            "[expect]\nsometimes = [\"leader-electd\"]",
            &["names.toml:32:15", "there is no mark `leader-electd`", "did you mean `leader-elected`"],
        ),
        ("kind = \"kill\"\nwho = \"b2\"", "[expect]\nviolations = [\"lost-wirte\"]", &["did you mean `lost-write`"]),
        ("kind = \"kill\"\nwho = \"b2\"", "[expect]\npermits = [\"duplicates\"]", &["did you mean `duplicate`"]),
        (
            "kind = \"kill\"\nwho = \"b2\"",
            "[matrix]\n\"brokr.min.insync.replicas\" = [1, 2]",
            &["did you mean `broker`"],
        ),
        ("kind = \"kill\"\nwho = \"b2\"", "[[variant]]\nname = \"v\"\nset = { \"topic.replicaton\" = 1 }", &["topic"]),
    ];
    for (fault, more, words) in refused {
        said(fault, more).refused(words);
    }
    assert!(!place.path().join("out").exists());
    for (fault, more) in [
        ("kind = \"kill\"\nwho = \"leader(orders-3)\"", ""),
        ("kind = \"kill\"\nwho = \"follower(orders-0, 1)\"", ""),
        ("kind = \"kill\"\nwho = \"leader(__consumer_offsets-4)\"", ""),
        ("kind = \"kill\"\nwho = \"coordinator(audit)\"", ""),
        ("kind = \"kill\"\nwho = \"b2\"", "[expect]\npermits = [\"shell-contract\", \"convergence\", \"duplicate\"]"),
    ] {
        let said = said(fault, more);
        assert!([0, 4].contains(&said.code), "{fault}: {said:?}");
        std::fs::remove_dir_all(place.path().join("out")).unwrap();
    }
}

/// A partition that exists in some draws only: a failure of another draw is still one that can be run again.
#[test]
fn a_failure_whose_draw_lacks_a_target_is_replayed() {
    let place = Place::new();
    let second = "[[fault]]\nkind = \"reset\"\nbetween = [\"p1\", \"leader(orders-1)\"]\nat = \"1s..5s\"\n";
    place.put("tiny.toml", TINY.replace("\"orders\"\n", "\"orders\"\npartitions = \"1..2\"\n") + second);
    assert_eq!(place.run("tiny.toml", 20, "out", &["--defect", DEFECT]).code, 1);
    let mut partitions = std::collections::BTreeSet::new();
    for failure in failures(&place.run_folder("out")) {
        let drawn = std::fs::read_to_string(failure.join("scenario.toml")).unwrap();
        partitions.insert(drawn.lines().find(|l| l.starts_with("partitions = ")).unwrap().to_owned());
        let said = place.klamm(&["replay", failure.to_str().unwrap()]);
        assert_eq!(said.code, 1, "{said:?}");
    }
    assert!(partitions.contains("partitions = 1"), "{partitions:?}");
}

#[test]
fn without_a_group_there_is_no_topic_of_offsets() {
    let place = Place::new();
    place.put("tiny.toml", TINY.replace("leader(orders-0)", "leader(__consumer_offsets-0)"));
    place.klamm(&["run", "tiny.toml", "--out", "out"]).refused(&["there is no topic `__consumer_offsets`"]);
}
