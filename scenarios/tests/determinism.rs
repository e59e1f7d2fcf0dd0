//! The same seed gives the same digest, whatever is around it.

mod common;

use common::{Place, digests, said};

#[test]
fn threads_logs_processes_and_encoding_change_no_digest() {
    let place = Place::new();
    let run = |out: &str, more: &[&str], log: bool| {
        let args = [&["run", "smoke", "--seeds", "3", "--master", "0xd1ce", "--out", out], more].concat();
        let mut command = place.command(&args);
        if log {
            command.env("KLAMM_LOG", "trace");
        }
        let said = said(&mut command);
        assert!(said.code != 2 && said.code != 3 && said.code >= 0, "{said:?}");
        assert_eq!(said.err.contains("seed done"), log, "{}", said.err);
        digests(&place.run_folder(out))
    };
    let plain = run("plain", &["-j", "1", "--recheck", "0"], false);
    assert!(plain.len() >= 3 * 16, "{}", plain.len());
    // Every message encoded and decoded again, on two threads.
    let encoded = run("encoded", &["-j", "2", "--recheck", "0", "--encode"], false);
    // Every seed again in a fresh process, with everything logged.
    let again = run("again", &["-j", "2", "--recheck", "1000000"], true);
    for ((plain, encoded), again) in plain.iter().zip(&encoded).zip(&again) {
        assert_eq!(plain, encoded);
        assert_eq!(plain, again);
    }
}

#[test]
fn shards_make_up_the_whole() {
    let place = Place::new();
    place.put("tiny.toml", common::TINY);
    let run = |shard: &str, out: &str| {
        let said = place.klamm(&["run", "tiny.toml", "--seeds", "5", "--recheck", "0", "--shard", shard, "--out", out]);
        assert_eq!(said.code, 0, "{said:?}");
        digests(&place.run_folder(out))
    };
    let mut parts = [run("1/2", "a"), run("2/2", "b")].concat();
    let mut whole = run("1/1", "c");
    parts.sort();
    whole.sort();
    assert_eq!(parts, whole);
}
