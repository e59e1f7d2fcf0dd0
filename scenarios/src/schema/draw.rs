//! Values of a scenario that may be fixed, a list to choose from, or a range to draw from.

use super::source::Path;
use klamm_model::units::Duration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// Something that can be written as one value in a scenario file.
pub trait Atom: Clone + PartialEq + fmt::Debug + Sized {
    /// What is accepted, for error messages.
    const EXPECTED: &'static str;
    /// From a TOML value; `None` if it is not one.
    fn read(value: &toml::Value) -> Option<Self>;
    /// Back to TOML.
    fn write(&self) -> toml::Value;
    /// Whether this kind of value has ranges.
    const HAS_RANGES: bool = true;
    /// The number a range is drawn over, if this kind of value has ranges.
    fn ordinal(&self) -> Option<i64> {
        None
    }
    /// From that number.
    fn from_ordinal(_n: i64) -> Option<Self> {
        None
    }
    /// Its name in the published schema.
    const NAME: &'static str;
    /// One value in the published schema, without ranges and lists.
    fn json() -> serde_json::Value;
}

/// The longest list to choose from: each value of it is checked, some beside each of another's.
pub const MAX_CHOICES: usize = 1000;

/// A value to be settled for each seed.
#[derive(Clone, PartialEq, Debug)]
pub enum Draw<T> {
    /// Settled.
    Fixed(T),
    /// One of these.
    Choice(Vec<T>),
    /// Between these, both included.
    Range(T, T),
}

impl<T: Atom> Draw<T> {
    /// Settles the value with a uniform 64-bit draw.
    pub fn settle(&self, draw: u64) -> T {
        match self {
            Draw::Fixed(v) => v.clone(),
            Draw::Choice(list) => list[pick(draw, list.len() as u128) as usize].clone(),
            Draw::Range(a, b) => {
                let (lo, hi) = (a.ordinal().unwrap_or(0), b.ordinal().unwrap_or(0));
                // In 128 bits: the two ends may lie further apart than 64 bits count.
                let steps = pick(draw, (i128::from(hi) - i128::from(lo) + 1) as u128);
                T::from_ordinal((i128::from(lo) + steps as i128) as i64).unwrap_or_else(|| a.clone())
            }
        }
    }

    /// Every value, or the two ends of a range: what has to be valid.
    pub fn extremes(&self) -> Vec<&T> {
        match self {
            Draw::Fixed(v) => vec![v],
            Draw::Choice(list) => list.iter().collect(),
            Draw::Range(a, b) => vec![a, b],
        }
    }

    /// Where the n-th of [`Draw::extremes`] stands, if the whole stands here.
    pub fn place(&self, at: &Path, n: usize) -> Path {
        if matches!(self, Draw::Choice(_)) { at.to(n) } else { at.clone() }
    }

    /// The settled value.
    ///
    /// # Panics
    /// If it is not settled: resolve the scenario first.
    pub fn get(&self) -> &T {
        match self {
            Draw::Fixed(v) => v,
            other => panic!("{other:?} is not settled"),
        }
    }

    /// From a TOML value.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn parse(value: &toml::Value) -> Result<Draw<T>, String> {
        if let Some(v) = T::read(value) {
            return Ok(Draw::Fixed(v));
        }
        if let toml::Value::Array(list) = value {
            if list.len() > MAX_CHOICES {
                return Err(format!("a list of more than {MAX_CHOICES} values to choose from"));
            }
            let read: Option<Vec<T>> = list.iter().map(T::read).collect();
            return match read {
                Some(list) if !list.is_empty() => Ok(Draw::Choice(list)),
                Some(_) => Err("an empty list to choose from".to_owned()),
                None => Err(format!("expected a list of values, each {}", T::EXPECTED)),
            };
        }
        if let toml::Value::String(text) = value
            && T::HAS_RANGES
            && let Some((a, b)) = text.split_once("..")
        {
            let (Some(a), Some(b)) = (read_text::<T>(a), read_text::<T>(b)) else {
                return Err(format!("the range `{text}` needs {} at each end", T::EXPECTED));
            };
            return match (a.ordinal(), b.ordinal()) {
                (Some(lo), Some(hi)) if lo <= hi => Ok(Draw::Range(a, b)),
                (Some(_), Some(_)) => Err(format!("the range `{text}` is empty: its first end is above its second")),
                _ => Err(format!("the range `{text}` has an end that is too large")),
            };
        }
        let range = if T::HAS_RANGES { ", or a range `a..b`" } else { "" };
        Err(format!("expected {}, a list of such{range}; found {}", T::EXPECTED, found(value)))
    }
}

/// A TOML value in words.
pub(super) fn found(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => format!("the text {text:?}"),
        toml::Value::Integer(_) | toml::Value::Float(_) => format!("the number {value}"),
        toml::Value::Boolean(b) => format!("`{b}`"),
        toml::Value::Datetime(time) => format!("the date `{time}`"),
        toml::Value::Array(_) => "a list".to_owned(),
        toml::Value::Table(_) => "a table".to_owned(),
    }
}

/// A whole number, however it is spelled: `10`, `0x0a`, `1_0`, `10.0`, `1e1`.
pub(super) fn whole(value: &toml::Value) -> Option<i64> {
    // Beyond this not every whole number has a float of its own.
    const EXACT: f64 = (1u64 << 53) as f64;
    match value {
        toml::Value::Integer(n) => Some(*n),
        toml::Value::Float(f) if f.fract() == 0.0 && f.abs() <= EXACT => Some(*f as i64),
        _ => None,
    }
}

/// A number that stands in a text, spelled as TOML spells numbers.
fn whole_text(text: &str) -> Option<i64> {
    let text = text.trim();
    text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+')
        .then(|| text.parse::<toml::Value>().ok())
        .flatten()
        .as_ref()
        .and_then(whole)
}

/// A uniform choice below `n`, at most 2^64, from 64 random bits.
fn pick(draw: u64, n: u128) -> u64 {
    ((u128::from(draw) * n) >> 64) as u64
}

/// An end of a range: text, or a number written as text.
fn read_text<T: Atom>(text: &str) -> Option<T> {
    let text = text.trim();
    whole_text(text)
        .and_then(|n| T::read(&toml::Value::Integer(n)))
        .or_else(|| T::read(&toml::Value::String(text.to_owned())))
}

impl<'de, T: Atom> Deserialize<'de> for Draw<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Draw::parse(&toml::Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<T: Atom> Serialize for Draw<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Draw::Fixed(v) => v.write().serialize(serializer),
            Draw::Choice(list) => list.iter().map(T::write).collect::<Vec<_>>().serialize(serializer),
            Draw::Range(a, b) => format!("{}..{}", bare(&a.write()), bare(&b.write())).serialize(serializer),
        }
    }
}

impl<T: Atom> JsonSchema for Draw<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}-draw", T::NAME).into()
    }
    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        let one = T::json();
        let mut ways = vec![one.clone(), serde_json::json!({ "type": "array", "items": one, "minItems": 1 })];
        // A text of any kind takes ranges already.
        if T::HAS_RANGES && one != serde_json::json!({ "type": "string" }) {
            ways.push(serde_json::json!({ "type": "string", "pattern": "^.+\\.\\..+$" }));
        }
        let ranges = if T::HAS_RANGES { ", or a range to draw from, such as \"a..b\"" } else { "" };
        json_schema!({
            "description": format!("{}; a list to choose from{ranges}.", T::EXPECTED),
            "anyOf": ways,
        })
    }
}

fn bare(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Atom for u32 {
    const NAME: &'static str = "count";
    const EXPECTED: &'static str = "a whole number, 0 or more";
    fn read(value: &toml::Value) -> Option<u32> {
        whole(value).and_then(|n| u32::try_from(n).ok())
    }
    fn write(&self) -> toml::Value {
        toml::Value::Integer(i64::from(*self))
    }
    fn ordinal(&self) -> Option<i64> {
        Some(i64::from(*self))
    }
    fn from_ordinal(n: i64) -> Option<u32> {
        u32::try_from(n).ok()
    }
    fn json() -> serde_json::Value {
        serde_json::json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
    }
}

impl Atom for i64 {
    const NAME: &'static str = "number";
    const EXPECTED: &'static str = "a whole number";
    fn read(value: &toml::Value) -> Option<i64> {
        whole(value)
    }
    fn write(&self) -> toml::Value {
        toml::Value::Integer(*self)
    }
    fn ordinal(&self) -> Option<i64> {
        Some(*self)
    }
    fn from_ordinal(n: i64) -> Option<i64> {
        Some(n)
    }
    fn json() -> serde_json::Value {
        serde_json::json!({ "type": "integer" })
    }
}

impl Atom for bool {
    const NAME: &'static str = "flag";
    const HAS_RANGES: bool = false;
    const EXPECTED: &'static str = "`true` or `false`";
    fn read(value: &toml::Value) -> Option<bool> {
        value.as_bool()
    }
    fn write(&self) -> toml::Value {
        toml::Value::Boolean(*self)
    }
    fn json() -> serde_json::Value {
        serde_json::json!({ "type": "boolean" })
    }
}

impl Atom for String {
    const NAME: &'static str = "word";
    const HAS_RANGES: bool = false;
    const EXPECTED: &'static str = "a text";
    fn read(value: &toml::Value) -> Option<String> {
        value.as_str().map(str::to_owned)
    }
    fn write(&self) -> toml::Value {
        toml::Value::String(self.clone())
    }
    fn json() -> serde_json::Value {
        serde_json::json!({ "type": "string" })
    }
}

/// A length of time, written `250us`, `1.5s`, `10m`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span(pub Duration);

const TIME_UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl Span {
    /// From text.
    pub fn parse(text: &str) -> Option<Span> {
        // Far below the end of the clock, so that times can be added without a thought.
        scaled(text, TIME_UNITS).filter(|n| *n <= 1 << 60).map(|n| Span(Duration::from_nanos(n)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0.as_nanos();
        let (unit, size) =
            TIME_UNITS[..4].iter().rev().find(|(_, size)| n.is_multiple_of(*size) && n > 0).unwrap_or(&("s", 1));
        write!(f, "{}{unit}", n / size)
    }
}

impl Atom for Span {
    const NAME: &'static str = "time";
    const EXPECTED: &'static str = "a duration such as `30s` or `250ms`";
    fn read(value: &toml::Value) -> Option<Span> {
        Span::parse(value.as_str()?)
    }
    fn write(&self) -> toml::Value {
        toml::Value::String(self.to_string())
    }
    fn ordinal(&self) -> Option<i64> {
        i64::try_from(self.0.as_nanos()).ok()
    }
    fn from_ordinal(n: i64) -> Option<Span> {
        u64::try_from(n).ok().map(|n| Span(Duration::from_nanos(n)))
    }
    fn json() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,9})?(ns|us|ms|s|m|h)$" })
    }
}

/// A number of bytes, written `1KiB` or as a plain number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Size(pub u64);

const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

impl Atom for Size {
    const NAME: &'static str = "size";
    const EXPECTED: &'static str = "a size such as `1KiB` or a number of bytes";
    fn read(value: &toml::Value) -> Option<Size> {
        match value {
            toml::Value::String(text) => scaled(text, SIZE_UNITS).filter(|n| i64::try_from(*n).is_ok()).map(Size),
            number => whole(number).and_then(|n| u64::try_from(n).ok()).map(Size),
        }
    }
    fn write(&self) -> toml::Value {
        toml::Value::Integer(self.0 as i64)
    }
    fn ordinal(&self) -> Option<i64> {
        i64::try_from(self.0).ok()
    }
    fn from_ordinal(n: i64) -> Option<Size> {
        u64::try_from(n).ok().map(Size)
    }
    fn json() -> serde_json::Value {
        serde_json::json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,9})?(B|KiB|MiB|GiB|kB|MB|GB)$" },
        ] })
    }
}

/// Bits per second, written `1Gbit`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Bandwidth(pub u64);

impl Atom for Bandwidth {
    const NAME: &'static str = "bandwidth";
    const EXPECTED: &'static str = "a bandwidth such as `100Mbit` or `1Gbit`";
    fn read(value: &toml::Value) -> Option<Bandwidth> {
        scaled(value.as_str()?, &[("kbit", 1_000), ("Mbit", 1_000_000), ("Gbit", 1_000_000_000)]).map(Bandwidth)
    }
    fn write(&self) -> toml::Value {
        toml::Value::String(format!("{}kbit", self.0 / 1000))
    }
    fn ordinal(&self) -> Option<i64> {
        i64::try_from(self.0).ok()
    }
    fn from_ordinal(n: i64) -> Option<Bandwidth> {
        u64::try_from(n).ok().map(Bandwidth)
    }
    fn json() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,9})?(kbit|Mbit|Gbit)$" })
    }
}

/// A share in parts per million, written `"30%"` or `1.0` of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Share(pub u32);

impl Atom for Share {
    const NAME: &'static str = "share";
    const EXPECTED: &'static str = "a share such as `30%`";
    fn read(value: &toml::Value) -> Option<Share> {
        let ppm = scaled(value.as_str()?, &[("%", 10_000), ("ppm", 1)])?;
        (ppm <= 1_000_000).then_some(Share(ppm as u32))
    }
    fn write(&self) -> toml::Value {
        toml::Value::String(format!("{}ppm", self.0))
    }
    fn ordinal(&self) -> Option<i64> {
        Some(i64::from(self.0))
    }
    fn from_ordinal(n: i64) -> Option<Share> {
        u32::try_from(n).ok().map(Share)
    }
    fn json() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,9})?(%|ppm)$" })
    }
}

/// A Kafka setting's value: what TOML has, as a properties file would spell it. It has no order: as texts `9` is more than
/// `10`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting(pub String);

impl Setting {
    /// As a whole number, if it is one.
    pub fn number(&self) -> Option<i64> {
        self.0.trim().parse().ok()
    }
}

impl Atom for Setting {
    const NAME: &'static str = "setting";
    const EXPECTED: &'static str = "a number, a text, `true` or `false`";
    fn read(value: &toml::Value) -> Option<Setting> {
        match value {
            toml::Value::Integer(n) => Some(Setting(n.to_string())),
            toml::Value::Boolean(b) => Some(Setting(b.to_string())),
            toml::Value::Float(f) if f.is_finite() => {
                Some(Setting(whole(value).map_or_else(|| f.to_string(), |n| n.to_string())))
            }
            // A range is told from a text by its two numbers; no Kafka value looks like that.
            toml::Value::String(s) if !is_number_range(s) => Some(Setting(s.clone())),
            _ => None,
        }
    }
    fn write(&self) -> toml::Value {
        match (self.0.parse::<i64>(), self.0.as_str()) {
            (Ok(n), _) => toml::Value::Integer(n),
            (_, "true") => toml::Value::Boolean(true),
            (_, "false") => toml::Value::Boolean(false),
            (_, s) => toml::Value::String(s.to_owned()),
        }
    }
    fn ordinal(&self) -> Option<i64> {
        self.0.parse().ok()
    }
    fn from_ordinal(n: i64) -> Option<Setting> {
        Some(Setting(n.to_string()))
    }
    fn json() -> serde_json::Value {
        serde_json::json!({ "type": ["number", "boolean", "string"] })
    }
}

fn is_number_range(s: &str) -> bool {
    s.split_once("..").is_some_and(|(a, b)| whole_text(a).is_some() && whole_text(b).is_some())
}

/// `1.5ms` as a whole number of the smallest unit. Decimals are taken exactly: floats decide nothing.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = (&text[..split], text[split..].trim());
    let size = units.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let tail: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let tail = u128::from(tail) * u128::from(size) / 10u128.pow(fraction.len() as u32);
    whole.checked_mul(size)?.checked_add(u64::try_from(tail).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Doc {
        v: Draw<Span>,
    }

    fn span(text: &str) -> Result<Draw<Span>, String> {
        toml::from_str::<Doc>(&format!("v = {text}")).map(|d| d.v).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn times_are_exact() {
        assert_eq!(Span::parse("1.5ms"), Some(Span(Duration::from_micros(1500))));
        assert_eq!(Span::parse("10"), None);
        assert_eq!(Span::parse("ten seconds"), None);
        assert_eq!(Span(Duration::from_secs(10)).to_string(), "10s");
        assert_eq!(Span(Duration::from_micros(1500)).to_string(), "1500us");
    }

    #[test]
    fn a_value_is_fixed_a_list_or_a_range() {
        let s = |n| Span(Duration::from_secs(n));
        assert_eq!(span("\"1s\""), Ok(Draw::Fixed(s(1))));
        assert_eq!(span("[\"1s\", \"3s\"]"), Ok(Draw::Choice(vec![s(1), s(3)])));
        assert_eq!(span("\"1s..3s\""), Ok(Draw::Range(s(1), s(3))));
        assert!(span("\"3s..1s\"").unwrap_err().contains("empty"));
        assert!(span("[]").unwrap_err().contains("empty list"));
        assert!(span("7").unwrap_err().contains("expected a duration such as `30s`"));
    }

    #[test]
    fn ranges_of_numbers_may_have_negative_ends() {
        let range = |text: &str| Draw::<i64>::parse(&toml::Value::String(text.to_owned()));
        let d = range("-60000..60000").unwrap();
        assert_eq!(d, Draw::Range(-60000, 60000));
        assert_eq!((d.settle(0), d.settle(u64::MAX)), (-60000, 60000));
        assert_eq!(range("-5..-2"), Ok(Draw::Range(-5, -2)));
        assert_eq!(range(" -5 .. 2 "), Ok(Draw::Range(-5, 2)));
        assert!(range("5..-5").unwrap_err().contains("empty"));
        assert!(range("-5").is_err() && range("1..2..3").is_err() && range("..3").is_err());
        let d = Draw::Range(i64::MIN, i64::MAX);
        assert_eq!((d.settle(0), d.settle(u64::MAX)), (i64::MIN, i64::MAX));
        let setting = |text: &str| Draw::<Setting>::parse(&toml::Value::String(text.to_owned())).unwrap();
        assert_eq!(setting("-1..1"), Draw::Range(Setting("-1".to_owned()), Setting("1".to_owned())));
        assert_eq!(setting("a..b"), Draw::Fixed(Setting("a..b".to_owned())));
    }

    #[test]
    fn numbers_are_numbers_however_they_are_spelled() {
        #[derive(Deserialize)]
        struct Count {
            v: Draw<u32>,
            s: Draw<Setting>,
        }
        for text in ["16", "0x10", "1_6", "16.0", "1.6e1", "0b1_0000"] {
            let read: Count = toml::from_str(&format!("v = {text}\ns = {text}")).unwrap();
            assert_eq!((read.v, read.s), (Draw::Fixed(16), Draw::Fixed(Setting("16".to_owned()))), "{text}");
            let range: Count = toml::from_str(&format!("v = \"{text}..{text}\"\ns = \"{text}..{text}\"")).unwrap();
            assert_eq!(range.v, Draw::Range(16, 16), "{text}");
            assert_eq!(range.s, Draw::Range(Setting("16".to_owned()), Setting("16".to_owned())), "{text}");
        }
        let count = |text: &str| toml::from_str::<Count>(&format!("v = {text}\ns = 0")).map(|c| c.v);
        assert!(["-1", "0.5", "4294967296", "1e300", "nan", "inf"].iter().all(|text| count(text).is_err()));
    }

    #[test]
    fn draws_reach_both_ends_and_stay_inside() {
        let d: Draw<u32> = Draw::Range(3, 5);
        assert_eq!(d.settle(0), 3);
        assert_eq!(d.settle(u64::MAX), 5);
        let c = Draw::Choice(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(c.settle(0), "a");
        assert_eq!(c.settle(u64::MAX), "b");
    }
}
