//! `klamm replay` and `klamm shrink`.

use super::output;
use crate::artefacts::{VerdictFile, in_words, read_verdict, witness_lines};
use crate::interrupt::interrupt;
use crate::refusals::refuses;
use crate::run::{Found, Options, SeedOutcome, WorldKind, run_resolved};
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
    #[arg(long, value_name = "S")]
    seed: Option<Seed>,
    /// Print every event.
    #[arg(long)]
    trace: bool,
    /// Print events up to this moment only, such as 12.345s.
    #[arg(long, value_name = "TIME", requires = "trace")]
    until: Option<String>,
    /// Which of a failure's schedules: `schedule` (as drawn), `fired` (what it became) or `shrunk` (what is left of it).
    #[arg(long, value_name = "WHICH", default_value = "schedule", value_parser = ["schedule", "fired", "shrunk"])]
    #[arg(conflicts_with = "seed")]
    schedule: String,
    /// The world to run in (with --seed; a failure's folder knows its own).
    #[arg(long, value_name = "WORLD", default_value_t = WorldKind::Des, requires = "seed")]
    world: WorldKind,
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

/// What a failure's folder must have to be run again.
const NEEDED: &str = "a failure's folder has scenario.toml, schedule.toml, fired.toml and verdict.json";

/// One of a failure's files, as it was written.
fn read(folder: &Path, name: &str, verdict: &VerdictFile) -> miette::Result<String> {
    let path = folder.join(name);
    let place = path.display();
    let bytes = std::fs::read(&path).map_err(|e| miette::miette!(help = NEEDED, "{place}: {e}"))?;
    if let Some(difference) = verdict.files.get(name).and_then(|note| note.difference(&bytes)) {
        let (scenario, seed) = (&verdict.scenario, &verdict.seed);
        return Err(miette::miette!(
            help = format!("`klamm run {scenario} --seed {seed}` writes the failure again"),
            "{place}: {difference}"
        ));
    }
    String::from_utf8(bytes)
        .map_err(|e| miette::miette!("{place}: not text: the byte at {} is not UTF-8", e.utf8_error().valid_up_to()))
}

fn read_schedule(folder: &Path, name: &str, f: &VerdictFile, scenario: &Scenario) -> miette::Result<Vec<Planned>> {
    let text = read(folder, name, f)?;
    let place = folder.join(name);
    let file: Schedule = toml::from_str(&text).map_err(|e| {
        let before = &text[..e.span().map_or(0, |s| s.start.min(text.len()))];
        let (line, column) =
            (before.matches('\n').count() + 1, before.len() - before.rfind('\n').map_or(0, |n| n + 1) + 1);
        miette::miette!("{}:{line}:{column}: {}", place.display(), e.message())
    })?;
    let hosts = schema::hosts(scenario);
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let checked = file.check(&hosts).and_then(|()| file.check_can(|action| refuses(f.world, action)));
    checked.map_err(|e| miette::miette!("{}: {e}", place.display()))?;
    Ok(file.faults)
}

fn read_failure(folder: &Path) -> miette::Result<Failure> {
    if !folder.is_dir() {
        return Err(miette::miette!(help = NEEDED, "{}: no such folder", folder.display()));
    }
    if folder.join("run.json").exists() {
        return Err(miette::miette!(
            help = "its failures are the folders in it, such as the ones its index.html names",
            "{}: this is a run's folder, not a failure's",
            folder.display()
        ));
    }
    let verdict = read_verdict(folder)?;
    let place = folder.join("verdict.json");
    let seed: Seed = verdict.seed.parse().map_err(|e| miette::miette!("{}: {e}", place.display()))?;
    let place = folder.join("scenario.toml");
    let scenario = schema::parse_drawn(&place.display().to_string(), &read(folder, "scenario.toml", &verdict)?)?;
    super::run::refuse(&mut vec![scenario.clone()], verdict.world, false)?;
    if schema::resolve(&scenario, seed.0).0 != scenario {
        return Err(miette::miette!(
            help = "klamm replay <scenario> --seed S runs a seed of such a scenario",
            "{}: it still has values to be drawn; a failure's scenario has none",
            place.display()
        ));
    }
    let schedule = read_schedule(folder, "schedule.toml", &verdict, &scenario)?;
    let fired = read_schedule(folder, "fired.toml", &verdict, &scenario)?;
    Ok(Failure { scenario, schedule, fired, verdict, seed })
}

fn print_findings(outcome: &SeedOutcome, scenario: &Scenario) {
    let trace = outcome.recording.as_ref().map_or(&[][..], |r| &r.trace);
    for found in outcome.violations(scenario).map(Found::as_violation) {
        println!("{}  {}  at {:.9}s", found.check, found.detail, found.at as f64 / 1e9);
        for (at, place, what) in witness_lines(&found.witness, trace) {
            println!("    {:.9}s  {place:<12} {what}", at as f64 / 1e9);
        }
    }
    let permitted: Vec<_> = outcome.findings.iter().filter_map(|f| Some((&f.check, f.permitted?.meaning()))).collect();
    let count = klamm_reports::text::count(permitted.len() as u64, "permitted finding");
    println!("{} events, digest {:016x}, {count}", outcome.events, outcome.digest);
    let mut by_cause: std::collections::BTreeMap<_, u64> = std::collections::BTreeMap::new();
    permitted.into_iter().for_each(|found| *by_cause.entry(found).or_default() += 1);
    for ((check, cause), n) in by_cause {
        println!("  permitted: {n} of {check} ({cause})");
    }
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
    // Whatever looks like a place is taken for one, so that what is missing there can be said.
    let is_place = folder.is_dir() || args.what.contains(std::path::MAIN_SEPARATOR) && !folder.is_file();
    if is_place && args.seed.is_none() {
        return replay_failure(folder, args);
    }
    let Some(seed) = args.seed else {
        return Err(miette::miette!(
            help = "klamm replay <failure's folder>, or klamm replay <scenario> --seed S",
            "`{}` is no failure's folder, and a scenario needs --seed",
            args.what
        ));
    };
    let mut scenarios = catalog::find(&args.what)?;
    super::run::refuse(&mut scenarios, args.world, false)?;
    let [scenario] = &scenarios[..] else {
        return Err(miette::miette!("`{}` means {} scenarios; name one", args.what, scenarios.len()));
    };
    let defects = super::run::defects(&args.defect)?;
    let (resolved, schedule) = schema::resolve(scenario, seed.0);
    println!("{} · seed {seed} · faults: {}", scenario.name, in_words(&schedule));
    let options = Options { world: args.world, defects, record: true, ..Options::default() };
    let outcome = run_resolved(resolved, schedule, seed.0, &options);
    if args.trace {
        print_trace(&outcome, args.until.as_ref())?;
    }
    print_findings(&outcome, scenario);
    Ok(if outcome.violations(scenario).next().is_some() { super::VIOLATED } else { super::HELD })
}

fn replay_failure(folder: &Path, args: &Args) -> miette::Result<u8> {
    let f = read_failure(folder)?;
    let options = Options { world: f.verdict.world, defects: f.verdict.defects()?, record: true, ..Options::default() };
    let (schedule, digest) = match args.schedule.as_str() {
        "fired" => (f.fired, Some(&f.verdict.fired_digest)),
        "shrunk" => (read_schedule(folder, "shrunk.toml", &f.verdict, &f.scenario)?, None),
        _ => (f.schedule, Some(&f.verdict.digest)),
    };
    println!("{} · {} · seed {} · faults: {}", f.verdict.id, f.scenario.name, f.seed, in_words(&schedule));
    if !f.verdict.defects.is_empty() {
        println!("defects switched on: {}", f.verdict.defects.join(", "));
    }
    let outcome = run_resolved(f.scenario.clone(), schedule, f.seed.0, &options);
    if args.trace {
        print_trace(&outcome, args.until.as_ref())?;
    }
    print_findings(&outcome, &f.scenario);
    if let Some(was) = digest
        && format!("{:016x}", outcome.digest) != *was
    {
        eprintln!("not the same run: the digest is {:016x}, and was {was}", outcome.digest);
        return Ok(super::NONDETERMINISTIC);
    }
    let then = &f.verdict.findings[0];
    // With faults taken away, what is left fails in the same way, at a moment of its own.
    let again =
        outcome.violations(&f.scenario).find(|now| now.check == then.check && (digest.is_none() || now.at == then.at));
    match again {
        Some(_) if digest.is_none() => println!("still fails: {}", then.check),
        Some(_) => println!("reproduced: {} at the same virtual nanosecond", then.check),
        None => {
            eprintln!("not reproduced: {} at {:.9}s was expected", then.check, then.at as f64 / 1e9);
            return Ok(super::NONDETERMINISTIC);
        }
    }
    Ok(super::VIOLATED)
}

/// Shrinks a failure's schedule, and saves the result beside it.
///
/// # Errors
/// Bad input, or if the failure does not happen again.
pub fn shrink(args: &ShrinkArgs) -> miette::Result<u8> {
    let f = read_failure(&args.folder)?;
    let path = args.folder.join("shrunk.toml");
    output::file("", Some(&path))?;
    interrupt().cooperate();
    let options = Options {
        world: f.verdict.world,
        defects: f.verdict.defects()?,
        interrupt: Some(interrupt().clone()),
        ..Options::default()
    };
    let check = f.verdict.findings[0].check;
    let Some(shrunk) = shrinking::shrink(&f.scenario, &f.scenario, &f.fired, f.seed.0, check, &options) else {
        if let Some(code) = interrupt().code() {
            println!("interrupted before the failure had happened again: nothing was saved");
            return Ok(code);
        }
        return Err(miette::miette!(
            help = format!("does `klamm replay {}` still show the failure?", args.folder.display()),
            "`{check}` was not violated again under fired.toml: nothing to shrink"
        ));
    };
    println!("{} -> {} faults in {} runs", f.fired.len(), shrunk.schedule.len(), shrunk.attempts);
    for planned in &shrunk.schedule {
        println!("  {}", in_words(std::slice::from_ref(planned)));
    }
    print_findings(&shrunk.outcome, &f.scenario);
    let text = toml::to_string(&Schedule { faults: shrunk.schedule }).expect("a schedule is TOML");
    output::write("", &path, &text)?;
    println!("saved as {}", path.display());
    if shrunk.interrupted {
        println!("interrupted: a smaller schedule may exist");
    }
    Ok(interrupt().code().unwrap_or(super::HELD))
}
