//! The command line: what the user types, and what the shell gets back.

mod audit;
mod bounds;
mod check;
mod compare;
mod defects;
mod init;
mod list;
mod memory;
mod net;
mod output;
mod parity;
mod progress;
mod replay;
mod report;
mod run;
mod serve;
mod versus;

use crate::{interrupt, recheck};
use clap::{Parser, Subcommand};
use klamm_reports::verdict::Verdict;
use std::process::ExitCode;

pub use klamm_reports::verdict::{BAD_INPUT, GATE};

/// Everything held.
pub const HELD: u8 = Verdict::Held.code();
/// A guarantee was violated.
pub const VIOLATED: u8 = Verdict::Violated.code();
/// Two runs of one seed differed.
pub const NONDETERMINISTIC: u8 = Verdict::Nondeterministic.code();
/// Something that must happen did not.
pub const NOT_SHOWN: u8 = Verdict::NotShown.code();

const AFTER_HELP: &str = "\
Begin with:
  klamm list smoke                      what is there to run
  klamm run smoke                       run it, and see target/klamm/<run>/index.html
  klamm replay target/klamm/<run>/<id>  one of its failures again, exactly
  klamm init my-scenario.toml           a commented scenario of your own to start from

Exit codes: 0 held · 1 a guarantee was violated · 2 usage or bad input, nothing was run · 3 nondeterminism ·
            4 not shown: a mark, a hazard, a fault's effect, or anything to judge (for `defects hunt`: a defect was
            not caught) · 5 a figure got worse than --gate allows · 130, 143 interrupted
            Of several the first of 130, 143, 3, 1, 4, 5.
KLAMM_LOG=debug shows the harness's own log; NO_COLOR is honoured.";

#[derive(Parser)]
#[command(
    name = "klamm",
    version,
    about = "Puts Kafka on trial: seeded faults, judged histories, replayable failures.",
    after_help = AFTER_HELP
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run scenarios over many seeds, judge each, and leave a report.
    Run(run::Args),
    /// Run a failure again, exactly, or one seed of a scenario file.
    Replay(replay::Args),
    /// Run the variants of one scenario under the same seeds, and draw what each costs and loses; or compare runs.
    Compare(compare::Args),
    /// Run scenarios in both worlds: each must promise the same in both.
    Parity(parity::Args),
    /// Put a team's own properties files on trial under every class of fault.
    Audit(audit::Args),
    /// Find the smallest schedule of faults that still fails.
    Shrink(replay::ShrinkArgs),
    /// Draw a run again, or put the shards of one together.
    Report(report::Args),
    /// Serve a cluster that clients connect to.
    Serve(serve::Args),
    /// Judge a recorded history.
    Check(check::Args),
    /// Published Kafka bugs and single mistakes, to be switched on one at a time.
    Defects(defects::Args),
    /// Write a commented scenario to start from.
    Init(init::Args),
    /// Suites and scenarios, with what each promises; the words of scenario files.
    List(list::Args),
    /// The fresh process of the determinism check.
    #[command(name = recheck::WORKER, hide = true)]
    RecheckWorker,
}

/// Parses the command line, does what it says, and prints what is wrong, if anything is.
pub fn main() -> ExitCode {
    init_tracing();
    init_errors();
    end_with_the_reader();
    let command = Cli::parse().command;
    // A server ends in order by itself.
    if !matches!(command, Command::Serve(_)) {
        interrupt::listen();
    }
    let done = match command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Parity(args) => parity::parity(&args),
        Command::Audit(args) => audit::audit(&args),
        Command::Shrink(args) => replay::shrink(&args),
        Command::Report(args) => report::report(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Check(args) => check::check(&args),
        Command::Defects(args) => defects::defects(&args),
        Command::Init(args) => init::init(&args),
        Command::List(args) => list::list(&args),
        Command::RecheckWorker => recheck::work().map(|()| HELD),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::from(BAD_INPUT)
        }
    }
}

/// `KLAMM_LOG=debug` shows the harness's own log; it must not change any result.
fn init_tracing() {
    let Ok(filter) = std::env::var("KLAMM_LOG") else { return };
    let filter = tracing_subscriber::EnvFilter::new(filter);
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// What a server has to say, unless `KLAMM_LOG` says how much of it.
fn log_warnings() {
    if std::env::var_os("KLAMM_LOG").is_none() {
        tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    }
}

/// Errors are wrapped for people who sit at a terminal; in a log, a message stays one line that can be searched.
fn init_errors() {
    use std::io::IsTerminal;
    let wrap = std::io::stderr().is_terminal();
    // It can be set once only, and this is the only place.
    let _ = miette::set_hook(Box::new(move |_| Box::new(miette::MietteHandlerOpts::new().wrap_lines(wrap).build())));
}

/// `klamm list | head`: when nobody reads on, there is nothing to complain about.
fn end_with_the_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let message = info.payload_as_str().unwrap_or_default();
        if message.starts_with("failed printing to stdout") && message.contains("Broken pipe") {
            // What a shell sees of a program that SIGPIPE ended.
            std::process::exit(141);
        }
        if let Some(why) = message.strip_prefix("failed printing to stdout: ") {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "cannot write to standard output: {why}");
            std::process::exit(i32::from(BAD_INPUT));
        }
        usual(info);
    }));
}

/// Whether colours are wanted: a terminal, and no `NO_COLOR`.
fn paint() -> klamm_reports::console::Paint {
    use std::io::IsTerminal;
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    klamm_reports::console::Paint { colour }
}
