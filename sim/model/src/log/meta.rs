//! `meta.properties`: whose a data directory is. Follows Kafka's `MetaProperties` and `MetaPropertiesEnsemble.verify`:
//! what it says is compared before anything else in the directory is opened.

use super::checkpoint::{parse_uuid, uuid_text};
use crate::ids::*;
use bytes::Bytes;
use std::collections::BTreeMap;

/// What the file says (version 1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaProperties {
    /// `node.id`.
    pub node: NodeId,
    /// `cluster.id`.
    pub cluster: String,
    /// `directory.id` (KIP-858). Directories that were formatted before Kafka 3.7 have none.
    pub directory: Option<Uuid>,
}

impl MetaProperties {
    /// The file's content.
    pub fn format(&self) -> Bytes {
        let directory = self.directory.map(|id| format!("directory.id={}\n", uuid_text(id))).unwrap_or_default();
        Bytes::from(format!("cluster.id={}\n{directory}node.id={}\nversion=1\n", self.cluster, self.node))
    }

    /// Reads what [`MetaProperties::format`] writes. `None`: anything else.
    pub fn parse(data: &[u8]) -> Option<MetaProperties> {
        let text = std::str::from_utf8(data).ok()?;
        let lines = text.lines().filter(|l| !l.trim_start().starts_with(['#', '!']));
        let pairs = lines.filter_map(|l| l.split_once('='));
        let fields: BTreeMap<&str, &str> = pairs.map(|(key, value)| (key.trim(), value.trim())).collect();
        if *fields.get("version")? != "1" {
            return None;
        }
        let node = NodeId(fields.get("node.id")?.parse().ok()?);
        let directory = match fields.get("directory.id") {
            Some(text) => Some(parse_uuid(text)?),
            None => None,
        };
        Some(MetaProperties { node, cluster: (*fields.get("cluster.id")?).to_owned(), directory })
    }
}

/// Ids that mean something else than a directory: unassigned, lost, migrating, and the rest of the first hundred
/// (Kafka: `DirectoryId.reserved`).
pub fn is_reserved(directory: Uuid) -> bool {
    directory.as_u128() < 100
}

/// What the directory's file says, compared with the node that starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The directory's id.
    pub directory: Uuid,
    /// What the file is to hold, where it is missing or says too little.
    pub write: Option<Bytes>,
}

/// Why a data directory is not this node's to use. Nothing in it was touched.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file is not one.
    #[error(
        "meta.properties cannot be read, so whose data this is is not known: nothing was touched. Bring the file back, with \
         node.id, cluster.id and directory.id; or give a broker an empty directory, which it fills from the other replicas"
    )]
    Unreadable,
    /// It names another node or cluster.
    #[error(
        "the data directory belongs to node {} of cluster {}, and this is node {node} of cluster {cluster}: nothing was \
         touched", .found.node, .found.cluster
    )]
    Another {
        /// What the file says.
        found: MetaProperties,
        /// This node.
        node: NodeId,
        /// Its cluster.
        cluster: String,
    },
    /// The id means something else than a directory.
    #[error("meta.properties has directory.id={}, which no directory can have: nothing was touched", uuid_text(*.0))]
    Reserved(Uuid),
}

/// Compares what was found with node and cluster; `new` is the id for a directory that has none.
///
/// # Errors
/// The file cannot be read, or names another node, another cluster, or an id that no directory has.
pub fn identify(found: Option<&[u8]>, node: NodeId, cluster: Uuid, new: Uuid) -> Result<Identity, IdentityError> {
    let cluster = uuid_text(cluster);
    let mine = |directory| MetaProperties { node, cluster: cluster.clone(), directory: Some(directory) };
    let Some(content) = found else { return Ok(Identity { directory: new, write: Some(mine(new).format()) }) };
    let meta = MetaProperties::parse(content).ok_or(IdentityError::Unreadable)?;
    if meta.node != node || meta.cluster != cluster {
        return Err(IdentityError::Another { found: meta, node, cluster });
    }
    match meta.directory {
        Some(id) if is_reserved(id) => Err(IdentityError::Reserved(id)),
        Some(directory) => Ok(Identity { directory, write: None }),
        None => Ok(Identity { directory: new, write: Some(mine(new).format()) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLUSTER: Uuid = Uuid::from_u128(u128::MAX / 7);
    const NEW: Uuid = Uuid::from_u128(u128::MAX / 3);

    fn of(text: &str) -> Result<Identity, IdentityError> {
        identify(Some(text.as_bytes()), NodeId(2), CLUSTER, NEW)
    }

    #[test]
    fn a_directory_without_the_file_or_without_an_id_gets_one() {
        let cluster = uuid_text(CLUSTER);
        let written = format!("cluster.id={cluster}\ndirectory.id={}\nnode.id=2\nversion=1\n", uuid_text(NEW));
        let new = Identity { directory: NEW, write: Some(Bytes::from(written.clone())) };
        assert_eq!(identify(None, NodeId(2), CLUSTER, NEW), Ok(new.clone()));
        // As Kafka before 3.7 wrote it, and as `java.util.Properties` does.
        assert_eq!(
            of(&format!("#\n#Tue Dec 01 04:20:04 UTC 2026\nnode.id=2\nversion=1\ncluster.id={cluster}\n")),
            Ok(new)
        );
        let again = identify(Some(written.as_bytes()), NodeId(2), CLUSTER, Uuid::from_u128(1 << 70));
        assert_eq!(again, Ok(Identity { directory: NEW, write: None }));
    }

    #[test]
    fn what_is_anothers_or_nobodys_is_refused() {
        let cluster = uuid_text(CLUSTER);
        let refused = |text: &str, with: &str| {
            let said = of(text).unwrap_err().to_string();
            assert!(said.contains(with) && said.contains("nothing was touched"), "{text:?}: {said}");
        };
        refused(&format!("version=1\nnode.id=3\ncluster.id={cluster}\n"), "belongs to node 3");
        refused("version=1\nnode.id=2\ncluster.id=other\n", "of cluster other");
        refused(
            &format!("version=1\nnode.id=2\ncluster.id={cluster}\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\n"),
            "no directory",
        );
        for text in
            ["", "version=1\n", "version=0\nbroker.id=2\n", "version=1\nnode.id=2\ncluster.id=x\ndirectory.id=y\n"]
        {
            refused(text, "cannot be read");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..90), text in "[a-z.=0-9\\n-]{0,60}") {
            for data in [&bytes[..], text.as_bytes()] {
                let _ = identify(Some(data), NodeId(1), CLUSTER, NEW);
            }
        }
    }
}
