use super::*;
use crate::permission::{
    Compacted, Configured, Damage, Declared, Expired, LeaderChange, LogStart, Loss, OffsetsAltered, PartitionChange,
    Unclean,
};
use klamm_model::history::*;
use klamm_model::ids::*;
use std::io::Cursor;
use std::sync::Arc;

fn source() -> TopicPartition {
    TopicPartition { topic: "orders".into(), partition: 0 }
}

fn every_op() -> Vec<Op> {
    let value = ValueId::new(ClientId(3), 0);
    // Read or followed from, and never sent.
    let stranger = ValueId::new(ClientId(MAX_CLIENT), 1 << 43);
    let topic: Arc<str> = "orders".into();
    let isolation = IsolationLevel::ReadCommitted;
    let facts = ProducerFacts { acks: Acks::All, idempotent: true, max_in_flight: 5, resolves_within: 9 };
    let record = ReadRecord { offset: Offset(5), leader_epoch: LeaderEpoch(1), value, key: Some(1), timestamp: 12 };
    let member = MemberFacts {
        group: "billing".into(),
        protocol: RebalanceProtocol::Cooperative,
        instance: None,
        auto_commit: true,
        processing: Processing::HandOff,
        effects: true,
        resets_to_latest: false,
        forwards_to: vec!["shipping".into()],
        declines_to: Some("cancelled".into()),
    };
    vec![
        Op::Producer { facts },
        Op::Send { value, topic, partition: None, key: Some(0), tombstone: true, late_by: 3, from: Some(stranger) },
        Op::Sent {
            value,
            outcome: Outcome::Info,
            partition: Some(0),
            offset: None,
            attempts: 2,
            producer_id: Some(ProducerId(1)),
            error: Some("REQUEST_TIMED_OUT".into()),
        },
        Op::Poll { source: source(), isolation, records: vec![record] },
        Op::Position { source: source(), offset: Offset(1), reason: PositionReason::Truncation },
        Op::ReadModel { topics: vec!["t".into()] },
        Op::AskOffset { ask: 1 },
        Op::ListOffsets {
            ask: 1,
            source: source(),
            topic_id: Some(TopicId(Uuid::from_u128(9))),
            isolation,
            query: -1,
            offset: Offset(4),
            leader_epoch: LeaderEpoch(2),
        },
        Op::FinalRead { source: source(), from: Offset(0), to: Offset(8) },
        Op::Member { facts: member },
        Op::Assigned { generation: 3, partitions: vec![source()] },
        Op::Revoked { generation: 3, partitions: vec![source()], lost: false },
        Op::Commit {
            commit: 1,
            trigger: CommitTrigger::Revocation,
            generation: 3,
            offsets: vec![(source(), Offset(6))],
        },
        Op::Committed { commit: 1, outcome: Outcome::Fail, error: Some("ILLEGAL_GENERATION".into()) },
        Op::Finished { source: source(), from: Offset(5), to: Offset(6) },
        Op::Effect { source: source(), offset: Offset(5), value },
        Op::GroupOffset { group: "billing".into(), source: source(), offset: None },
    ]
}

fn entries() -> Vec<Entry> {
    let entry = |(i, op)| Entry { at: i as u64 * 10, client: ClientId(3), incarnation: Incarnation(1), op };
    every_op().into_iter().enumerate().map(entry).collect()
}

fn written() -> String {
    let declared = Declared { recorded: true, ..Declared::default() };
    let header = Header::new(declared, [("acks".to_owned(), "all".to_owned())].into());
    String::from_utf8(write(Vec::new(), &header, &entries()).unwrap()).unwrap()
}

fn read(text: impl AsRef<[u8]>) -> Result<Vec<Entry>, HistoryError> {
    Reader::new(Cursor::new(text))?.collect()
}

/// The error of a history with this as its second line.
fn wrong(line: &str) -> String {
    read(format!("{{\"klamm-history\":1}}\n{line}\n")).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read() {
    let text = written();
    assert_eq!(read(&text).unwrap(), entries());
    let reader = Reader::new(Cursor::new(&text)).unwrap();
    assert!(reader.header().declared.recorded);
    assert_eq!(reader.header().settings["acks"], "all");
}

/// An object's keys, at every depth, and what the table says of them.
fn same(object: &serde_json::Value, fields: &[&shape::Field], whose: &str) {
    let object = object.as_object().unwrap_or_else(|| panic!("{whose} is an object"));
    let known: std::collections::BTreeSet<_> = fields.iter().map(|f| f.name).collect();
    assert_eq!(known, object.keys().map(String::as_str).collect(), "{whose}");
    for field in fields {
        let inner = match (&field.kind, &object[field.name]) {
            (shape::Kind::Object(inner), value) => Some((inner, value.clone())),
            (shape::Kind::List(shape::Kind::Object(inner)), value) => Some((inner, value[0].clone())),
            _ => None,
        };
        if let Some((inner, value)) = inner {
            same(&value, &inner.iter().collect::<Vec<_>>(), &format!("{whose}.{}", field.name));
        }
    }
}

#[test]
fn the_table_of_fields_is_that_of_the_operations() {
    for entry in entries() {
        let json = serde_json::to_value(&entry).unwrap();
        let op = shape::of(json["op"].as_str().unwrap()).unwrap();
        same(&json, &shape::COMMON.iter().chain(op.fields).collect::<Vec<_>>(), op.name);
    }
    let written: std::collections::BTreeSet<_> =
        entries().iter().map(|e| serde_json::to_value(e).unwrap()["op"].to_string()).collect();
    assert_eq!(written.len(), shape::OPS.len());
    let (at, source) = (1, source());
    let declared = Declared {
        recorded: true,
        configured: Configured { unclean_election: true, compaction: true, deletion: true },
        transaction_version: Some(2),
        leader_changes: vec![LeaderChange { at, source: source.clone(), epoch: LeaderEpoch(1), deposed_by: Some(1) }],
        uncleans: vec![Unclean { at, source: source.clone(), from: Some(Offset(1)) }],
        losses: vec![Loss { at, source: source.clone(), from: None, beyond_budget: true }],
        damages: vec![Damage { at, source: source.clone(), from: Offset(0), to: Offset(1), beyond_budget: false }],
        log_starts: vec![LogStart { at, source: source.clone(), offset: Offset(1) }],
        compactions: vec![Compacted { at, source: source.clone(), removed: vec![Offset(3)] }],
        expiries: vec![Expired { at, source: source.clone(), producer_id: Some(ProducerId(4)) }],
        offsets_altered: vec![OffsetsAltered { at, group: "g".into(), source: Some(source) }],
        partition_changes: vec![PartitionChange { at, topic: "t".into(), count: 2 }],
    };
    let header = Header::new(declared, [("acks".to_owned(), "all".to_owned())].into());
    same(&serde_json::to_value(&header).unwrap(), &shape::HEADER.iter().collect::<Vec<_>>(), "header");
    let text = serde_json::to_string(&header).unwrap();
    assert_eq!(*Reader::new(Cursor::new(text)).unwrap().header(), header);
}

#[test]
fn fields_that_may_be_absent_are_read_as_unknown() {
    let lines = [
        r#"{"klamm-history":1}"#,
        r#"{"at":1,"client":1,"incarnation":1,"op":"producer","facts":{"acks":"-1","idempotent":false,"max_in_flight":5,"resolves_within":9}}"#,
        r#"{"at":1,"client":1,"incarnation":1,"op":"send","value":"a","topic":"t"}"#,
        r#"{"at":2,"client":1,"incarnation":1,"op":"sent","value":"a","outcome":"ok"}"#,
        r#"{"at":3,"client":2,"incarnation":1,"op":"position","source":{"topic":"t","partition":0},"offset":null,"reason":"assigned"}"#,
        r#"{"at":3,"client":2,"incarnation":1,"op":"poll","source":{"topic":"t","partition":0},"isolation":"read_committed","records":[{"offset":4,"value":"a"},{"offset":5,"value":null}]}"#,
    ];
    let entries = read(lines.join("\n")).unwrap();
    let value = ValueId::new(ClientId(1), 0);
    let Op::Sent { attempts, offset, producer_id, .. } = entries[2].op else { panic!("{:?}", entries[2]) };
    // A producer without idempotence that does not tell may have sent it twice.
    assert_eq!((attempts, offset, producer_id), (2, None, None));
    let Op::Position { offset, .. } = entries[3].op else { panic!("{:?}", entries[3]) };
    assert_eq!(offset, Offset::NONE);
    let Op::Poll { records, .. } = &entries[4].op else { panic!("{:?}", entries[4]) };
    let unknown =
        |offset, value| ReadRecord { offset, leader_epoch: LeaderEpoch::NONE, value, key: None, timestamp: -1 };
    assert_eq!(records, &[unknown(Offset(4), value), unknown(Offset(5), crate::oracles::UNDECODABLE)]);
}

#[test]
fn values_and_keys_are_whatever_the_recorder_chose() {
    let send = |client: u32, value: &str, key: &str| {
        format!(r#"{{"at":1,"client":{client},"incarnation":1,"op":"send","value":{value},"topic":"t","key":{key}}}"#)
    };
    let names = ["1", "\"1\"", "1.0", "-1", "18446744073709551616", "18446744073709551615", "\"a\\u0062\"", "\"\\n\""];
    let mut lines = vec![r#"{"klamm-history":1}"#.to_owned()];
    lines.extend(names.iter().map(|name| send(7, name, name)));
    lines.push(send(8, "\"other\"", "1"));
    let read_all = names.iter().enumerate().map(|(i, name)| format!(r#"{{"offset":{i},"value":{name},"key":{name}}}"#));
    lines.push(format!(
        r#"{{"at":2,"client":9,"incarnation":1,"op":"poll","source":{{"topic":"t","partition":0}},"isolation":"read_committed","records":[{},{}]}}"#,
        read_all.collect::<Vec<_>>().join(","),
        r#"{"offset":90,"value":"ab"},{"offset":91,"value":"unheard of"},{"offset":92,"value":"unheard of"}"#
    ));
    let text = lines.join("\n");
    let mut reader = Reader::new(Cursor::new(&text)).unwrap();
    let entries: Vec<Entry> = reader.by_ref().map(Result::unwrap).collect();
    let Op::Poll { records, .. } = &entries.last().unwrap().op else { panic!("a poll") };
    for (i, record) in records.iter().take(names.len()).enumerate() {
        assert_eq!((record.value, record.key), (ValueId::new(ClientId(7), i as u64), Some(i as u64)), "{}", names[i]);
    }
    assert_eq!(records[8].value, ValueId::new(ClientId(7), 6), "an escape is what it stands for");
    assert_eq!(records[9].value, records[10].value);
    assert!(!entries.iter().any(|e| matches!(e.op, Op::Send { value, .. } if value == records[9].value)));
    let Op::Send { value, key, .. } = entries[8].op else { panic!("a send") };
    assert_eq!((value, key), (ValueId::new(ClientId(8), 0), Some(0)));
    // What is shown has the names of the file.
    let (mut values, mut keys) = Default::default();
    named(entries.last().unwrap(), &mut values, &mut keys);
    let shown = reader.names().of(&values, &keys).entry(entries.last().unwrap());
    assert_eq!(shown["records"][1]["value"], "1");
    assert_eq!(shown["records"][0]["key"], 1);
    assert_eq!(shown["records"][9]["value"], "unheard of");
}

#[test]
fn the_contract_between_lines_is_kept() {
    let l = |at: u64, client: u32, incarnation: u32, rest: &str| {
        format!("{{\"at\":{at},\"client\":{client},\"incarnation\":{incarnation},\"op\":{rest}}}")
    };
    let send = |value: u32| format!(r#""send","value":{value},"topic":"t""#);
    let sent = |value: u32, rest: &str| format!(r#""sent","value":{value},"outcome":{rest}"#);
    let cases: &[(&[String], &str)] = &[
        (
            &[l(5, 1, 1, &send(1)), l(5, 1, 1, &send(1))],
            "line 3, column 56: value 1 is sent a second time; line 2 sent it",
        ),
        (&[l(5, 1, 1, &sent(1, "\"ok\""))], "line 2, column 56: value 1 resolves, but no line before sends it"),
        (&[l(5, 1, 1, &send(1)), l(5, 2, 1, &sent(1, "\"ok\""))], "was sent by client 1 (line 2), not by client 2"),
        (
            &[l(5, 1, 1, &send(1)), l(5, 1, 2, &sent(1, "\"ok\""))],
            "was sent by incarnation 1 (line 2), not by incarnation 2",
        ),
        (
            &[l(5, 1, 1, &send(1)), l(5, 1, 1, &sent(1, "\"ok\"")), l(5, 1, 1, &sent(1, "\"info\""))],
            "has resolved already",
        ),
        (&[l(5, 1, 1, &send(1)), l(5, 1, 1, &sent(1, r#""ok","error":"X""#))], "an outcome `ok` has no error"),
        (&[l(5, 1, 1, &send(1)), l(5, 1, 1, &sent(1, r#""fail","offset":3"#))], "what failed has no offset"),
        (
            &[l(5, 1, 1, &send(1)), l(5, 1, 1, &sent(1, r#""ok","offset":-1"#))],
            "field `offset`: `-1` is out of place; expected a whole number from 0",
        ),
        (&[l(5, 1, 2, &send(1)), l(5, 1, 1, &send(2))], "incarnation 1 of client 1 after its incarnation 2"),
        (&[l(5, 1, 0, &send(1))], "field `incarnation`: `0` is out of place; expected a whole number from 1"),
        (&[l(5, 1_048_576, 1, &send(1))], "field `client`: `1048576` is out of place"),
        (
            &[l(5, 1, 1, r#""committed","commit":1,"outcome":"ok""#)],
            "commit 1 resolves, but client 1 has none of this number open",
        ),
        (
            &[
                l(5, 1, 1, r#""commit","commit":2,"trigger":"sync","generation":1,"offsets":[]"#),
                l(5, 1, 1, r#""commit","commit":2,"trigger":"sync","generation":1,"offsets":[]"#),
            ],
            "commit 2 after commit 2",
        ),
        (
            &[
                l(5, 1, 1, r#""commit","commit":2,"trigger":"sync","generation":1,"offsets":[]"#),
                l(5, 1, 2, r#""committed","commit":2,"outcome":"ok""#),
            ],
            "has none of this number open",
        ),
        (
            &[l(
                5,
                1,
                1,
                r#""list_offsets","ask":1,"source":{"topic":"t","partition":0},"isolation":"read_committed","query":-1,"offset":1,"leader_epoch":0"#,
            )],
            "the answer to question 1, which client 1 has not asked",
        ),
        (&[l(5, 1, 1, r#""ask_offset","ask":1"#), l(5, 1, 1, r#""ask_offset","ask":1"#)], "question 1 is open already"),
        (
            &[l(5, 1, 1, r#""final_read","source":{"topic":"t","partition":0},"from":9,"to":3"#)],
            "the range ends at 3, before it begins at 9",
        ),
        (
            &[l(5, 1, 1, r#""send","value":true,"topic":"t""#)],
            "field `value`: found true or false; expected a string or a number",
        ),
        (&[l(5, 1, 1, r#""send","value":1,"topic":"..""#)], "Kafka can have no topic `..`"),
        (&[l(5, 1, 1, r#""send","value":1,"topic":"a\n\u001b[31m""#)], r"Kafka can have no topic `a\n\u{1b}[31m`"),
        (&[l(5, 1, 1, r#""sent","value":1,"outcome":"ifno""#)], "did you mean `info`"),
        (
            &[l(5, 1, 1, r#""final_read","source":{"topic":"t","partion":0},"from":0,"to":3"#)],
            "unknown field `partion` of `source` of operation `final_read`; expected topic, partition; did you mean `partition`",
        ),
        (
            &[l(
                5,
                1,
                1,
                r#""poll","source":{"topic":"t","partition":0},"isolation":"read_committed","records":[{"offset":1,"value":1,"leader_epch":2}]"#,
            )],
            "unknown field `leader_epch` of a record; expected offset, leader_epoch, value, key, timestamp; did you mean `leader_epoch`",
        ),
    ];
    for (lines, expected) in cases {
        let got = wrong(&lines.join("\n"));
        assert!(got.contains(expected), "{lines:?}\n  says {got}\n  not  {expected}");
        assert!(!got.chars().any(char::is_control), "{got:?}");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(read(format!("\u{feff}{}", written())).unwrap(), entries());
}

#[test]
fn mistakes_are_named_with_place_and_suggestion() {
    let common = r#""at":1,"client":2,"incarnation":1"#;
    let cases = [
        (format!("{{{common},\"op\":\"snd\"}}"), "line 2, column 41: unknown operation `snd`"),
        (format!("{{{common},\"op\":\"snd\"}}"), "did you mean `send`?"),
        (format!("{{{common},\"op\":\"ask_offset\",\"aks\":1}}"), "line 2, column 54: unknown field `aks`"),
        (format!("{{{common},\"op\":\"ask_offset\",\"aks\":1}}"), "did you mean `ask`?"),
        (format!("{{{common},\"op\":\"ask_offset\"}}"), "operation `ask_offset` lacks the field `ask`"),
        (
            format!("{{{common},\"op\":\"ask_offset\",\"ask\":-1}}"),
            "column 60: field `ask`: `-1` is out of place; expected a whole number from 0",
        ),
        (format!("{{{common},\"op\":\"ask_offset\",\"ask\":1,\"ask\":2}}"), "field `ask` appears twice"),
        (format!("{{{common}}}"), "the field `op` is missing; expected one of producer, send"),
        (format!("{{{common},\"op\":\"ask_offset\",\"ask\":1"), "not JSON: EOF while parsing an object"),
        (format!("{{{common},\"op\":\"ask_offset\",\"\\u0061sk\":\"x\"}}"), "field `ask`: found a string"),
        (format!("{{{common},\"op\":\"ask_offset\",\"ask\":1.5}}"), "field `ask`: `1.5` is out of place"),
        (format!("{{{common},\"op\":7}}"), "unknown operation `7`"),
        ("[1]".to_owned(), "the field `op` is missing"),
        ("hello".to_owned(), "line 2, column 1: not JSON"),
        ("\u{1}\u{2}".to_owned(), "line 2, column 1: this is not a history"),
    ];
    for (line, expected) in cases {
        let got = wrong(&line);
        assert!(got.contains(expected), "{line}\n  says {got}\n  not  {expected}");
    }
}

#[test]
fn wrong_values_deep_inside_are_found_too() {
    let text = written().replace("\"leader_epoch\":1", "\"leader_epoch\":\"one\"");
    let error = read(text).unwrap_err();
    assert_eq!(error.line, 5);
    assert!(error.column > 120, "{error}");
    assert!(error.to_string().contains("field `leader_epoch`: found a string"), "{error}");
}

#[test]
fn wrong_headers_are_refused() {
    let refused = |text: &[u8]| Reader::new(Cursor::new(text.to_vec())).map(|_| ()).unwrap_err().to_string();
    assert!(refused(b"").contains("the history is empty"));
    assert!(refused(b"\n\n").contains("the history is empty"));
    assert!(refused(b"{\"klamm-history\":2}").contains("schema version 2, expected 1"));
    assert!(refused(b"{\"at\":2}").contains("`klamm-history` is missing"));
    assert!(
        refused(b"{\"klamm-history\":1,\"x\":2}")
            .contains("unknown field `x` of the header; expected klamm-history, declared, settings")
    );
    let misspelt = b"{\"klamm-history\":1,\"declared\":{\"recorded\":true,\"configured\":{\"deletions\":true}}}";
    assert!(refused(misspelt).contains("column 62: unknown field `deletions`"), "{}", refused(misspelt));
    assert!(refused(misspelt).contains("did you mean `deletion`"));
    assert!(refused(b"{\"klamm-history\":1,\"settings\":{\"a\":1}}").contains("field `settings`: invalid type"));
    assert!(refused(b"\x1f\x8b\x08\x00junk").contains("binary data"));
    assert!(refused(b"\xff\xfe{").contains("binary data"));
}

#[test]
fn a_long_line_is_refused_without_being_held() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.0 += buf.len() as u64;
            buf.fill(b'x');
            Ok(buf.len())
        }
    }
    let mut endless = Endless(0);
    let error = Reader::new(std::io::BufReader::new(&mut endless)).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
    assert!(endless.0 < 2 * MAX_LINE as u64);
}

#[test]
fn time_does_not_run_backwards() {
    let line = |at| format!("{{\"at\":{at},\"client\":2,\"incarnation\":1,\"op\":\"ask_offset\",\"ask\":1}}\n");
    let got = wrong(&format!("{}{}", line(5), line(4)));
    assert!(got.contains("line 3") && got.contains("at 4 ns, before the one in front of it at 5 ns"), "{got}");
}

#[test]
fn a_history_cut_short_is_noticed() {
    let text = written();
    let cut = &text[..text.len() - 20];
    assert!(read(cut).is_err());
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let mut text = b"{\"klamm-history\":1}\n".to_vec();
        text.extend(&bytes);
        let _ = read(&bytes);
        let _ = read(&text);
    }

    #[test]
    fn mutated_lines_never_panic(place in 0usize..1200, byte in 32u8..127) {
        let mut bytes = written().into_bytes();
        let place = place % bytes.len();
        bytes[place] = byte;
        let _ = read(&bytes);
    }
}
