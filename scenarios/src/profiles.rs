//! Named disks and networks, each figure with where it comes from. What no source gives is called an assumption.
//!
//! The figures of disks are the world's own ([`klamm_world::disk::DiskProfile`]); here stands why they are what they
//! are. `klamm list profiles` prints all of it, and every table and chart names the profile it depends on.

use klamm_model::units::Duration;
use klamm_world::disk::DiskProfile;
use std::fmt::Write;

/// The network if a scenario says nothing: a zone of a busy data centre with cards of 1 Gbit/s.
pub const DEFAULT_NETWORK: &str = "busy";

/// What a network costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NetworkFigures {
    /// The median of a message's way, one way.
    pub p50: Duration,
    /// One message in a hundred takes longer.
    pub p99: Duration,
    /// Of each host's card, bits per second.
    pub bandwidth: u64,
}

/// A named network.
#[derive(Clone, Copy, Debug)]
pub struct NetworkProfile {
    /// Its name in scenario files.
    pub name: &'static str,
    /// What it is.
    pub summary: &'static str,
    /// Its figures.
    pub figures: NetworkFigures,
    /// Where each figure comes from.
    pub sources: &'static [(&'static str, &'static str)],
}

const fn figures(p50_us: u64, p99_us: u64, bandwidth: u64) -> NetworkFigures {
    NetworkFigures { p50: Duration::from_micros(p50_us), p99: Duration::from_micros(p99_us), bandwidth }
}

const GBIT: u64 = 1_000_000_000;
/// J. Dean's table as it is usually quoted: a round trip within a data centre takes 500 us.
const DEAN: &str = "half of the 500 us that J. Dean's \"Latency Numbers Every Programmer Should Know\" give a round trip \
                    within a data centre (github.com/donnemartin/system-design-primer, appendix)";
const TAIL: &str = "assumption: a tail of queueing in switches and kernels";

/// Every named network.
pub const NETWORKS: &[NetworkProfile] = &[
    NetworkProfile {
        name: "busy",
        summary: "the default: one zone of a busy data centre, cards of 1 Gbit/s",
        figures: figures(250, 2_000, GBIT),
        sources: &[("p50 250us", DEAN), ("p99 2ms", TAIL), ("1 Gbit/s", "assumption: the share of a small instance")],
    },
    NetworkProfile {
        name: "same-rack",
        summary: "one switch between hosts",
        figures: figures(75, 400, 10 * GBIT),
        sources: &[
            (
                "p50 75us",
                "half of the 100 to 200 us round trip within a rack given at vetoralabs.com/system-design/concepts/foundations/latency-numbers",
            ),
            ("p99 400us", TAIL),
            ("10 Gbit/s", "assumption: the usual card of a server"),
        ],
    },
    NetworkProfile {
        name: "same-zone",
        summary: "one data centre, several switches",
        figures: figures(250, 2_000, 10 * GBIT),
        sources: &[("p50 250us", DEAN), ("p99 2ms", TAIL), ("10 Gbit/s", "assumption: the usual card of a server")],
    },
    NetworkProfile {
        name: "cross-zone",
        summary: "availability zones of one region",
        figures: figures(500, 2_500, 5 * GBIT),
        sources: &[
            (
                "p50 500us",
                "half of a round trip of 1 ms: flashgrid.io, \"Latencies between AWS availability zones\" (2023), discusses 0.5 to 1.5 ms",
            ),
            ("p99 2.5ms", TAIL),
            ("5 Gbit/s", "assumption: what one flow gets between zones"),
        ],
    },
    NetworkProfile {
        name: "cross-region",
        summary: "regions of one continent",
        figures: figures(30_000, 45_000, GBIT),
        sources: &[
            (
                "p50 30ms",
                "half of a round trip of 60 ms: vetoralabs.com/system-design/concepts/foundations/latency-numbers gives 40 to 70 ms from coast to coast",
            ),
            ("p99 45ms", "assumption: detours and congestion"),
            ("1 Gbit/s", "assumption"),
        ],
    },
];

/// A named network.
pub fn network(name: &str) -> Option<&'static NetworkProfile> {
    NETWORKS.iter().find(|n| n.name == name)
}

/// The names of networks.
pub fn network_names() -> Vec<&'static str> {
    NETWORKS.iter().map(|n| n.name).collect()
}

const CALLAGHAN: &str =
    "M. Callaghan, \"SSDs, power loss protection and fsync latency\" (smalldatum.blogspot.com, January 2026)";
const CACHE: &str = "assumption: a system call, a copy and the file system's bookkeeping";
const QUEUE: &str = "assumption";

/// A figure, and where it comes from.
type Sourced = (&'static str, &'static str);

/// Where the figures of the world's disks come from: name, what it is, and each figure.
const DISKS: &[(&str, &str, [Sourced; 5])] = &[
    (
        "nvme",
        "a local NVMe drive with power-loss protection",
        [
            (
                "fsync 250us",
                "assumption: the journal's commit above the 12 to 58 us that the drive itself takes, as measured by",
            ),
            ("read 90us", "assumption: a data-centre drive under some load"),
            ("buffered write 12us", CACHE),
            (
                "2 GB/s",
                "sequential writes of PCIe 3.0 drives: 2.0 to 2.5 GB/s (darwinsdata.com, \"What is the best read and write speed for SSD\")",
            ),
            ("32 at a time", QUEUE),
        ],
    ),
    (
        "ssd",
        "a SATA SSD without power-loss protection",
        [
            ("fsync 2ms", "between the 0.9 and 10 ms measured on drives without protection by"),
            ("read 180us", "150 us of J. Dean's table (leetdezine.com, Latency Numbers) and some queueing: assumption"),
            ("buffered write 15us", CACHE),
            (
                "450 MB/s",
                "SATA's limit: 530 MB/s at best (data sheet of Kingston DC600M), less what is kept free: assumption",
            ),
            ("8 at a time", QUEUE),
        ],
    ),
    (
        "network",
        "network block storage of a cloud",
        [
            (
                "fsync 3.5ms",
                "assumption: two writes, data and journal, at the single-digit milliseconds that AWS states for gp3 (docs.aws.amazon.com/ebs, EBS volume types)",
            ),
            (
                "read 900us",
                "assumption: above the 500 us average that AWS states for io2 Block Express (docs.aws.amazon.com/ebs, EBS optimization)",
            ),
            ("buffered write 15us", CACHE),
            (
                "250 MB/s",
                "assumption: within the 125 to 1000 MiB/s that a gp3 volume can be given (AWS API, throughput)",
            ),
            ("16 at a time", QUEUE),
        ],
    ),
    (
        "spinning",
        "a hard disk of 7200 rpm",
        [
            (
                "fsync 14ms",
                "8.2 ms average seek for writes and 4.16 ms for half a turn (specification of WD Ultrastar DC HC310), and the journal's part: assumption",
            ),
            (
                "read 7ms",
                "assumption: shorter seeks than the average of 7.4 ms, and half a turn (the same specification)",
            ),
            ("buffered write 20us", CACHE),
            ("150 MB/s", "assumption: the inner tracks"),
            ("1 at a time", "one arm"),
        ],
    ),
];

/// All profiles in words, as `klamm list profiles` prints them.
pub fn in_words() -> String {
    let mut out = String::from("disks (`disk = ...`): medians; one in sixteen takes 1.8 times as long or more\n");
    for (name, summary, sources) in DISKS {
        let _ = writeln!(out, "\n{name}  {summary}");
        for (figure, source) in sources {
            let by = if source.ends_with(" by") { CALLAGHAN } else { "" };
            let _ = writeln!(out, "    {figure:<20} {source}{}{by}", if by.is_empty() { "" } else { " " });
        }
    }
    out.push_str("\nnetworks (`network = ...`): one way, each host's card\n");
    for n in NETWORKS {
        let _ = writeln!(out, "\n{}  {}", n.name, n.summary);
        for (figure, source) in n.sources {
            let _ = writeln!(out, "    {figure:<20} {source}");
        }
    }
    out.push_str("\nAll of it is modelled: the figures have the shape of such machines, and were measured on none.\n");
    out
}

/// A disk in a few words, for the line below a chart.
pub fn disk_in_words(p: &DiskProfile) -> String {
    format!("disk {} (fsync {})", p.name, klamm_reports::text::time(p.fsync_nanos))
}

/// A network in a few words, for the line below a chart.
pub fn network_in_words(name: &str, f: &NetworkFigures) -> String {
    let time = |d: Duration| klamm_reports::text::time(d.as_nanos());
    format!("network {name} ({}, 1 in 100 above {}, {})", time(f.p50), time(f.p99), bits(f.bandwidth))
}

fn bits(per_second: u64) -> String {
    match per_second {
        n if n >= GBIT && n % GBIT == 0 => format!("{} Gbit/s", n / GBIT),
        n if n >= 1_000_000 => format!("{} Mbit/s", n / 1_000_000),
        n => format!("{} kbit/s", n / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A figure as text in nanoseconds, bytes or places, for comparison.
    fn said(text: &str) -> f64 {
        let word = text.trim_start_matches(|c: char| !c.is_ascii_digit());
        let digits: String = word.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let factor = [("us", 1e3), ("ms", 1e6), (" GB/s", 1e9), (" MB/s", 1e6), (" Gbit/s", 1e9), (" at a time", 1.0)];
        let unit = &word[digits.len()..];
        digits.parse::<f64>().unwrap() * factor.iter().find(|(u, _)| unit == *u).unwrap_or_else(|| panic!("{text}")).1
    }

    #[test]
    fn what_is_said_of_a_disk_is_what_the_world_does() {
        for name in DiskProfile::NAMES {
            let p = DiskProfile::named(name).unwrap();
            let (_, _, sources) = DISKS.iter().find(|d| d.0 == name).unwrap_or_else(|| panic!("{name} has no sources"));
            let figures = [p.fsync_nanos, p.read_nanos, p.write_nanos, p.bandwidth, u64::from(p.queue)];
            for ((text, _), figure) in sources.iter().zip(figures) {
                assert_eq!(said(text), figure as f64, "{name}: {text}");
            }
        }
    }

    #[test]
    fn what_is_said_of_a_network_is_what_it_costs() {
        for n in NETWORKS {
            let f = n.figures;
            let figures = [f.p50.as_nanos(), f.p99.as_nanos(), f.bandwidth];
            for ((text, source), figure) in n.sources.iter().zip(figures) {
                let text = text.trim_start_matches("p50 ").trim_start_matches("p99 ");
                assert_eq!(said(text), figure as f64, "{}: {text}", n.name);
                assert!(!source.is_empty());
            }
        }
    }
}
