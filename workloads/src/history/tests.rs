use super::*;
use klamm_model::history::*;
use klamm_model::ids::*;
use std::io::Cursor;
use std::sync::Arc;

fn source() -> TopicPartition {
    TopicPartition { topic: "orders".into(), partition: 0 }
}

fn every_op() -> Vec<Op> {
    let value = ValueId::new(ClientId(3), 7);
    let topic: Arc<str> = "orders".into();
    let isolation = IsolationLevel::ReadCommitted;
    let facts = ProducerFacts { acks: Acks::All, idempotent: true, max_in_flight: 5, resolves_within: 9 };
    let record =
        ReadRecord { offset: Offset(5), leader_epoch: LeaderEpoch(1), value, key: Some(u64::MAX), timestamp: 12 };
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
        Op::Send { value, topic, partition: None, key: Some(4), tombstone: true, late_by: 3, from: Some(value) },
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

#[test]
fn the_table_of_fields_is_that_of_the_operations() {
    for entry in entries() {
        let serde_json::Value::Object(object) = serde_json::to_value(&entry).unwrap() else { panic!("an object") };
        let op = object["op"].as_str().unwrap();
        let (_, own) = fields::of(op).unwrap();
        let known: std::collections::BTreeSet<_> = fields::COMMON.iter().chain(own).map(|f| f.name).collect();
        assert_eq!(known, object.keys().map(String::as_str).collect(), "{op}");
        for field in fields::COMMON.iter().chain(own) {
            (field.check)(object[field.name].to_string().as_bytes()).unwrap();
            let mut without = object.clone();
            without.remove(field.name);
            let parsed = serde_json::from_value::<Entry>(without.into());
            assert_eq!(parsed.is_err(), field.required, "{op}.{}", field.name);
        }
    }
    assert_eq!(entries().len(), fields::OPS.len());
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
        (format!("{{{common},\"op\":\"ask_offset\",\"ask\":-1}}"), "column 61: field `ask`: invalid value"),
        (format!("{{{common},\"op\":\"ask_offset\",\"ask\":1,\"ask\":2}}"), "field `ask` appears twice"),
        (format!("{{{common}}}"), "the field `op` is missing; expected one of producer, send"),
        (format!("{{{common},\"op\":\"ask_offset\",\"ask\":1"), "not JSON: EOF while parsing an object"),
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
    assert!(error.to_string().contains("field `records`: invalid type: string \"one\""), "{error}");
}

#[test]
fn wrong_headers_are_refused() {
    let refused = |text: &[u8]| Reader::new(Cursor::new(text.to_vec())).map(|_| ()).unwrap_err().to_string();
    assert!(refused(b"").contains("the history is empty"));
    assert!(refused(b"\n\n").contains("the history is empty"));
    assert!(refused(b"{\"klamm-history\":2}").contains("schema version 2, expected 1"));
    assert!(refused(b"{\"at\":2}").contains("`klamm-history` is missing"));
    assert!(refused(b"{\"klamm-history\":1,\"x\":2}").contains("unknown field `x`"));
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
