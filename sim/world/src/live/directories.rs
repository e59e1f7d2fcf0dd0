//! The ids of the nodes' directories, compared before any of them is opened: a directory that was copied to another node's
//! place would be taken for two.

use klamm_model::log::checkpoint::{META_PROPERTIES, uuid_text};
use klamm_model::log::meta::MetaProperties;
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

/// Looks at every node's directory below `data`. What cannot be read there is for its node to refuse.
///
/// # Errors
/// Two directories have one id.
pub(super) fn compare(data: &Path) -> io::Result<()> {
    let mut names: Vec<_> = fs::read_dir(data)?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    let mut seen = BTreeMap::new();
    for name in names {
        let Ok(content) = fs::read(data.join(&name).join(META_PROPERTIES)) else { continue };
        let Some(id) = MetaProperties::parse(&content).and_then(|meta| meta.directory) else { continue };
        let name = name.to_string_lossy().into_owned();
        if let Some(first) = seen.insert(id, name.clone()) {
            let id = uuid_text(id);
            let what = format!(
                "{first} and {name} both have directory.id={id} in {META_PROPERTIES}, so one is a copy of the other: nothing was \
                 opened. Remove the copy; its node fills an empty directory from the other replicas"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::ids::{NodeId, Uuid};

    #[test]
    fn two_directories_with_one_id_are_refused() {
        let data = tempfile::tempdir().unwrap();
        let write = |name: &str, node, id| {
            let meta =
                MetaProperties { node: NodeId(node), cluster: "c".to_owned(), directory: Some(Uuid::from_u128(id)) };
            fs::create_dir_all(data.path().join(name)).unwrap();
            fs::write(data.path().join(name).join(META_PROPERTIES), meta.format()).unwrap();
        };
        write("b1", 1, 1000);
        write("b2", 2, 2000);
        fs::create_dir_all(data.path().join("b3")).unwrap();
        compare(data.path()).unwrap();
        write("b3", 3, 1000);
        let said = compare(data.path()).unwrap_err().to_string();
        assert!(said.contains("b1 and b3 both have directory.id"), "{said}");
    }
}
