//! Device profiles: plain tables. The figures are modelled, not measured; they have the shape of their kind of
//! device, and wherever they are shown they are labelled so.

use klamm_model::units::Duration;

/// What a device costs. Latencies are medians; the drawn value follows [`JITTER`].
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct DiskProfile {
    /// Name, for reports.
    pub name: String,
    /// A buffered write (a copy into the page cache, the file system's bookkeeping), nanoseconds.
    pub write_nanos: u64,
    /// A read that misses the page cache, nanoseconds.
    pub read_nanos: u64,
    /// An fsync beyond the transfer of the dirty bytes: flush of the device's cache and the journal, nanoseconds.
    pub fsync_nanos: u64,
    /// An operation on names (rename, delete, list), nanoseconds.
    pub names_nanos: u64,
    /// Transfer rate of the device, bytes per second.
    pub bandwidth: u64,
    /// Rate of the copy into the page cache, bytes per second.
    pub copy_rate: u64,
    /// How many operations the device serves at one time.
    pub queue: u32,
}

/// Multipliers of a median, in 1/256, at evenly spaced quantiles: half of the draws below 256, one in 16 long.
pub(super) const JITTER: [u16; 16] = [180, 200, 212, 222, 230, 238, 246, 254, 262, 272, 286, 304, 330, 372, 460, 900];

impl DiskProfile {
    /// A local NVMe drive with power-loss protection (modelled).
    pub fn nvme() -> DiskProfile {
        DiskProfile::of("nvme", [12, 90, 250, 15], 2_000_000_000, 32)
    }
    /// A SATA SSD without power-loss protection (modelled).
    pub fn ssd() -> DiskProfile {
        DiskProfile::of("ssd", [15, 180, 2_000, 25], 450_000_000, 8)
    }
    /// Network block storage (modelled).
    pub fn network() -> DiskProfile {
        DiskProfile::of("network", [15, 900, 3_500, 40], 250_000_000, 16)
    }
    /// A spinning disk (modelled).
    pub fn spinning() -> DiskProfile {
        DiskProfile::of("spinning", [20, 7_000, 14_000, 60], 150_000_000, 1)
    }
    /// By its name; `None` if there is none such ([`DiskProfile::NAMES`]).
    pub fn named(name: &str) -> Option<DiskProfile> {
        match name {
            "nvme" => Some(DiskProfile::nvme()),
            "ssd" => Some(DiskProfile::ssd()),
            "network" => Some(DiskProfile::network()),
            "spinning" => Some(DiskProfile::spinning()),
            _ => None,
        }
    }
    /// The names of the tables.
    pub const NAMES: [&'static str; 4] = ["nvme", "ssd", "network", "spinning"];

    fn of(name: &str, micros: [u64; 4], bandwidth: u64, queue: u32) -> DiskProfile {
        let [write, read, fsync, names] = micros.map(|m| m * 1_000);
        DiskProfile {
            name: name.to_owned(),
            write_nanos: write,
            read_nanos: read,
            fsync_nanos: fsync,
            names_nanos: names,
            bandwidth,
            copy_rate: 4_000_000_000,
            queue,
        }
    }
}

/// How long `bytes` take at `rate` bytes per second; a rate of 0 counts as 1.
pub(super) fn transfer(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
