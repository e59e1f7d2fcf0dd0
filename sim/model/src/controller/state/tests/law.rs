use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Restart(i32, bool),
    Beat(i32),
    Shutdown(i32),
    Pass(u64, Vec<i32>),
    Alter(Vec<i32>),
    Create(u8, Vec<i32>),
    Ids(i32),
}

fn step() -> impl Strategy<Value = Step> {
    let broker = || 1..=4i32;
    let some = || proptest::sample::subsequence(vec![1, 2, 3, 4], 0..=4);
    prop_oneof![
        3 => (broker(), any::<bool>()).prop_map(|(id, clean)| Step::Restart(id, clean)),
        4 => broker().prop_map(Step::Beat),
        1 => broker().prop_map(Step::Shutdown),
        3 => (1..20u64, some()).prop_map(|(s, alive)| Step::Pass(s, alive)),
        3 => some().prop_map(Step::Alter),
        1 => (0..3u8, some()).prop_map(|(n, on)| Step::Create(n, on)),
        1 => broker().prop_map(Step::Ids),
    ]
}

impl Story {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Restart(id, clean) => drop(self.restart(*id, *clean)),
            Step::Beat(id) if self.epochs.contains_key(id) => drop(self.beat(*id)),
            Step::Shutdown(id) if self.epochs.contains_key(id) => {
                self.stopping.insert(*id);
                self.beat(*id);
            }
            Step::Pass(seconds, alive) => {
                let alive: Vec<i32> = alive.iter().copied().filter(|id| self.epochs.contains_key(id)).collect();
                self.pass(Duration::from_secs(*seconds), &alive);
            }
            Step::Alter(isr) => {
                let known: Vec<i32> = isr.iter().copied().filter(|id| self.epochs.contains_key(id)).collect();
                if self.state.working.topic_id("orders").is_some() {
                    let request = self.isr_request(&known);
                    self.alter(&request);
                }
            }
            Step::Create(n, on) => drop(self.create(["orders", "a", "b"][usize::from(*n)], on, &[])),
            Step::Ids(id) if self.epochs.contains_key(id) => {
                let request = AllocateProducerIdsRequest::default()
                    .with_broker_id(BrokerId(*id))
                    .with_broker_epoch(self.epochs[id]);
                let decided = self.state.allocate_producer_ids(&request);
                self.append(decided);
            }
            _ => {}
        }
    }

    fn check(&self, before: &Image) {
        let image = &self.state.working;
        for (id, p) in image.partitions() {
            assert!(p.isr.iter().chain(&p.elr).all(|r| p.replicas.contains(r)), "{id:?} {p:?}");
            assert!(p.elr.iter().all(|r| !p.isr.contains(r)), "{id:?} {p:?}");
            assert!(image.elr_enabled() || !p.isr.is_empty() && p.elr.is_empty(), "{id:?} {p:?}");
            if p.leader != NodeId::NONE {
                assert!(image.is_active(p.leader) && p.isr.contains(&p.leader), "{id:?} {p:?}");
                assert!(p.isr.iter().all(|&r| image.is_active(r)), "{id:?} {p:?}");
            }
            if let Some(old) = before.partition(id) {
                assert!(p.leader_epoch >= old.leader_epoch && p.partition_epoch >= old.partition_epoch);
                assert!(p.leader == old.leader || p.leader_epoch > old.leader_epoch);
            }
        }
        for (id, broker) in image.brokers() {
            let valid = self.state.sessions.is_valid(id, self.now);
            assert!(!valid || !broker.fenced, "a fenced broker has no valid session");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_log_is_the_state(
        elr in any::<bool>(),
        unclean in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let settings = [("min.insync.replicas", "2"), ("unclean.leader.election.enable", if unclean { "true" } else { "false" })];
        let mut story = Story::new(elr, Defects::NONE, &settings);
        for step in &steps {
            let before = story.state.working.clone();
            story.take(step);
            story.check(&before);
        }
        let mut replayed = Image::new();
        for (i, record) in story.log.iter().enumerate() {
            let record = MetadataRecord::decode(&record.encode()).unwrap();
            replayed.replay(Offset(i as i64), LeaderEpoch(1), &record).unwrap();
        }
        prop_assert_eq!(&replayed, story.state.committed());
        prop_assert_eq!(replayed.digest(), story.state.working().digest());
    }
}
