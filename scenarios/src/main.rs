//! The `klamm` command.

use std::process::ExitCode;

/// A fifth faster than the system's, where a seed is a million small messages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    klamm_scenarios::cli::main()
}
