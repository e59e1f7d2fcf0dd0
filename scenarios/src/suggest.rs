//! "Did you mean": the nearest known name.

/// `; did you mean ...?`, or nothing if no name is near.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> String {
    near(word, names).map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

/// The nearest name, if one is near: a few letters differ, or most of it is the same from the beginning (`replicas` for
/// `replication`).
pub fn near<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let names: Vec<&str> = names.collect();
    let plain = word.to_lowercase();
    let distance = |name: &&'a str| (strsim::damerau_levenshtein(&plain, &name.to_lowercase()), *name);
    let slip = names.iter().map(distance).min().filter(|(distance, _)| *distance <= word.len().max(3) / 3);
    let begins = |name: &&&'a str| {
        let same = plain.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        same >= 4 && same * 3 >= word.len() * 2
    };
    // Of several that begin alike none is the one.
    let mut alike = names.iter().filter(begins);
    slip.map(|(_, name)| name).or_else(|| alike.next().filter(|_| alike.next().is_none()).copied())
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn slips_and_beginnings_are_near() {
        let near = |word| near(word, ["replication", "partitions", "name", "load", "loads"].into_iter());
        assert_eq!(near("nmae"), Some("name"));
        assert_eq!(near("Name"), Some("name"));
        assert_eq!(near("replicas"), Some("replication"));
        assert_eq!(near("partition-count"), None);
        assert_eq!(near("speed"), None);
        assert_eq!(near(""), None);
    }
}
