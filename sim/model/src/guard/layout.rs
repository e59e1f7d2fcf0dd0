//! How a layout is written down: the fields of a message in the order of the wire, with the versions that have them.

use std::ops::RangeInclusive;

/// For messages that no version writes compactly.
pub(super) const NEVER: i16 = i16::MAX;

/// A message's fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// The versions it is true of.
    pub min: i16,
    pub max: i16,
    /// From which version on lengths are compact and tagged fields follow (KIP-482).
    pub flexible: i16,
    pub fields: &'static [Field],
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub name: &'static str,
    pub kind: Kind,
    /// The versions that have it.
    pub from: i16,
    pub until: i16,
    pub nullable: bool,
    /// Its tag, if it is not among the fields but among the tagged ones.
    pub tag: Option<u32>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    One(Item),
    ArrayOf(Item),
    Structure(&'static [Field]),
    Array(&'static [Field]),
}

/// What has no fields of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    Bool,
    /// An integer of so many bytes.
    Int(u8),
    Uuid,
    String,
    Bytes,
}

pub(super) const INT32: Item = Item::Int(4);
pub(super) const STRING: Item = Item::String;
pub(super) const UUID: Item = Item::Uuid;

pub(super) const fn layout(versions: RangeInclusive<i16>, flexible: i16, fields: &'static [Field]) -> Layout {
    Layout { min: *versions.start(), max: *versions.end(), flexible, fields }
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, from: 0, until: i16::MAX, nullable: false, tag: None }
}
pub(super) const fn bool(name: &'static str) -> Field {
    field(name, Kind::One(Item::Bool))
}
pub(super) const fn int8(name: &'static str) -> Field {
    field(name, Kind::One(Item::Int(1)))
}
pub(super) const fn int16(name: &'static str) -> Field {
    field(name, Kind::One(Item::Int(2)))
}
pub(super) const fn int32(name: &'static str) -> Field {
    field(name, Kind::One(INT32))
}
pub(super) const fn int64(name: &'static str) -> Field {
    field(name, Kind::One(Item::Int(8)))
}
pub(super) const fn uuid(name: &'static str) -> Field {
    field(name, Kind::One(UUID))
}
pub(super) const fn string(name: &'static str) -> Field {
    field(name, Kind::One(STRING))
}
pub(super) const fn bytes(name: &'static str) -> Field {
    field(name, Kind::One(Item::Bytes))
}
pub(super) const fn array_of(name: &'static str, item: Item) -> Field {
    field(name, Kind::ArrayOf(item))
}
pub(super) const fn array(name: &'static str, fields: &'static [Field]) -> Field {
    field(name, Kind::Array(fields))
}
pub(super) const fn structure(name: &'static str, fields: &'static [Field]) -> Field {
    field(name, Kind::Structure(fields))
}

impl Field {
    /// From this version on.
    pub const fn from(self, from: i16) -> Field {
        Field { from, ..self }
    }
    /// Up to this version.
    pub const fn until(self, until: i16) -> Field {
        Field { until, ..self }
    }
    /// May be null.
    pub const fn nullable(self) -> Field {
        Field { nullable: true, ..self }
    }
    /// Among the tagged fields.
    pub const fn tag(self, tag: u32) -> Field {
        Field { tag: Some(tag), ..self }
    }
    /// Whether a version has it.
    pub const fn is_in(&self, version: i16) -> bool {
        self.from <= version && version <= self.until
    }
}
