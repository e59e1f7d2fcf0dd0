//! What memory the process holds, as the system counts it: the simulation does not know.

/// Resident memory in bytes; `None` where the system does not say.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Prints it, for a virtual time since hardship began (nanoseconds).
pub(super) fn tell(virtual_ns: u64) {
    let (minutes, seconds) = (virtual_ns / 60_000_000_000, virtual_ns / 1_000_000_000 % 60);
    match resident() {
        Some(bytes) => println!("  memory at {minutes:>2}:{seconds:02} virtual: {:.1} MiB", bytes as f64 / 1_048_576.0),
        None => println!("  memory at {minutes:>2}:{seconds:02} virtual: the system does not say"),
    }
}
