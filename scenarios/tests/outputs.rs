//! What commands write to: refused before anything runs where nothing can be written, and never replaced where it is no
//! plain file. And how much a command may ask for.

mod common;

use common::{Place, TINY};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::time::{Duration, Instant};

#[test]
fn what_cannot_be_written_is_refused_before_anything_runs() {
    let place = Place::new();
    place.put("tiny.toml", TINY);
    place.put("file", "mine");
    std::fs::create_dir(place.path().join("folder")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.path().join("socket")).unwrap();
    symlink("nowhere", place.path().join("dangling")).unwrap();
    // It would take an hour.
    let run = |more: &[&str]| {
        let began = Instant::now();
        let said = place.klamm(&[&["run", "tiny.toml", "--seeds", "100000"], more].concat());
        assert!(began.elapsed() < Duration::from_secs(30));
        said
    };
    run(&["--junit", "folder"]).refused(&["--junit folder: this is a directory", "folder/report"]);
    run(&["--junit", "no/such/junit.xml"]).refused(&["--junit no/such/junit.xml", "mkdir -p"]);
    run(&["--junit", "socket"]).refused(&["--junit socket: this is a socket"]);
    run(&["--junit", "dangling"]).refused(&["leads nowhere"]);
    run(&["--out", "file"]).refused(&["--out file: this is a file", "name a folder"]);
    run(&["--out", "file/out"]).refused(&["--out file/out", "is a file"]);
    run(&["--out", "/dev/null"]).refused(&["--out /dev/null: this is a device"]);
    for command in [
        &["audit", "--out", "file"][..],
        &["parity", "tiny.toml", "--out", "file"],
        &["defects", "record", "--out", "folder"],
        &["report", "folder", "--junit", "folder"],
    ] {
        place.klamm(command).refused(&[command.last().unwrap(), "this is a"]);
    }
    assert_eq!(std::fs::read(place.path().join("file")).unwrap(), b"mine");
    assert!(!place.path().join("target").exists(), "nothing was begun");
}

#[test]
fn a_device_is_written_to_and_stays_a_device() {
    let place = Place::new();
    place.put("tiny.toml", TINY);
    symlink("/dev/null", place.path().join("null")).unwrap();
    for junit in ["/dev/null", "null"] {
        let args = ["run", "tiny.toml", "--seeds", "1", "--recheck", "0", "--out", "out", "--junit", junit];
        let said = place.klamm(&args);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        assert!(!std::path::Path::new("/dev/null.part").exists());
    }
    assert!(std::fs::symlink_metadata(place.path().join("null")).unwrap().is_symlink());
    let args = ["run", "tiny.toml", "--seeds", "1", "--recheck", "0", "--out", "out", "--junit", "/dev/stdout"];
    let said = place.klamm(&args);
    assert!(said.code == 0 && said.out.contains("<testsuites"), "{said:?}");
}

#[test]
fn a_full_standard_output_is_an_error_and_no_panic() {
    let place = Place::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command(&["list"]).stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot write to standard output") && !said.contains("panicked"), "{said}");
}

#[test]
fn what_a_command_may_ask_for_is_bounded() {
    let place = Place::new();
    place.put("tiny.toml", TINY);
    let refused = |args: &[&str], words: &[&str]| place.klamm(args).refused(words);
    for seeds in ["10000001", "18446744073709551615"] {
        refused(&["run", "tiny.toml", "--seeds", seeds, "--out", "out"], &["--seeds", "10000000", "--for"]);
        refused(&["parity", "tiny.toml", "--seeds", seeds, "--out", "out"], &["--seeds", "10000000"]);
    }
    refused(&["audit", "--seeds", "10001", "--out", "out"], &["--seeds 10001", "at most 10000"]);
    for command in [&["run", "tiny.toml"][..], &["audit"], &["defects", "hunt"], &["parity", "tiny.toml"]] {
        refused(&[command, &["-j", "100000"]].concat(), &["at most 1024 threads"]);
    }
    let huge = place.path().join("huge.toml");
    std::fs::File::create(&huge).unwrap().set_len(4 << 30).unwrap();
    let serve = ["serve", "--brokers", "1", "--listen", "127.0.0.1:0"];
    for option in ["--faults", "--config"] {
        let began = Instant::now();
        refused(&[&serve[..], &[option, "huge.toml"]].concat(), &["huge.toml", "too large"]);
        refused(&[&serve[..], &[option, "/dev/zero"]].concat(), &["/dev/zero", "too large"]);
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    let nested = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    place.put("nested.toml", format!("fault = {nested}\n"));
    refused(&[&serve[..], &["--faults", "nested.toml"]].concat(), &["nested.toml"]);
    assert!(!place.path().join("out").exists());
}
