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

/// A table for a terminal: names to the left, figures to the right.
pub fn table<const N: usize>(head: &str, columns: [&str; N], rows: &[(String, [String; N])]) -> String {
    let name = rows.iter().map(|r| r.0.chars().count()).max().unwrap_or(0).max(head.len());
    let width = |c: usize| rows.iter().map(|r| r.1[c].len()).max().unwrap_or(0).max(columns[c].len());
    let mut text = format!("  {head:<name$}");
    for (c, column) in columns.iter().enumerate() {
        let _ = write!(text, "  {column:>w$}", w = width(c));
    }
    text.push('\n');
    for (label, row) in rows {
        let _ = write!(text, "  {label:<name$}");
        for (c, value) in row.iter().enumerate() {
            let _ = write!(text, "  {value:>w$}", w = width(c));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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
