//! Disks and networks in scenario files: a named profile, or a table that changes some of its figures.
//!
//! `disk = "ssd"`, `disk = { profile = "ssd", fsync = "4ms" }`; `network = "cross-zone"`,
//! `network = { latency = { p50 = "1ms", p99 = "5ms" }, bandwidth = "1Gbit" }`. Either form takes lists to choose from.

use super::{Atom, Bandwidth, Draw, Size, Span};
use crate::profiles::{self, NetworkFigures};
use klamm_world::disk::DiskProfile;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// Every host's disk.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Disk(DiskTable);

/// A disk as a table.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DiskTable {
    /// The named profile that what is not said is taken from.
    pub profile: Draw<String>,
    /// The median of an fsync beyond the transfer of the dirty bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsync: Option<Draw<Span>>,
    /// The median of a read that misses the page cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Draw<Span>>,
    /// The median of a buffered write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<Draw<Span>>,
    /// What the device transfers in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Draw<Size>>,
    /// How many operations it serves at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Draw<u32>>,
}

impl Default for DiskTable {
    fn default() -> Self {
        let profile = Draw::Fixed("nvme".to_owned());
        DiskTable { profile, fsync: None, read: None, write: None, bandwidth: None, queue: None }
    }
}

impl Disk {
    /// As a table.
    pub fn table(&self) -> &DiskTable {
        &self.0
    }
    /// From a table.
    pub fn of(table: DiskTable) -> Disk {
        Disk(table)
    }
    /// The settled disk as the world has it; with `last`, of what is to be drawn the last instead of the first.
    pub fn profile(&self, last: bool) -> Option<DiskProfile> {
        let t = &self.0;
        let mut p = DiskProfile::named(end::<String>(&t.profile, last))?;
        let nanos = |draw: &Option<Draw<Span>>, into: &mut u64| {
            if let Some(draw) = draw {
                *into = end(draw, last).0.as_nanos();
            }
        };
        nanos(&t.fsync, &mut p.fsync_nanos);
        nanos(&t.read, &mut p.read_nanos);
        nanos(&t.write, &mut p.write_nanos);
        if let Some(draw) = &t.bandwidth {
            p.bandwidth = end(draw, last).0.max(1);
        }
        if let Some(draw) = &t.queue {
            p.queue = (*end(draw, last)).max(1);
        }
        Some(p)
    }
}

/// The first or last of what may be drawn.
fn end<T: Atom>(draw: &Draw<T>, last: bool) -> &T {
    let all = draw.extremes();
    if last { all[all.len() - 1] } else { all[0] }
}

/// What connects hosts.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Network(NetworkTable);

/// A network as a table.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NetworkTable {
    /// The named profile that what is not said is taken from.
    pub profile: Draw<String>,
    /// One-way latency of a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Of each host, each way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Draw<Bandwidth>>,
}

impl Default for NetworkTable {
    fn default() -> Self {
        NetworkTable { profile: Draw::Fixed(profiles::DEFAULT_NETWORK.to_owned()), latency: None, bandwidth: None }
    }
}

/// A latency distribution by two of its percentiles.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Latency {
    /// The median.
    pub p50: Draw<Span>,
    /// One in a hundred takes longer.
    pub p99: Draw<Span>,
}

impl Default for Latency {
    fn default() -> Self {
        let fixed = |text| Draw::Fixed(Span::parse(text).expect("a time"));
        Latency { p50: fixed("250us"), p99: fixed("2ms") }
    }
}

impl Network {
    /// As a table.
    pub fn table(&self) -> &NetworkTable {
        &self.0
    }
    /// From a table.
    pub fn of(table: NetworkTable) -> Network {
        Network(table)
    }
    /// The settled figures; with `last`, of what is to be drawn the last instead of the first.
    pub fn figures(&self, last: bool) -> Option<NetworkFigures> {
        let t = &self.0;
        let mut figures = profiles::network(end::<String>(&t.profile, last))?.figures;
        if let Some(latency) = &t.latency {
            figures.p50 = end(&latency.p50, last).0;
            figures.p99 = end(&latency.p99, last).0;
        }
        if let Some(bandwidth) = &t.bandwidth {
            figures.bandwidth = end(bandwidth, last).0;
        }
        Some(figures)
    }
}

/// Reads a name (or a list of names), or a table.
fn read<'de, D, T>(deserializer: D, named: impl FnOnce(Draw<String>) -> T) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: for<'a> Deserialize<'a>,
{
    let value = toml::Value::deserialize(deserializer)?;
    let plain = |e: toml::de::Error| D::Error::custom(e.message());
    if value.is_table() {
        return T::deserialize(value).map_err(plain);
    }
    Draw::<String>::deserialize(value).map(named).map_err(plain)
}

impl<'de> Deserialize<'de> for Disk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, |profile| DiskTable { profile, ..DiskTable::default() }).map(Disk)
    }
}

impl Serialize for Disk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = DiskTable { profile: self.0.profile.clone(), ..DiskTable::default() };
        if self.0 == named { self.0.profile.serialize(serializer) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, |profile| NetworkTable { profile, ..NetworkTable::default() }).map(Network)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = NetworkTable { profile: self.0.profile.clone(), ..NetworkTable::default() };
        if self.0 == named { self.0.profile.serialize(serializer) } else { self.0.serialize(serializer) }
    }
}

fn name_or_table<T: JsonSchema>(generator: &mut SchemaGenerator, what: &str) -> Schema {
    let name = generator.subschema_for::<Draw<String>>();
    let table = generator.subschema_for::<T>();
    json_schema!({
        "description": format!("{what}: a named profile, or a table."),
        "anyOf": [name, table],
    })
}

impl JsonSchema for Disk {
    fn schema_name() -> Cow<'static, str> {
        "disk".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        name_or_table::<DiskTable>(generator, "Every host's disk")
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "network".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        name_or_table::<NetworkTable>(generator, "What connects hosts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Cluster;

    fn cluster(text: &str) -> Result<Cluster, String> {
        toml::from_str(text).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn a_name_or_a_table_and_back() {
        for (text, fsync) in [
            ("disk = \"ssd\"", 2_000_000),
            ("disk = { profile = \"ssd\", fsync = \"7ms\" }", 7_000_000),
            ("disk = { fsync = \"7ms\" }", 7_000_000),
            ("", 250_000),
        ] {
            let c = cluster(text).unwrap();
            assert_eq!(c.disk.profile(false).unwrap().fsync_nanos, fsync, "{text}");
            let again: Cluster = toml::from_str(&toml::to_string(&c).unwrap()).unwrap();
            assert_eq!(again, c, "{text}");
        }
        let c = cluster("network = \"cross-region\"").unwrap();
        assert_eq!(c.network.figures(false), profiles::network("cross-region").map(|p| p.figures));
        let c = cluster("network = { profile = \"same-rack\", bandwidth = \"1Mbit\" }").unwrap();
        assert_eq!(c.network.figures(false).unwrap().bandwidth, 1_000_000);
    }

    #[test]
    fn slips_are_named() {
        assert!(cluster("disk = { fsnyc = \"7ms\" }").unwrap_err().contains("unknown field `fsnyc`"));
        assert!(cluster("disk = 7").unwrap_err().contains("expected a text"));
        assert!(cluster("network = { bandwidth = \"fast\" }").unwrap_err().contains("expected a bandwidth"));
    }
}
