//! Text from a file, made safe to print.

use std::borrow::Cow;

/// The same text without anything that moves a terminal's cursor, colours it, or turns the order of what follows:
/// control characters and invisible format characters are written as escapes.
pub fn plain(text: &str) -> Cow<'_, str> {
    let unsafe_char = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
    };
    if !text.chars().any(unsafe_char) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if unsafe_char(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// The same, cut to what fits into a message.
pub(super) fn shortened(text: &str) -> String {
    let cut: String = text.chars().take(120).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{more}", plain(&cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_that_steers_it() {
        assert_eq!(plain("a\n\u{1b}[31mb\u{9b}2J\u{202e}c\u{7f}"), r"a\n\u{1b}[31mb\u{9b}2J\u{202e}c\u{7f}");
        assert!(matches!(plain("Zürich 東京 🎉"), Cow::Borrowed(_)));
        assert_eq!(shortened(&"x".repeat(200)).chars().count(), 121);
    }
}
