//! `klamm init`: a scenario to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The scenario that is written. A test runs it.
pub const STARTER: &str = include_str!("starter.toml");

/// The file's name in a directory.
const NAME: &str = "scenario.toml";

#[derive(clap::Args)]
pub struct Args {
    /// Where: a file that ends in .toml, or a directory, in which it is called scenario.toml. Nothing is ever overwritten.
    #[arg(value_name = "DIR | FILE", default_value = ".")]
    place: PathBuf,
}

/// Writes the starter.
///
/// # Errors
/// If there is such a file already, or it cannot be written.
pub fn init(args: &Args) -> miette::Result<u8> {
    let is_file = args.place.extension().is_some_and(|e| e == "toml") && !args.place.is_dir();
    let file = if is_file { args.place.clone() } else { args.place.join(NAME) };
    let name = file.display().to_string();
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| miette::miette!("{}: {e}", folder.display()))?;
    }
    write_new(&file).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => {
            miette::miette!(
                help = "name another file: klamm init other.toml",
                "{name} is there already, and stays as it is"
            )
        }
        _ => miette::miette!("{name}: {e}"),
    })?;
    println!("wrote {name}: three brokers, a producer, a consumer, and a leader that dies");
    println!("  run it:          klamm run {name} --seeds 20");
    println!("  words it takes:  klamm list faults | marks | checks | settings");
    Ok(super::HELD)
}

/// Creates the file; fails if there is one.
fn write_new(file: &Path) -> std::io::Result<()> {
    let mut new = OpenOptions::new().write(true).create_new(true).open(file)?;
    new.write_all(STARTER.as_bytes())?;
    new.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Options, run_seed};
    use crate::schema::{check, parse};
    use crate::seeds::Seed;

    #[test]
    fn the_starter_has_every_table_and_holds_as_it_is() {
        let scenario = parse("starter.toml", STARTER).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(check(&scenario), Ok(Vec::new()), "not a warning either");
        for table in ["[cluster]", "[broker]", "[[topic]]", "[[clients]]", "[[fault]]", "[expect]"] {
            assert!(STARTER.lines().any(|line| line.starts_with(table)), "{table}");
        }
        for n in 0..5 {
            let outcome = run_seed(&scenario, Seed(0x5eed).derive(&scenario.name, n).0, &Options::default());
            let found: Vec<_> = outcome.violations(&scenario).map(|f| (&f.check, &f.detail)).collect();
            assert!(found.is_empty() && outcome.summary.acknowledged > 100, "{found:?}");
        }
    }
}
