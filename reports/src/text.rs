//! Figures as people read them.

use std::fmt::Write;

/// A time in nanoseconds, to three digits: `850us`, `12.4ms`, `3.20s`.
pub fn time(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns}ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    match value {
        v if v < 9.995 => format!("{v:.2}{unit}"),
        v if v < 99.95 => format!("{v:.1}{unit}"),
        v => format!("{v:.0}{unit}"),
    }
}

/// A whole number with thin groups: `12,345`.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// So many of something: `1 scenario`, `12 scenarios`. For words whose plural ends in `s`.
pub fn count(n: u64, what: &str) -> String {
    format!("{} {what}{}", number(n), if n == 1 { "" } else { "s" })
}

/// A table for a terminal: names to the left, figures to the right.
pub fn table(head: &str, columns: &[&str], rows: &[(String, impl AsRef<[String]>)]) -> String {
    let name = rows.iter().map(|r| r.0.chars().count()).max().unwrap_or(0).max(head.len());
    let width = |c: usize| rows.iter().map(|r| r.1.as_ref()[c].len()).max().unwrap_or(0).max(columns[c].len());
    let mut text = format!("  {head:<name$}");
    for (c, column) in columns.iter().enumerate() {
        let _ = write!(text, "  {column:>w$}", w = width(c));
    }
    text.push('\n');
    for (label, row) in rows {
        let _ = write!(text, "  {label:<name$}");
        for (c, value) in row.as_ref().iter().enumerate() {
            let _ = write!(text, "  {value:>w$}", w = width(c));
        }
        text.push('\n');
    }
    text
}

/// A table in Markdown: the first `names` columns to the left, figures to the right.
pub fn markdown(head: &[&str], names: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let heads: Vec<String> = head.iter().map(|text| cell(text)).collect();
    let mut md = format!("| {} |\n|", heads.join(" | "));
    for column in 0..head.len() {
        md.push_str(if column < names { "---|" } else { "--:|" });
    }
    md.push('\n');
    for row in rows {
        let cells: Vec<String> = row.iter().map(|text| cell(text)).collect();
        let _ = writeln!(md, "| {} |", cells.join(" | "));
    }
    md
}

/// A text as a cell of a table in Markdown: one line, and no bar that would end it.
pub fn cell(text: &str) -> String {
    text.replace('|', "\\|").split(['\n', '\r']).collect::<Vec<_>>().join(" ")
}

/// The same, of a table for a terminal.
pub fn markdown_named<const N: usize>(head: &str, columns: [&str; N], rows: &[(String, [String; N])]) -> String {
    let heads: Vec<&str> = [head].into_iter().chain(columns).collect();
    markdown(&heads, 1, rows.iter().map(|(name, row)| [name].into_iter().chain(row).cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_markdown_table_aligns_figures() {
        let rows = [vec!["a".to_owned(), "1".to_owned()]];
        assert_eq!(markdown(&["name", "n"], 1, rows), "| name | n |\n|---|--:|\n| a | 1 |\n");
        let rows = [vec!["hold a|b\nto c".to_owned(), "1".to_owned()]];
        assert!(markdown(&["name", "n"], 1, rows).ends_with("| hold a\\|b to c | 1 |\n"));
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(time(999), "999ns");
        assert_eq!(time(1_500), "1.50us");
        assert_eq!(time(12_400_000), "12.4ms");
        assert_eq!(time(120_000_000_000), "120s");
        assert_eq!(number(7), "7");
        assert_eq!(number(1_234_567), "1,234,567");
    }
}
