//! `klamm audit`: a team's own properties files on trial.

use super::{bounds, output, run};
use crate::audit::{self, Place, Subject, Sweep};
use crate::interrupt::interrupt;
use crate::schema::{Scenario, to_toml};
use crate::{artefacts, campaign, suggest};
use indicatif::{ProgressBar, ProgressDrawTarget};
use klamm_reports::audit::{AuditRecord, SCHEMA};
use klamm_reports::write_whole;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The producers' settings, as a Java properties file; Kafka's defaults, if not given.
    #[arg(long, value_name = "FILE")]
    producer: Option<PathBuf>,
    /// The consumers' settings, of a group; `group.instance.id` makes its members static.
    #[arg(long, value_name = "FILE")]
    consumer: Option<PathBuf>,
    /// The topic's settings.
    #[arg(long, value_name = "FILE")]
    topic: Option<PathBuf>,
    /// The brokers' settings (`server.properties`).
    #[arg(long, value_name = "FILE")]
    broker: Option<PathBuf>,
    /// Seeds of each class of fault.
    #[arg(long, value_name = "N", default_value_t = 20)]
    seeds: u64,
    /// Only this class of fault, such as `leader-crash`; may be given several times.
    #[arg(long, value_name = "NAME")]
    fault: Vec<String>,
    /// Do not try changes.
    #[arg(long)]
    no_changes: bool,
    /// The seed that all others derive from: a number, 0x..., a git hash, or `random` [default: 0x5eed].
    #[arg(long, value_name = "S")]
    master: Option<String>,
    /// Threads; as many as there are cores, if not said.
    #[arg(short = 'j', long, value_name = "N", value_parser = bounds::jobs)]
    jobs: Option<usize>,
    /// Where to leave the audit's folder.
    #[arg(long, value_name = "DIR", default_value = "target/klamm")]
    out: PathBuf,
}

/// The classes asked for: all, if none is named.
fn classes(named: &[String]) -> miette::Result<Vec<Scenario>> {
    let mut all = audit::classes();
    let short = |c: &Scenario| c.name.trim_start_matches("audit-").to_owned();
    let names: Vec<String> = all.iter().map(short).collect();
    if let Some(unknown) = named.iter().find(|n| !names.contains(n)) {
        let hint = suggest::nearest(unknown, names.iter().map(String::as_str));
        return Err(miette::miette!(help = names.join(", "), "--fault: there is no class `{unknown}`{hint}"));
    }
    all.retain(|c| named.is_empty() || named.contains(&short(c)));
    Ok(all)
}

/// Audits, prints the verdict, and leaves a folder.
///
/// # Errors
/// Bad input, or a folder that cannot be written.
pub fn audit(args: &Args) -> miette::Result<u8> {
    let mut subject = Subject::default();
    let files = [
        (Place::Producer, &args.producer),
        (Place::Consumer, &args.consumer),
        (Place::Topic, &args.topic),
        (Place::Broker, &args.broker),
    ];
    for (place, file) in files {
        if let Some(file) = file {
            for said in subject.read(place, file)? {
                eprintln!("warning: {said}");
            }
        }
    }
    if args.seeds == 0 {
        return Err(miette::miette!("--seeds 0 runs nothing"));
    }
    if args.seeds > bounds::MAX_AUDIT_SEEDS {
        return Err(miette::miette!("--seeds {}: at most {} of each class", args.seeds, bounds::MAX_AUDIT_SEEDS));
    }
    let master = run::master(args.master.as_deref())?;
    output::folder("--out", &args.out)?;
    interrupt().cooperate();
    let classes = classes(&args.fault)?;
    let how =
        Sweep { classes: &classes, master, seeds: args.seeds, jobs: run::threads(args.jobs), interrupt: interrupt() };
    let mut changes = if args.no_changes { Vec::new() } else { audit::changes(&subject) };
    let all = (1 + changes.len() as u64) * classes.len() as u64 * args.seeds;
    println!(
        "klamm {} · audit · {} classes of fault x {}, {} changes · master {master} · des · -j {}",
        env!("CARGO_PKG_VERSION"),
        classes.len(),
        klamm_reports::text::count(args.seeds, "seed"),
        changes.len(),
        how.jobs
    );
    let bar = ProgressBar::new(all);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let done = || bar.inc(1);
    let found = audit::sweep(&subject, &how, &done);
    for (record, changed) in &mut changes {
        record.classes = audit::sweep(changed, &how, &done);
    }
    // Of a change only the whole is compared with the whole.
    changes.retain(|(record, _)| record.classes.iter().all(|c| c.seeds == c.planned));
    bar.finish_and_clear();
    let settings = [Place::Producer, Place::Consumer, Place::Topic, Place::Broker]
        .map(|p| (p.name().to_owned(), subject.of(p).clone()));
    let record = AuditRecord {
        schema: SCHEMA,
        interrupted: interrupt().code(),
        klamm: env!("CARGO_PKG_VERSION").to_owned(),
        master: master.to_string(),
        settings: settings.into_iter().filter(|(_, s)| !s.is_empty()).collect::<BTreeMap<_, _>>(),
        hazards: audit::hazards(&subject, &found),
        classes: found,
        changes: changes.into_iter().map(|(record, _)| record).collect(),
        not_modelled: subject.not_modelled.clone(),
        combinations: audit::combinations(&subject),
    };
    let folder = artefacts::fresh_folder(
        &args.out,
        &format!("audit {master} {} {:?} {subject:?}", args.seeds, args.fault),
        "scenarios",
    )?;
    let put = |name: &str, content: &str| {
        write_whole(&folder.join(name), content.as_bytes()).map_err(|e| miette::miette!("{e}"))
    };
    for class in &classes {
        let name = class.name.trim_start_matches("audit-");
        put(&format!("scenarios/{name}.toml"), &to_toml(&subject.onto(class)))?;
    }
    put("summary.md", &klamm_reports::audit::markdown(&record))?;
    put("index.html", &klamm_reports::audit::page(&record))?;
    put("audit.json", &record.to_json())?;
    print!("{}", klamm_reports::audit::console(&record));
    println!("  report: {}/index.html", campaign::shown(&folder));
    println!("  replay: klamm replay {}/scenarios/<fault>.toml --seed <seed>", campaign::shown(&folder));
    Ok(record.exit_code())
}
