//! The little that `who` and `when` expressions share: words, parentheses, and errors that say where.

/// An expression that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}`, character {}: {message}", at + 1)]
pub struct ParseError {
    /// The whole expression.
    pub text: String,
    /// The place of the mistake, in bytes from its beginning.
    pub at: usize,
    /// What is wrong, and what may have been meant.
    pub message: String,
}

/// A partition as people write it: `orders-0`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PartitionName {
    /// The topic.
    pub topic: String,
    /// The index.
    pub partition: i32,
}

impl PartitionName {
    /// From `topic-index`, which is also the name of a log's directory.
    pub fn read(text: &str) -> Option<PartitionName> {
        let (topic, partition) = text.rsplit_once('-')?;
        let partition = partition.parse().ok().filter(|p| *p >= 0)?;
        (!topic.is_empty()).then(|| PartitionName { topic: topic.to_owned(), partition })
    }
}

/// Reads an expression from left to right.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 0 }
    }
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }
    /// An error at the present place, or at an earlier one.
    pub fn error(&self, at: usize, message: impl Into<String>) -> ParseError {
        ParseError { text: self.text.to_owned(), at, message: message.into() }
    }
    /// Where the next word begins.
    pub fn place(&mut self) -> usize {
        self.skip_space();
        self.at
    }
    /// The next word: letters, digits, `-`, `_`, `.`; empty if there is none.
    pub fn word(&mut self) -> &'a str {
        self.skip_space();
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "-_.".contains(c))).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }
    /// Whether this comes next; if so, it is passed.
    pub fn eat(&mut self, what: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(what);
        if found {
            self.at += what.len();
        }
        found
    }
    /// This must come next.
    pub fn expect(&mut self, what: &str) -> Result<(), ParseError> {
        if self.eat(what) { Ok(()) } else { Err(self.error(self.at, format!("`{what}` expected here"))) }
    }
    /// A partition must come next.
    pub fn partition(&mut self) -> Result<PartitionName, ParseError> {
        let at = self.place();
        let word = self.word();
        PartitionName::read(word).ok_or_else(|| self.error(at, "a partition expected here, such as `orders-0`"))
    }
    /// A consumer group's id must come next.
    pub fn group(&mut self) -> Result<String, ParseError> {
        let at = self.place();
        let word = self.word();
        if word.is_empty() {
            Err(self.error(at, "a group's id expected here, such as `billing`"))
        } else {
            Ok(word.to_owned())
        }
    }
    /// A number must come next.
    pub fn number(&mut self) -> Result<usize, ParseError> {
        let at = self.place();
        let word = self.word();
        word.parse().map_err(|_| self.error(at, "a number expected here"))
    }
    /// Nothing may come next.
    pub fn end(&mut self) -> Result<(), ParseError> {
        let at = self.place();
        if at == self.text.len() { Ok(()) } else { Err(self.error(at, format!("unexpected `{}`", self.rest()))) }
    }
}

/// `; did you mean ...?`, or nothing if no name is near.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .min()
        .filter(|(distance, _)| *distance <= word.len().max(3) / 3)
        .map_or(String::new(), |(_, name)| format!("; did you mean `{name}`?"))
}
