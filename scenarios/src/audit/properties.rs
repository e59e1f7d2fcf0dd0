//! Java properties files, as people have them: `key=value`, `key: value`, comments, continued lines, escapes.
//!
//! Follows the grammar of `java.util.Properties.load`. Every entry knows its line, so that a wrong one can be shown.

/// One setting of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Kafka's key.
    pub key: String,
    /// As written, escapes resolved.
    pub value: String,
    /// The line it begins on, from 1.
    pub line: usize,
}

/// A byte-order mark, as Java's reader of Latin-1 would see it.
const MARK: &str = "\u{ef}\u{bb}\u{bf}";

/// A file as `java.util.Properties` reads it: every byte is a character of Latin-1.
///
/// Returns the text, and whether a byte-order mark was skipped at its start.
pub fn decode(bytes: &[u8]) -> (String, bool) {
    let text: String = bytes.iter().map(|&b| char::from(b)).collect();
    match text.strip_prefix(MARK) {
        Some(rest) => (rest.to_owned(), true),
        None => (text, false),
    }
}

/// The lines of a text: LF, CR, or both end one.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else { return rest.take() };
        let after = if text[end..].starts_with("\r\n") { end + 2 } else { end + 1 };
        rest = Some(&text[after..]);
        Some(&text[..end])
    })
}

/// Reads a file's text. Later entries under one key win, as in Java; all are returned, in order.
///
/// # Errors
/// Every malformed `\u` escape: the line, and what is wrong.
pub fn parse(text: &str) -> Result<Vec<Entry>, Vec<(usize, String)>> {
    let (mut entries, mut wrong) = (Vec::new(), Vec::new());
    let mut lines = lines(text).enumerate().map(|(i, l)| (i + 1, l.trim_start_matches(BLANK)));
    while let Some((line, first)) = lines.next() {
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        // An odd number of backslashes at the end continues the line.
        while logical.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1 {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next);
        }
        let (key, value) = split(&logical);
        match (unescape(key), unescape(value)) {
            (Ok(key), Ok(value)) => entries.push(Entry { key, value, line }),
            (key, value) => wrong.extend([key.err(), value.err()].into_iter().flatten().map(|e| (line, e))),
        }
    }
    if wrong.is_empty() { Ok(entries) } else { Err(wrong) }
}

const BLANK: [char; 3] = [' ', '\t', '\u{c}'];

/// At the first unescaped separator: `=`, `:` or white space, with white space around it.
fn split(logical: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = logical.char_indices().find(|&(_, c)| {
        let ends = !escaped && (c == '=' || c == ':' || BLANK.contains(&c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some((end, _)) = end else { return (logical, "") };
    let rest = logical[end..].trim_start_matches(BLANK);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&logical[..end], rest.trim_start_matches(BLANK))
}

/// Escapes name units of UTF-16, so a pair of them may be one character.
fn unescape(text: &str) -> Result<String, String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let put = |units: &mut Vec<u16>, c: char| units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    while let Some(c) = chars.next() {
        if c != '\\' {
            put(&mut units, c);
            continue;
        }
        match chars.next() {
            Some('t') => put(&mut units, '\t'),
            Some('n') => put(&mut units, '\n'),
            Some('r') => put(&mut units, '\r'),
            Some('f') => put(&mut units, '\u{c}'),
            Some('u') => {
                let hex: String = chars.by_ref().take(4).collect();
                let digits = hex.chars().count() == 4 && hex.chars().all(|c| c.is_ascii_hexdigit());
                let unit = u16::from_str_radix(&hex, 16).ok().filter(|_| digits);
                units.push(unit.ok_or_else(|| format!("`\\u{hex}`: Malformed \\uxxxx encoding."))?);
            }
            Some(other) => put(&mut units, other),
            None => {}
        }
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().map(|e| (e.key, e.value)).collect()
    }

    #[test]
    fn it_reads_what_java_reads() {
        let text = "# a comment\n! another\n\nacks=all\n linger.ms : 5\nbatch.size 16384\nempty=\nbare\n\
                    list=a,\\\n    b\nwin\\=dows=C:\\\\tmp\nname=caf\\u00e9\nend=x \n";
        let expected = [
            ("acks", "all"),
            ("linger.ms", "5"),
            ("batch.size", "16384"),
            ("empty", ""),
            ("bare", ""),
            ("list", "a,b"),
            ("win=dows", "C:\\tmp"),
            ("name", "caf\u{e9}"),
            ("end", "x "),
        ];
        assert_eq!(pairs(text), expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(parse(text).unwrap()[5].line, 9);
    }

    #[test]
    fn what_java_refuses_is_refused_with_its_line() {
        let refused = parse("a=1\nb=\\u12x\nc=\\u+123\n").unwrap_err();
        assert_eq!(refused.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3], "all of them: {refused:?}");
    }

    #[test]
    fn bytes_are_latin_1_and_lines_end_as_they_like() {
        let (text, marked) = decode(b"\xef\xbb\xbfacks=all\rlinger.ms=5\r\nname=f\xfcr");
        assert!(marked);
        let entries = parse(&text).unwrap();
        let read: Vec<_> = entries.iter().map(|e| (e.key.as_str(), e.value.as_str(), e.line)).collect();
        assert_eq!(read, [("acks", "all", 1), ("linger.ms", "5", 2), ("name", "f\u{fc}r", 3)]);
    }

    #[test]
    fn a_pair_of_escapes_is_one_character() {
        assert_eq!(pairs("client.id=\\uD83D\\uDE80")[0].1, "\u{1f680}");
        assert_eq!(pairs("client.id=\\uD83D")[0].1, "\u{fffd}", "half a pair is no character");
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in ".{0,200}") {
            let _ = parse(&text);
        }
    }
}
