//! Values of a file that may be drawn: whether they are of the kind that their key wants, and if not, in words.

use super::draw::{Atom, Bandwidth, Draw, MAX_CHOICES, Setting, Share, Size, Span, found, whole};
use super::source::{Item, Node};

/// The problems of a value that may be drawn: of which item of a list, what, and what to do.
pub(super) fn wrong_draw(kind: &str, item: &Item) -> Vec<(Option<usize>, String, Option<String>)> {
    match kind {
        "count-draw" => wrong_of::<u32>(item),
        "number-draw" => wrong_of::<i64>(item),
        "flag-draw" => wrong_of::<bool>(item),
        "time-draw" => wrong_of::<Span>(item),
        "size-draw" => wrong_of::<Size>(item),
        "bandwidth-draw" => wrong_of::<Bandwidth>(item),
        "share-draw" => wrong_of::<Share>(item),
        "setting-draw" => wrong_of::<Setting>(item),
        _ => wrong_of::<String>(item),
    }
}

fn wrong_of<T: Atom>(item: &Item) -> Vec<(Option<usize>, String, Option<String>)> {
    if let Item::List(list) = item
        && (1..=MAX_CHOICES).contains(&list.len())
    {
        let wrong = list.iter().enumerate().filter(|(_, one)| match &one.item {
            Item::Plain(value) => T::read(value).is_none(),
            _ => true,
        });
        let said = |(n, one): (usize, &Node)| {
            let in_list = if is_range(&one.item) { ": a list has no ranges in it" } else { "" };
            let message = format!("expected {}; found {}{in_list}", T::EXPECTED, in_words(&one.item));
            (Some(n), message, with_unit::<T>(&one.item))
        };
        return wrong.map(said).collect();
    }
    let value = Node { span: 0..0, item: item.clone() }.to_toml();
    match Draw::<T>::parse(&value) {
        Ok(_) => Vec::new(),
        Err(message) => vec![(None, message, with_unit::<T>(item))],
    }
}

fn is_range(item: &Item) -> bool {
    matches!(item, Item::Plain(toml::Value::String(text)) if text.contains(".."))
}

/// A number without its unit.
fn with_unit<T: Atom>(item: &Item) -> Option<String> {
    let unit = match T::NAME {
        "time" => "s",
        "share" => "%",
        "bandwidth" => "Mbit",
        _ => return None,
    };
    let number = match item {
        Item::Plain(toml::Value::String(text)) => text.trim().parse().ok()?,
        Item::Plain(value) => whole(value)?,
        _ => return None,
    };
    (number >= 0).then(|| format!("with its unit: \"{number}{unit}\""))
}

/// What stands there, in words.
pub(super) fn in_words(item: &Item) -> String {
    match item {
        Item::Plain(value) => found(value),
        Item::List(list) if list.is_empty() => "an empty list".to_owned(),
        Item::List(_) => "a list".to_owned(),
        Item::Table(_) => "a table".to_owned(),
    }
}
