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

/// Reads a file's text. Later entries under one key win, as in Java; all are returned, in order.
///
/// # Errors
/// A malformed `\u` escape: the line, and what is wrong.
pub fn parse(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let mut entries = Vec::new();
    let mut lines = text.lines().enumerate().map(|(i, l)| (i + 1, l.trim_start_matches(BLANK)));
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
        let unescape = |s: &str| unescape(s).map_err(|message| (line, message));
        entries.push(Entry { key: unescape(key)?, value: unescape(value)?, line });
    }
    Ok(entries)
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

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let hex: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 4).and_then(char::from_u32);
                out.push(code.ok_or_else(|| format!("`\\u{hex}` is no character"))?);
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
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
        assert_eq!(parse("a=1\nb=\\u12x\n"), Err((2, "`\\u12x` is no character".to_owned())));
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in ".{0,200}") {
            let _ = parse(&text);
        }
    }
}
