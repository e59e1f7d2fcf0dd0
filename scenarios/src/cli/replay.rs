//! `klamm replay` and `klamm shrink`.

use crate::artefacts::{VerdictFile, in_words, witness_lines};
use crate::run::{Options, SeedOutcome, run_resolved};
use crate::schema::{self, Scenario, Span};
use crate::seeds::Seed;
use crate::{catalog, shrink as shrinking};
use klamm_world::faults::{Planned, Schedule};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// A failure's folder, or a scenario (then with --seed).
    what: String,
    /// A derived seed of the scenario.
    #[arg(long)]
    seed: Option<Seed>,
    /// Print every event.
    #[arg(long)]
    trace: bool,
    /// Print events up to this moment only, such as 12.345s.
    #[arg(long, requires = "trace")]
    until: Option<String>,
    /// Switch a published bug on (with --seed; a failure's folder knows its own).
    #[arg(long, value_name = "ID", requires = "seed")]
    defect: Vec<String>,
}

#[derive(clap::Args)]
pub struct ShrinkArgs {
    /// A failure's folder.
    folder: PathBuf,
}

/// A failure's folder, read.
struct Failure {
    scenario: Scenario,
    schedule: Vec<Planned>,
    fired: Vec<Planned>,
    verdict: VerdictFile,
    seed: Seed,
}

fn read(folder: &Path, name: &str) -> miette::Result<String> {
    let path = folder.join(name);
    std::fs::read_to_string(&path).map_err(|e| {
        miette::miette!(
            help = "a failure's folder has scenario.toml, schedule.toml, fired.toml and verdict.json",
            "{}: {e}",
            path.display()
        )
    })
}

fn read_schedule(folder: &Path, name: &str) -> miette::Result<Vec<Planned>> {
    let text = read(folder, name)?;
    let file: Schedule = toml::from_str(&text).map_err(|e| {
        let line = e.span().map_or(0, |s| text[..s.start.min(text.len())].matches('\n').count() + 1);
        miette::miette!("{}:{line}: {}", folder.join(name).display(), e.message())
    })?;
    Ok(file.faults)
}

fn read_failure(folder: &Path) -> miette::Result<Failure> {
    let path = folder.join("scenario.toml");
    read(folder, "scenario.toml")?;
    let scenario = schema::load(&path)?;
    let text = read(folder, "verdict.json")?;
    let place = folder.join("verdict.json");
    let verdict: VerdictFile = serde_json::from_str(&text).map_err(|e| miette::miette!("{}: {e}", place.display()))?;
    let seed = verdict.seed.parse().map_err(|e| miette::miette!("{}: {e}", place.display()))?;
    if verdict.findings.is_empty() {
        return Err(miette::miette!("{}: no findings: nothing to show again", place.display()));
    }
    let (schedule, fired) = (read_schedule(folder, "schedule.toml")?, read_schedule(folder, "fired.toml")?);
    Ok(Failure { scenario, schedule, fired, verdict, seed })
}

fn print_findings(outcome: &SeedOutcome, scenario: &Scenario) {
    let trace = outcome.recording.as_ref().map_or(&[][..], |r| &r.trace);
    for found in outcome.violations(scenario) {
        println!("{}  {}  at {:.9}s", found.check, found.detail, found.at as f64 / 1e9);
        for (at, place, what) in witness_lines(&found.witness, trace) {
            println!("    {:.9}s  {place:<12} {what}", at as f64 / 1e9);
        }
    }
    let permitted = outcome.findings.iter().filter(|f| f.permitted.is_some()).count();
    println!("{} events, digest {:016x}, {permitted} permitted findings", outcome.events, outcome.digest);
}

fn print_trace(outcome: &SeedOutcome, until: Option<&String>) -> miette::Result<()> {
    let until = match until {
        None => u64::MAX,
        Some(text) => Span::parse(text)
            .ok_or_else(|| miette::miette!("--until `{text}`: expected a time such as 12.345s"))?
            .0
            .as_nanos(),
    };
    if let Some(r) = &outcome.recording {
        for t in r.trace.iter().take_while(|t| t.at <= until) {
            let at = t.at as f64 / 1e9;
            println!("{at:.9}s #{:<7} <-#{:<7} {:<10} {:<15} {}", t.ordinal, t.cause, t.place, t.kind, t.text);
        }
    }
    Ok(())
}

/// Runs a failure, or one seed, again.
///
/// # Errors
/// Bad input.
pub fn replay(args: &Args) -> miette::Result<u8> {
    let folder = Path::new(&args.what);
    if folder.is_dir() && args.seed.is_none() {
        return replay_failure(folder, args);
    }
    let Some(seed) = args.seed else {
        return Err(miette::miette!(
            help = "klamm replay <failure's folder>, or klamm replay <scenario> --seed S",
            "`{}` is not a failure's folder, and a scenario needs --seed",
            args.what
        ));
    };
    let scenarios = catalog::find(&args.what)?;
    let [scenario] = &scenarios[..] else {
        return Err(miette::miette!("`{}` means {} scenarios; name one", args.what, scenarios.len()));
    };
    let defects = super::run::defects(&args.defect)?;
    let (resolved, schedule) = schema::resolve(scenario, seed.0);
    println!("{} · seed {seed} · faults: {}", scenario.name, in_words(&schedule));
    let outcome = run_resolved(resolved, schedule, seed.0, &Options { defects, record: true, ..Options::default() });
    if args.trace {
        print_trace(&outcome, args.until.as_ref())?;
    }
    print_findings(&outcome, scenario);
    Ok(if outcome.violations(scenario).next().is_some() { super::VIOLATED } else { super::HELD })
}

fn replay_failure(folder: &Path, args: &Args) -> miette::Result<u8> {
    let f = read_failure(folder)?;
    let options = Options { defects: f.verdict.defects()?, record: true, ..Options::default() };
    println!("{} · {} · seed {} · faults: {}", f.verdict.id, f.scenario.name, f.seed, in_words(&f.fired));
    let outcome = run_resolved(f.scenario.clone(), f.schedule, f.seed.0, &options);
    if args.trace {
        print_trace(&outcome, args.until.as_ref())?;
    }
    print_findings(&outcome, &f.scenario);
    if format!("{:016x}", outcome.digest) != f.verdict.digest {
        eprintln!("the digest is {:016x}, and was {}: not the same run", outcome.digest, f.verdict.digest);
        return Ok(super::NONDETERMINISTIC);
    }
    let (now, then) = (outcome.violations(&f.scenario).next(), &f.verdict.findings[0]);
    match now {
        Some(now) if now.check == then.check && now.at == then.at => {
            println!("reproduced: {} at the same virtual nanosecond", then.check);
            Ok(super::VIOLATED)
        }
        _ => {
            eprintln!("not reproduced: {} at {} was expected", then.check, then.at);
            Ok(super::NONDETERMINISTIC)
        }
    }
}

/// Shrinks a failure's schedule, and saves the result beside it.
///
/// # Errors
/// Bad input, or if the failure does not happen again.
pub fn shrink(args: &ShrinkArgs) -> miette::Result<u8> {
    let f = read_failure(&args.folder)?;
    let options = Options { defects: f.verdict.defects()?, ..Options::default() };
    let check = &f.verdict.findings[0].check;
    let Some(shrunk) = shrinking::shrink(&f.scenario, &f.scenario, &f.fired, f.seed.0, check, &options) else {
        return Err(miette::miette!("`{check}` was not violated again under fired.toml: nothing to shrink"));
    };
    println!("{} -> {} faults in {} runs", f.fired.len(), shrunk.schedule.len(), shrunk.attempts);
    for planned in &shrunk.schedule {
        println!("  {}", in_words(std::slice::from_ref(planned)));
    }
    print_findings(&shrunk.outcome, &f.scenario);
    let text = toml::to_string(&Schedule { faults: shrunk.schedule }).expect("a schedule is TOML");
    let path = args.folder.join("shrunk.toml");
    klamm_reports::write_whole(&path, text.as_bytes()).map_err(|e| miette::miette!("{e}"))?;
    println!("saved as {}", path.display());
    Ok(super::HELD)
}
