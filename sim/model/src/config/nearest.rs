//! The name that was probably meant.

/// The nearest of `names`, if it is near enough to be a slip.
pub(super) fn among<'a>(key: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let (distance, name) = names.map(|name| (edit_distance(key, name), name)).min()?;
    (distance <= key.len().max(3) / 3).then(|| name.to_owned())
}

/// Levenshtein's, over bytes: keys are ASCII.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
