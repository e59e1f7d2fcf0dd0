//! Where a new topic's replicas go: striped over racks and brokers from a random start, unfenced brokers first.
//! Follows Kafka's `StripedReplicaPlacer`.

use crate::ids::NodeId;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// A broker that replicas may be placed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Usable {
    /// Its id.
    pub id: NodeId,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Fenced brokers are used when the others do not suffice, and never as a preferred leader.
    pub fenced: bool,
}

/// A ring of brokers, walked from a start that moves on with each partition.
#[derive(Debug, Default)]
struct Ring {
    brokers: Vec<NodeId>,
    offset: usize,
    taken: usize,
    epoch: Option<usize>,
}

impl Ring {
    fn next(&mut self, epoch: usize) -> Option<NodeId> {
        if self.brokers.is_empty() {
            return None;
        }
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.taken = 0;
            self.offset = (self.offset + 1) % self.brokers.len();
        }
        if self.taken >= self.brokers.len() {
            return None;
        }
        let broker = self.brokers[(self.taken + self.offset) % self.brokers.len()];
        self.taken += 1;
        Some(broker)
    }
}

#[derive(Debug, Default)]
struct Rack {
    unfenced: Ring,
    fenced: Ring,
}

/// Replicas for each of `partitions` partitions, the preferred leader first.
///
/// # Errors
/// In words, if there are too few brokers.
pub fn place(
    brokers: &[Usable],
    partitions: i32,
    replication: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Vec<NodeId>>, String> {
    let unfenced = brokers.iter().filter(|b| !b.fenced).count();
    if unfenced == 0 {
        return Err("all brokers are fenced".to_owned());
    }
    if replication > brokers.len() {
        return Err(format!("only {} broker(s) are registered", brokers.len()));
    }
    let mut racks: BTreeMap<&Option<String>, Rack> = BTreeMap::new();
    for broker in brokers {
        let rack = racks.entry(&broker.rack).or_default();
        let ring = if broker.fenced { &mut rack.fenced } else { &mut rack.unfenced };
        ring.brokers.push(broker.id);
    }
    let mut racks: Vec<Rack> = racks.into_values().collect();
    for ring in racks.iter_mut().flat_map(|r| [&mut r.fenced, &mut r.unfenced]) {
        ring.brokers.sort_unstable();
        ring.offset = rng.random_range(0..ring.brokers.len().max(1));
    }
    let mut offset = rng.random_range(0..racks.len());
    let mut epoch = 0;
    let mut placed = Vec::with_capacity(partitions.max(0) as usize);
    for _ in 0..partitions {
        // After as many partitions as there are brokers the same rows would come again.
        if epoch == unfenced && unfenced > 1 {
            shuffle(&mut racks, rng);
            for ring in racks.iter_mut().flat_map(|r| [&mut r.fenced, &mut r.unfenced]) {
                shuffle(&mut ring.brokers, rng);
            }
            epoch = 0;
        }
        placed.push(place_one(&mut racks, &mut offset, epoch, replication));
        epoch += 1;
    }
    Ok(placed)
}

fn place_one(racks: &mut [Rack], offset: &mut usize, epoch: usize, replication: usize) -> Vec<NodeId> {
    *offset %= racks.len();
    let mut replicas = Vec::with_capacity(replication);
    // The preferred leader comes from the first rack, from the offset on, that has an unfenced broker.
    let mut first = *offset;
    loop {
        if let Some(broker) = racks[first].unfenced.next(epoch) {
            replicas.push(broker);
            break;
        }
        first = (first + 1) % racks.len();
    }
    // The others from one rack after the other; the leader's rack is passed over once.
    let mut rack = *offset;
    let mut skip = Some(first);
    while replicas.len() < replication {
        if skip == Some(rack) {
            skip = None;
        } else if let Some(broker) = racks[rack].unfenced.next(epoch).or_else(|| racks[rack].fenced.next(epoch)) {
            replicas.push(broker);
        }
        rack = (rack + 1) % racks.len();
    }
    *offset += 1;
    replicas
}

fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.random_range(0..=i));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;
    use std::collections::BTreeSet;

    fn usable(id: i32, rack: Option<&str>, fenced: bool) -> Usable {
        Usable { id: NodeId(id), rack: rack.map(str::to_owned), fenced }
    }
    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    #[test]
    fn leaders_and_replicas_are_spread_evenly() {
        let brokers: Vec<_> = (1..=3).map(|id| usable(id, None, false)).collect();
        for seed in 0..20 {
            let placed = place(&brokers, 3, 2, &mut rng(seed)).unwrap();
            let leaders: BTreeSet<_> = placed.iter().map(|p| p[0]).collect();
            assert_eq!(leaders.len(), 3, "{placed:?}");
            assert!(placed.iter().all(|p| p[0] != p[1]));
        }
        let firsts: BTreeSet<_> = (0..50).map(|s| place(&brokers, 1, 3, &mut rng(s)).unwrap()[0][0]).collect();
        assert_eq!(firsts.len(), 3, "the start is random");
    }

    #[test]
    fn replicas_differ_for_any_number_of_partitions() {
        let brokers: Vec<_> = (1..=5).map(|id| usable(id, ["a", "b"].get(id as usize % 3).copied(), id == 4)).collect();
        for seed in 0..20 {
            for replicas in place(&brokers, 23, 4, &mut rng(seed)).unwrap() {
                assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 4);
                assert_ne!(replicas[0], NodeId(4), "a fenced broker is no preferred leader");
            }
        }
    }

    #[test]
    fn racks_are_striped() {
        let brokers = [usable(1, Some("a"), false), usable(2, Some("a"), false), usable(3, Some("b"), false)];
        for seed in 0..20 {
            for replicas in place(&brokers, 4, 2, &mut rng(seed)).unwrap() {
                assert_eq!(replicas.iter().filter(|r| r.0 == 3).count(), 1, "{replicas:?}");
            }
        }
    }

    #[test]
    fn too_few_brokers_are_refused() {
        assert!(place(&[], 1, 1, &mut rng(0)).is_err());
        assert!(place(&[usable(1, None, true)], 1, 1, &mut rng(0)).is_err());
        assert!(place(&[usable(1, None, false)], 1, 2, &mut rng(0)).is_err());
        assert_eq!(place(&[usable(1, None, false)], 3, 1, &mut rng(0)).unwrap(), vec![vec![NodeId(1)]; 3]);
    }
}
