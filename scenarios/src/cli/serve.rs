//! `klamm serve`.

use crate::schema::MAX_FILE_BYTES;
use crate::serve::control::Control;
use crate::serve::faults::{self, Scheduled};
use crate::serve::settings;
use klamm_model::log::Recovered;
use klamm_world::live::cluster::{Cluster, ClusterSpec, Members};
use klamm_world::live::handles::raise_limit;
use klamm_world::live::host::{Ended, HostEnded};
use klamm_world::live::inject::Injector;
use klamm_world::live::supervisor::News;
use std::collections::VecDeque;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long the cluster may take until it is ready.
const READY: Duration = Duration::from_secs(60);
/// Requests to end that come within this time are one.
const ONE_REQUEST: Duration = Duration::from_millis(500);
/// How long an orderly end may take; whoever takes longer is killed.
const END: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub struct Args {
    /// How many brokers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    brokers: u32,
    /// Where the first broker listens for clients; the others take the next ports. Port 0: any that are free.
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Allow an address that others than this machine can reach. There is no authentication whatsoever.
    #[arg(long)]
    expose: bool,
    /// Where data is kept; it is recovered at the next start. Without it data is in memory, and gone at the end.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A broker's properties file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One of a broker's properties; goes before the file.
    #[arg(short, value_name = "KEY=VALUE")]
    c: Vec<String>,
    /// Serve one node only, `controller` or `broker-N`, so that each can have a process of its own. All need the same --data,
    /// --brokers, --listen and --controller.
    #[arg(long, value_name = "NODE", requires = "controller")]
    node: Option<String>,
    /// With --node: where the controller listens.
    #[arg(long, value_name = "ADDRESS", requires = "node")]
    controller: Option<SocketAddr>,
    /// Faults on a schedule, from when the cluster is ready: a file of `[[fault]]`s as in scenario files.
    #[arg(long, value_name = "FILE", conflicts_with = "node")]
    faults: Option<PathBuf>,
    /// What is drawn for the faults.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the HTTP endpoint listens that tells the state and injects faults by hand; loopback only. Port 0: any.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    control: SocketAddr,
    /// How to say that it is ready: for people, or one JSON object on one line.
    #[arg(long, default_value = "human", value_parser = ["human", "json"])]
    format: String,
}

fn members(args: &Args) -> miette::Result<Members> {
    let (Some(node), Some(controller)) = (&args.node, args.controller) else { return Ok(Members::All) };
    if node == "controller" {
        return Ok(Members::Controller(controller));
    }
    let number = node.strip_prefix("broker-").and_then(|n| n.parse().ok());
    match number.filter(|n| (1..=args.brokers).contains(n)) {
        Some(number) => Ok(Members::Broker { number, controller }),
        None => {
            Err(miette::miette!("--node {node}: expected `controller`, or `broker-1` to `broker-{}`", args.brokers))
        }
    }
}

fn spec(args: &Args) -> miette::Result<ClusterSpec> {
    for address in [Some(args.listen), args.controller].into_iter().flatten() {
        if !address.ip().is_loopback() && !args.expose {
            return Err(miette::miette!(
                "{address} can be reached from other machines, and whoever reaches it can do anything; \
                 say --expose if that is meant"
            ));
        }
        if address.ip().is_unspecified() {
            return Err(miette::miette!(
                "{address} is no address that clients could be told; name one of this machine's"
            ));
        }
    }
    if !args.control.ip().is_loopback() {
        return Err(miette::miette!("--control {}: faults can be injected from this machine only", args.control));
    }
    if args.node.is_some() && args.listen.port() == 0 {
        return Err(miette::miette!("with --node, every broker's port must be known: give --listen a port"));
    }
    let settings::Read { config, limits, said } = settings::read(args.brokers, args.config.as_deref(), &args.c)?;
    for said in said {
        eprintln!("warning: {said}");
    }
    Ok(ClusterSpec {
        brokers: args.brokers,
        listen: args.listen,
        data: args.data.clone(),
        config,
        limits,
        members: members(args)?,
    })
}

/// Serves until it is told to end.
///
/// # Errors
/// Settings or addresses that cannot be used.
pub fn serve(args: &Args) -> miette::Result<u8> {
    let spec = spec(args)?;
    let mut schedule = schedule(args)?;
    super::log_warnings();
    raise_limit();
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    let first = OnceLock::new();
    let handler = move || {
        // Asked twice: at once, as a kill would. What passes one request on to a whole group of processes sends it twice.
        if first.get_or_init(Instant::now).elapsed() > ONE_REQUEST {
            std::process::exit(130);
        }
        asked.store(true, Ordering::Relaxed);
    };
    ctrlc::set_handler(handler).map_err(|e| miette::miette!("cannot listen for signals: {e}"))?;
    let began = Instant::now();
    let cluster = Arc::new(Cluster::start(&spec).map_err(|e| miette::miette!("{e}"))?);
    let ready = args.node.is_some() || wait_until_ready(&cluster, &stop)?;
    if !ready && !stop.load(Ordering::Relaxed) {
        return Err(miette::miette!("the cluster was not ready within {READY:?}; its log is above"));
    }
    let injector = Arc::new(Injector::new(cluster.clone(), args.seed));
    let control = match args.node {
        Some(_) => None,
        None => {
            let control = Control::start(args.control, cluster.clone(), injector.clone(), args.seed);
            Some(control.map_err(|e| miette::miette!("cannot listen on {}: {e}", args.control))?)
        }
    };
    report_recovery(&cluster);
    announce(args, &cluster, control.as_ref(), began.elapsed());
    let begun = Instant::now();
    let mut failed = false;
    if args.node.is_some() {
        // What restarts a process restarts the node.
        failed = attend(&cluster, &stop);
    } else {
        // Faults end, and hosts start again, whatever aiming the next fault waits for.
        failed |= std::thread::scope(|scope| {
            let keeps = scope.spawn(|| keep(&injector, &stop, begun));
            follow(&mut schedule, &injector, &stop, begun);
            keeps.join().unwrap_or(true)
        });
    }
    let late = cluster.shut_down_all(END);
    for host in &late {
        eprintln!("{host} was not through within {END:?}, and was killed");
    }
    Ok(if failed || !late.is_empty() { super::VIOLATED } else { super::HELD })
}

/// How often faults that are over, faults that are due and hosts are looked after.
const TICK: Duration = Duration::from_millis(10);

/// Waits for a node that has a process of its own. True if it did not end in order.
fn attend(cluster: &Cluster, stop: &AtomicBool) -> bool {
    while !stop.load(Ordering::Relaxed) {
        let Some(HostEnded { host, how, .. }) = cluster.next_ended(TICK) else { continue };
        match &how {
            Ended::Exit => eprintln!("{host} has shut down"),
            Ended::Killed => eprintln!("{host} was killed"),
            Ended::Halt(reason) => eprintln!("{host} gave up: {reason}"),
            Ended::Failed(reason) => eprintln!("{host} failed, which is a defect of klamm's: {reason}"),
        }
        return how != Ended::Exit;
    }
    false
}

/// Keeps hosts running and ends faults. True if a host failed by a defect of klamm's.
fn keep(injector: &Injector, stop: &AtomicBool, begun: Instant) -> bool {
    let mut failed = false;
    while !stop.load(Ordering::Relaxed) {
        for what in injector.lift_due() {
            eprintln!("over at {:.1?}: {what}", begun.elapsed());
        }
        for news in injector.supervisor().tick() {
            failed |= matches!(&news, News::GaveUp { end, .. } if matches!(end.how, Ended::Failed(_)));
            eprintln!("{news}");
        }
        std::thread::sleep(TICK);
    }
    failed
}

/// Does the faults on a schedule, each at its time.
fn follow(schedule: &mut VecDeque<Scheduled>, injector: &Injector, stop: &AtomicBool, begun: Instant) {
    while !stop.load(Ordering::Relaxed) {
        while let Some(fault) = schedule.pop_front_if(|f| f.at <= begun.elapsed()) {
            match injector.inject(&fault.deed, fault.lasts) {
                Ok((_, what)) => eprintln!("fault at {:.1?}: {what}", begun.elapsed()),
                Err(error) => eprintln!("fault at {:.1?} not done: {error}", begun.elapsed()),
            }
        }
        std::thread::sleep(TICK);
    }
}

/// The sum of what all starts found on their disks; each place has had a line of its own.
fn report_recovery(cluster: &Cluster) {
    let mut sum = Recovered::default();
    let accounts = cluster.hosts().iter().filter_map(|host| host.inspect(Duration::from_secs(1)));
    accounts.filter_map(|account| account.recovered()).for_each(|recovered| sum.merge(recovered));
    if sum.logs > 1 || sum.found_something() {
        eprintln!("recovery: {sum}");
    }
}

fn wait_until_ready(cluster: &Cluster, stop: &AtomicBool) -> miette::Result<bool> {
    let began = Instant::now();
    while began.elapsed() < READY && !stop.load(Ordering::Relaxed) {
        if cluster.await_ready(Duration::from_millis(100)) {
            return Ok(true);
        }
        match cluster.next_ended(Duration::ZERO) {
            None => {}
            Some(HostEnded { host, how: Ended::Halt(reason) | Ended::Failed(reason), .. }) => {
                return Err(miette::miette!("{host} cannot start: {reason}"));
            }
            Some(HostEnded { host, .. }) => return Err(miette::miette!("{host} ended before it was ready")),
        }
    }
    Ok(false)
}

/// The faults on a schedule, read before anything is started: topics come later, hosts are known.
fn schedule(args: &Args) -> miette::Result<VecDeque<Scheduled>> {
    let Some(path) = &args.faults else { return Ok(VecDeque::new()) };
    let name = path.display();
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|e| miette::miette!("{name}: {e}"))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(miette::miette!("{name}: over {MAX_FILE_BYTES} bytes is too large for a schedule of faults"));
    }
    let hosts: Vec<String> = (1..=args.brokers).map(|n| format!("b{n}")).chain(["c1".to_owned()]).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let schedule = faults::read_file(&text, &hosts, args.seed).map_err(|e| miette::miette!("{name}: {e}"))?;
    Ok(schedule.into())
}

fn announce(args: &Args, cluster: &Cluster, control: Option<&Control>, took: Duration) {
    use std::io::Write;
    let bootstrap = cluster.bootstrap();
    if args.format == "json" {
        println!(
            "{}",
            serde_json::json!({
                "bootstrap": bootstrap,
                "control": control.map(|c| format!("http://{}", c.address)),
                "ready_ms": took.as_millis() as u64,
            })
        );
    } else if let Some(node) = &args.node {
        println!("klamm {} · {node} · started in {:.2} s", env!("CARGO_PKG_VERSION"), took.as_secs_f64());
        if !bootstrap.is_empty() {
            println!("bootstrap.servers={bootstrap}");
        }
    } else {
        let brokers = klamm_reports::text::count(args.brokers.into(), "broker");
        let data = args.data.as_ref().map_or("data in memory".to_owned(), |dir| format!("data in {}", dir.display()));
        let version = env!("CARGO_PKG_VERSION");
        println!("klamm {version} · {brokers} and a controller · {data} · ready in {:.2} s", took.as_secs_f64());
        println!("bootstrap.servers={bootstrap}");
        if let Some(control) = control {
            println!("control           http://{}/ (state, and faults by hand)", control.address);
        }
        let first = bootstrap.split(',').next().unwrap_or_default();
        println!();
        println!("  kcat             echo hello | kcat -b {first} -t orders -P && kcat -b {first} -t orders -C -e");
        println!(
            "  confluent-kafka  p = Producer({{'bootstrap.servers': '{first}'}}); p.produce('orders', b'hello'); p.flush()"
        );
        println!(
            "  kafka-python     p = KafkaProducer(bootstrap_servers='{first}'); p.send('orders', b'hello'); p.flush()"
        );
        println!();
        println!("Ctrl-C or SIGTERM ends it in order.");
    }
    let _ = std::io::stdout().flush();
}
