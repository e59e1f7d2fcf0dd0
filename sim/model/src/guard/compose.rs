//! Bytes that a layout allows, made up field by field: for tests of the guard, and of whatever stands behind it.

use super::layout::{Field, Item, Kind, Layout};
use super::layouts;
use crate::ids::ApiKey;

/// Where the content of made-up messages comes from. Names are those of the fields.
pub trait Source {
    /// An integer of so many bytes.
    fn int(&mut self, field: &'static str, bytes: u8) -> i64;
    /// Text.
    fn string(&mut self, field: &'static str) -> String;
    /// Opaque bytes.
    fn bytes(&mut self, field: &'static str) -> Vec<u8>;
    /// An id.
    fn uuid(&mut self, field: &'static str) -> [u8; 16];
    /// How many elements an array has.
    fn count(&mut self, field: &'static str) -> usize;
    /// Whether a field that may be null is, and whether a tagged field is left out.
    fn absent(&mut self, field: &'static str) -> bool;
}

/// A request's body, if the guard knows the API and version.
pub fn request(api: ApiKey, version: i16, source: &mut dyn Source) -> Option<Vec<u8>> {
    compose(layouts(api)?.0, version, source)
}

/// A response's body, if the guard knows the API and version.
pub fn response(api: ApiKey, version: i16, source: &mut dyn Source) -> Option<Vec<u8>> {
    compose(layouts(api)?.1, version, source)
}

fn compose(layout: &Layout, version: i16, source: &mut dyn Source) -> Option<Vec<u8>> {
    if !(layout.min..=layout.max).contains(&version) {
        return None;
    }
    let mut writer = Writer { out: Vec::new(), version, flexible: version >= layout.flexible, source };
    writer.fields(layout.fields);
    Some(writer.out)
}

struct Writer<'a> {
    out: Vec<u8>,
    version: i16,
    flexible: bool,
    source: &'a mut dyn Source,
}

impl Writer<'_> {
    fn fields(&mut self, fields: &'static [Field]) {
        let version = self.version;
        for field in fields.iter().filter(|f| f.tag.is_none() && f.is_in(version)) {
            self.field(field);
        }
        if !self.flexible {
            return;
        }
        let mut tagged = Vec::new();
        for field in fields.iter().filter(|f| f.is_in(version)) {
            let Some(tag) = field.tag.filter(|_| !self.source.absent(field.name)) else { continue };
            let outer = std::mem::take(&mut self.out);
            self.field(field);
            tagged.push((tag, std::mem::replace(&mut self.out, outer)));
        }
        tagged.sort_unstable();
        self.varint(tagged.len() as u32);
        for (tag, value) in tagged {
            self.varint(tag);
            self.varint(value.len() as u32);
            self.out.extend(value);
        }
    }

    fn field(&mut self, field: &'static Field) {
        let absent = field.nullable && self.source.absent(field.name);
        match field.kind {
            Kind::One(item) => self.item(field.name, item, absent),
            Kind::ArrayOf(_) | Kind::Array(_) if absent => self.length(None, 4),
            Kind::ArrayOf(item) => {
                for _ in 0..self.count(field.name) {
                    self.item(field.name, item, false);
                }
            }
            Kind::Array(fields) => {
                for _ in 0..self.count(field.name) {
                    self.fields(fields);
                }
            }
            Kind::Structure(fields) => {
                if field.nullable {
                    self.out.push(if absent { 0xff } else { 1 });
                }
                if !absent {
                    self.fields(fields);
                }
            }
        }
    }

    fn count(&mut self, name: &'static str) -> usize {
        let count = self.source.count(name);
        self.length(Some(count), 4);
        count
    }

    fn item(&mut self, name: &'static str, item: Item, absent: bool) {
        let (value, width) = match item {
            Item::Bool => return self.out.push(u8::from(self.source.int(name, 1) & 1 == 1)),
            Item::Int(bytes) => {
                let value = self.source.int(name, bytes).to_be_bytes();
                return self.out.extend_from_slice(&value[8 - usize::from(bytes)..]);
            }
            Item::Uuid => {
                let id = self.source.uuid(name);
                return self.out.extend_from_slice(&id);
            }
            Item::String | Item::Bytes if absent => (None, if matches!(item, Item::String) { 2 } else { 4 }),
            Item::String => (Some(self.source.string(name).into_bytes()), 2),
            Item::Bytes => (Some(self.source.bytes(name)), 4),
        };
        self.length(value.as_ref().map(Vec::len), width);
        self.out.extend(value.unwrap_or_default());
    }

    /// A length, or null, in so many bytes where it is not compact.
    fn length(&mut self, length: Option<usize>, width: usize) {
        if self.flexible {
            return self.varint(length.map_or(0, |n| n as u32 + 1));
        }
        let length = length.map_or(-1, |n| n as i32).to_be_bytes();
        self.out.extend_from_slice(&length[4 - width..]);
    }

    fn varint(&mut self, mut n: u32) {
        while n >= 0x80 {
            self.out.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.out.push(n as u8);
    }
}
