//! A reader of EDN, as far as Jepsen writes it: one form after the other, with places.
//!
//! Tags are passed over (`#jepsen.history.Op{...}` is its map), discarded forms (`#_`) and comments too.

use std::borrow::Cow;

/// A form.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Form<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    /// A number of another kind, a symbol or a character, as it is written.
    Other(&'a str),
    Keyword(&'a str),
    Text(Cow<'a, str>),
    /// A vector, a list or a set.
    List(Vec<Form<'a>>),
    Map(Vec<(Form<'a>, Form<'a>)>),
}

impl<'a> Form<'a> {
    /// What a map has under a keyword.
    pub(super) fn get(&self, key: &str) -> Option<&Form<'a>> {
        let Form::Map(pairs) = self else { return None };
        pairs.iter().find(|(k, _)| matches!(k, Form::Keyword(name) if *name == key)).map(|(_, v)| v)
    }

    /// The items of a vector, list or set; of anything else, none.
    pub(super) fn items(&self) -> &[Form<'a>] {
        if let Form::List(items) = self { items } else { &[] }
    }

    /// A keyword's or a symbol's name.
    pub(super) fn word(&self) -> Option<&'a str> {
        match self {
            Form::Keyword(name) | Form::Other(name) => Some(name),
            _ => None,
        }
    }
}

/// A form that cannot be read: what is wrong, and where (0-based).
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) message: String,
}

/// Forms nest at most this deep.
const DEEPEST: usize = 64;

/// Reads the forms of a text.
pub(super) struct Edn<'a> {
    text: &'a str,
    pub(super) at: usize,
}

impl<'a> Edn<'a> {
    pub(super) fn new(text: &'a str) -> Edn<'a> {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Edn { text, at }
    }

    /// Passes over space, commas, comments and discarded forms. Whether there is more.
    pub(super) fn more(&mut self) -> Result<bool, Wrong> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                None => return Ok(false),
                Some(b) if b.is_ascii_whitespace() || *b == b',' => self.at += 1,
                Some(b';') => self.at += self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at),
                Some(b'#') if bytes.get(self.at + 1) == Some(&b'_') => {
                    self.at += 2;
                    self.form(0)?;
                }
                Some(_) => return Ok(true),
            }
        }
    }

    /// Whether a list of forms opens here; passes its bracket. A history may be written as one vector.
    pub(super) fn opens_list(&mut self) -> bool {
        let opens = matches!(self.text.as_bytes().get(self.at), Some(b'[' | b'('));
        self.at += usize::from(opens);
        opens
    }

    /// Whether such a list ends here.
    pub(super) fn closes_list(&mut self) -> bool {
        let closes = matches!(self.text.as_bytes().get(self.at), Some(b']' | b')'));
        self.at += usize::from(closes);
        closes
    }

    fn wrong<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Wrong> {
        Err(Wrong { at, message: message.into() })
    }

    /// The next form.
    pub(super) fn form(&mut self, depth: usize) -> Result<Form<'a>, Wrong> {
        if depth > DEEPEST {
            return self.wrong(self.at, "forms nest too deep");
        }
        if !self.more()? {
            return self.wrong(self.at, "the text ends within a form");
        }
        let bytes = self.text.as_bytes();
        match bytes[self.at] {
            b'"' => self.text_form(),
            b'[' => self.list(b']', depth),
            b'(' => self.list(b')', depth),
            b'{' => self.map(depth),
            b'#' if bytes.get(self.at + 1) == Some(&b'{') => {
                self.at += 1;
                self.list(b'}', depth)
            }
            b'#' => {
                // A tag: what follows is its form.
                self.at += 1;
                self.token();
                self.form(depth + 1)
            }
            b']' | b')' | b'}' => self.wrong(self.at, "a bracket closes that none opened"),
            b'\\' => {
                let from = self.at;
                self.at += 1 + self.text[self.at + 1..].chars().next().map_or(0, char::len_utf8);
                self.token();
                Ok(Form::Other(&self.text[from..self.at]))
            }
            b':' => {
                self.at += 1;
                Ok(Form::Keyword(self.token()))
            }
            _ => {
                let from = self.at;
                let token = self.token();
                if token.is_empty() {
                    return self.wrong(from, "no EDN");
                }
                Ok(match token {
                    "nil" => Form::Nil,
                    "true" => Form::Bool(true),
                    "false" => Form::Bool(false),
                    _ => token.strip_suffix('N').unwrap_or(token).parse().map_or(Form::Other(token), Form::Int),
                })
            }
        }
    }

    /// What is left up to the next delimiter.
    fn token(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let delimits = |c: char| c.is_whitespace() || matches!(c, ',' | '"' | ';' | '[' | ']' | '(' | ')' | '{' | '}');
        let token = &rest[..rest.find(delimits).unwrap_or(rest.len())];
        self.at += token.len();
        token
    }

    fn list(&mut self, close: u8, depth: usize) -> Result<Form<'a>, Wrong> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            if !self.more()? {
                return self.wrong(self.at, "the text ends within a list");
            }
            if self.text.as_bytes()[self.at] == close {
                self.at += 1;
                return Ok(Form::List(items));
            }
            items.push(self.form(depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Form<'a>, Wrong> {
        let from = self.at;
        let Form::List(items) = self.list(b'}', depth)? else { return self.wrong(from, "no map") };
        if items.len() % 2 == 1 {
            return self.wrong(from, "a map with a key that has no value");
        }
        let mut items = items.into_iter();
        let mut pairs = Vec::with_capacity(items.len() / 2);
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            pairs.push((key, value));
        }
        Ok(Form::Map(pairs))
    }

    fn text_form(&mut self) -> Result<Form<'a>, Wrong> {
        let from = self.at;
        let bytes = self.text.as_bytes();
        let mut i = from + 1;
        while bytes.get(i).is_some_and(|b| *b != b'"') {
            i += if bytes[i] == b'\\' { 2 } else { 1 };
        }
        if i >= bytes.len() {
            return self.wrong(from, "the text ends within a string");
        }
        self.at = i + 1;
        let inner = &self.text[from + 1..i];
        if !inner.contains('\\') {
            return Ok(Form::Text(Cow::Borrowed(inner)));
        }
        // EDN's escapes are JSON's; a string may have its line ends as they are.
        let quoted = self.text[from..=i].replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
        match serde_json::from_str::<String>(&quoted) {
            Ok(text) => Ok(Form::Text(Cow::Owned(text))),
            Err(_) => self.wrong(from, "a string with an escape that EDN does not have"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Form<'_> {
        Edn::new(text).form(0).unwrap()
    }

    #[test]
    fn what_jepsen_writes_is_read() {
        let op = read(
            "#jepsen.history.Op{:index 7, :time -1N, :f :send, :value ([:send 5 [272 140]]), :error [:a \"b\\\"c\"] #_x}",
        );
        assert_eq!(op.get("index"), Some(&Form::Int(7)));
        assert_eq!(op.get("time"), Some(&Form::Int(-1)));
        assert_eq!(op.get("f").and_then(Form::word), Some("send"));
        let send = &op.get("value").unwrap().items()[0];
        assert_eq!(send.items()[2], Form::List(vec![Form::Int(272), Form::Int(140)]));
        assert_eq!(op.get("error").unwrap().items()[1], Form::Text("b\"c".into()));
        assert_eq!(read("; no\n #{1/2}"), Form::List(vec![Form::Other("1/2")]));
    }

    #[test]
    fn what_is_no_edn_is_refused_with_its_place() {
        for (text, at) in [("{:a", 3), ("{:a}", 0), ("]", 0), ("[1 \"x", 3), ("(1 ]", 3)] {
            assert_eq!(Edn::new(text).form(0).unwrap_err().at, at, "{text}");
        }
        assert!(Edn::new(&"[".repeat(100_000)).form(0).is_err());
    }
}
