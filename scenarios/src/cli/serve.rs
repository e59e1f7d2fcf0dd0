//! `klamm serve`.

use crate::audit::properties;
use crate::serve::control::Control;
use crate::serve::faults::{self, Scheduled};
use klamm_model::config::{BrokerConfig, ConfigError, Properties};
use klamm_model::log::Recovered;
use klamm_world::live::cluster::{Cluster, ClusterSpec, Members};
use klamm_world::live::host::{Ended, HostEnded};
use klamm_world::live::inject::Injector;
use klamm_world::shell::limits::Limits;
use std::collections::VecDeque;
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

/// Settings as given, over what a small cluster needs.
fn settings(args: &Args) -> miette::Result<Properties> {
    let few = args.brokers.min(3).to_string();
    let mut settings: Properties = [
        // Kafka's own quick start has these at 1 and 0; a cluster of one cannot have 3.
        ("default.replication.factor", few.as_str()),
        ("offsets.topic.replication.factor", few.as_str()),
        ("group.initial.rebalance.delay.ms", "0"),
        // A restart on the same data is found out sooner, and a dead leader replaced sooner.
        ("broker.session.timeout.ms", "3000"),
        ("broker.heartbeat.interval.ms", "500"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();
    if let Some(path) = &args.config {
        let name = path.display();
        let bytes = std::fs::read(path).map_err(|e| miette::miette!("{name}: {e}"))?;
        let (text, _) = properties::decode(&bytes);
        let entries = properties::parse(&text).map_err(|wrong| {
            let lines: Vec<String> = wrong.iter().map(|(line, what)| format!("{name}:{line}: {what}")).collect();
            miette::miette!("{}", lines.join("\n"))
        })?;
        settings.extend(entries.into_iter().map(|entry| (entry.key, entry.value)));
    }
    for setting in &args.c {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(miette::miette!("-c {setting}: expected KEY=VALUE, such as `-c num.partitions=3`"));
        };
        settings.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    Ok(settings)
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
    let wrong = |e: ConfigError| miette::miette!("{e}");
    let mut settings = settings(args)?;
    let (_, warnings) = BrokerConfig::read(&settings).map_err(|all| {
        let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
        miette::miette!("{}", lines.join("\n"))
    })?;
    let limits = Limits::take_from(&mut settings).map_err(wrong)?;
    let (config, _) = BrokerConfig::parse(&settings).map_err(wrong)?;
    for warning in warnings.iter().filter(|w| settings.contains_key(&w.key)) {
        eprintln!("warning: {warning}");
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
    let (mut failed, mut gave_up, begun) = (false, false, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        while let Some(fault) = schedule.pop_front_if(|f| f.at <= begun.elapsed()) {
            match injector.inject(&fault.deed, fault.lasts) {
                Ok((_, what)) => eprintln!("fault at {:.1?}: {what}", begun.elapsed()),
                Err(error) => eprintln!("fault at {:.1?} not done: {error}", begun.elapsed()),
            }
        }
        for lifted in injector.lift_due() {
            match lifted {
                Ok(what) => eprintln!("over at {:.1?}: {what}", begun.elapsed()),
                Err(error) => eprintln!("fault not lifted: {error}"),
            }
        }
        let Some(end) = cluster.next_ended(Duration::from_millis(10)) else { continue };
        match end.how {
            Ended::Exit => eprintln!("{} has shut down", end.host),
            Ended::Killed => eprintln!("{} was killed", end.host),
            Ended::Halt(reason) => {
                gave_up |= args.node.is_some();
                eprintln!("{} gave up: {reason}", end.host);
            }
            Ended::Failed(reason) => {
                failed = true;
                eprintln!("{} failed, which is a defect of klamm's: {reason}", end.host);
            }
        }
        if args.node.is_some() {
            break;
        }
    }
    let late = cluster.shut_down_all(END);
    for host in &late {
        eprintln!("{host} was not through within {END:?}, and was killed");
    }
    Ok(if failed || gave_up || !late.is_empty() { super::VIOLATED } else { super::HELD })
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
        if let Some(HostEnded { host, how: Ended::Halt(reason), .. }) = cluster.next_ended(Duration::ZERO) {
            return Err(miette::miette!("{host} cannot start: {reason}"));
        }
    }
    Ok(false)
}

/// The faults on a schedule, read before anything is started: topics come later, hosts are known.
fn schedule(args: &Args) -> miette::Result<VecDeque<Scheduled>> {
    let Some(path) = &args.faults else { return Ok(VecDeque::new()) };
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| miette::miette!("{name}: {e}"))?;
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
