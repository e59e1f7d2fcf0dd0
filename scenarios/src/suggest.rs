//! "Did you mean": the nearest known name.

/// `; did you mean ...?`, or nothing if no name is near.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .min()
        .filter(|(distance, _)| *distance <= word.len().max(3) / 3)
        .map_or(String::new(), |(_, name)| format!("; did you mean `{name}`?"))
}
