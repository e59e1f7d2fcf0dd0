#!/usr/bin/env python3
"""Damages the files of an Apache Kafka node one at a time, and says what it makes of each. One JVM at a time.

usage: KAFKA_LIBS=DIR kafka.py WORKDIR OUT.tsv [FILE-SUBSTRING ...]
KAFKA_LIBS holds the jars of org.apache.kafka:kafka_2.13 and what it depends on, and one slf4j backend; kcat is on the path.
"""
import glob, os, re, shutil, signal, subprocess, sys, time

LIBS = os.environ["KAFKA_LIBS"]
WORK, OUT, ONLY = sys.argv[1], sys.argv[2], sys.argv[3:]
PORT = int(os.environ.get("KAFKA_PORT", "23092"))
CP = ":".join(glob.glob(LIBS + "/*.jar") + os.environ.get("KAFKA_EXTRA", "").split(":"))
JAVA = ["java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info", "-cp", CP]
ADDRESS = f"127.0.0.1:{PORT}"

def properties(d, auto):
    with open(f"{d}/server.properties", "w") as f:
        f.write(f"""process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{ADDRESS},CONTROLLER://127.0.0.1:{PORT + 1}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{PORT + 1}
log.dirs={d}/b
metadata.log.dir={d}/c
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
share.coordinator.state.topic.replication.factor=1
log.segment.bytes=1048576
auto.create.topics.enable={auto}
""")

def format(d, cluster):
    os.makedirs(d)
    properties(d, "true")
    subprocess.run(JAVA + ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", f"{d}/server.properties"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

def kcat(*args, stdin=None, timeout=30):
    try:
        return subprocess.run(["kcat", "-b", ADDRESS, *args], input=stdin, capture_output=True, timeout=timeout, text=True)
    except subprocess.TimeoutExpired as e:
        class R: pass
        r = R(); r.returncode = 124; r.stdout = (e.stdout or b"").decode() if isinstance(e.stdout, bytes) else (e.stdout or ""); r.stderr = (e.stderr or b"").decode() if isinstance(e.stderr, bytes) else (e.stderr or "")
        return r

def start(d, patience=60):
    log = open(f"{d}/log", "a")
    p = subprocess.Popen(JAVA + ["kafka.Kafka", f"{d}/server.properties"], stdout=log, stderr=log)
    end = time.time() + patience
    while time.time() < end:
        if p.poll() is not None:
            return p, False
        r = kcat("-L", "-m", "2", timeout=10)
        if r.returncode == 0 and "broker 1" in r.stdout:
            return p, True
        time.sleep(0.3)
    return p, False

def stop(p, how=signal.SIGTERM):
    if p.poll() is None:
        p.send_signal(how)
        try:
            p.wait(40)
        except subprocess.TimeoutExpired:
            p.kill()
    p.wait()

def produce(first, count, word="record"):
    lines = "".join(f"{word} {n} " + "x" * 3000 + "\n" for n in range(first, first + count))
    r = kcat("-t", "orders", "-P", "-X", "acks=all", "-X", "batch.size=20000", stdin=lines)
    assert r.returncode == 0, r.stderr

def bases():
    d = f"{WORK}/base"
    if os.path.exists(f"{WORK}/killed"):
        return
    format(d, "AAAAAAAAQACAAAAAAAAAAQ")
    p, ok = start(d); assert ok
    produce(0, 500); time.sleep(1); stop(p)
    p, ok = start(d); assert ok
    produce(500, 500); time.sleep(1); stop(p)
    shutil.copytree(d, f"{WORK}/stopped")
    shutil.rmtree(d)
    format(d, "AAAAAAAAQACAAAAAAAAAAQ")
    p, ok = start(d); assert ok
    produce(0, 500); time.sleep(1); stop(p)
    p, ok = start(d); assert ok
    produce(500, 500); time.sleep(1); stop(p, signal.SIGKILL)
    shutil.copytree(d, f"{WORK}/killed")
    shutil.rmtree(d)
    o = f"{WORK}/other"
    format(o, "BBBBBBBBQBCBBBBBBBBBBQ")
    p, ok = start(o); assert ok
    produce(0, 30, "alien"); time.sleep(1); stop(p)

def damage(path, how, of):
    if how == "missing":
        os.remove(path)
    elif how == "empty":
        open(path, "w").close()
    elif how == "cut":
        os.truncate(path, os.path.getsize(path) // 2)
    elif how == "garbage":
        n = os.path.getsize(path)
        open(path, "wb").write(bytes((i * 37 + 11) % 251 for i in range(max(n, 8))))
    elif how == "bit" and os.path.getsize(path):
        with open(path, "r+b") as f:
            at = os.path.getsize(path) // 2
            f.seek(at); b = f.read(1); f.seek(at); f.write(bytes([b[0] ^ 1]))
    elif how == "other" and path.endswith("log-start-offset-checkpoint"):
        open(path, "w").write("0\n1\norders 0 5000\n")
    elif how == "other":
        shutil.copyfile(of, path)

def listing(d):
    found = {}
    for root, _, files in os.walk(d):
        for f in files:
            p = os.path.join(root, f)
            found[os.path.relpath(p, d)] = os.path.getsize(p)
    return found

def resolve(base, name):
    """`0.log` of a directory: the nth segment's file."""
    m = re.match(r"(.*)/(\d+)(\.\w+)$", name)
    if not m:
        return f"{base}/{name}"
    logs = sorted(glob.glob(f"{base}/{m[1]}/*{m[3]}"))
    n = int(m[2])
    return logs[n] if n < len(logs) else None

FILES = ["b/meta.properties", "b/.kafka_cleanshutdown", "b/recovery-point-offset-checkpoint", "b/replication-offset-checkpoint",
         "b/log-start-offset-checkpoint", "b/cleaner-offset-checkpoint", "b/orders-0/partition.metadata",
         "b/orders-0/leader-epoch-checkpoint", "b/orders-0/0.log", "b/orders-0/2.log", "b/orders-0/0.index", "b/orders-0/0.timeindex",
         "b/orders-0/2.index", "b/orders-0/0.snapshot", "c/meta.properties", "c/__cluster_metadata-0/0.log", "c/__cluster_metadata-0/quorum-state",
         "c/__cluster_metadata-0/leader-epoch-checkpoint", "c/__cluster_metadata-0/partition.metadata", "c/__cluster_metadata-0/0.index",
         "c/__cluster_metadata-0/0.checkpoint", "c/__cluster_metadata-0/0.snapshot"]
HOW = ["missing", "empty", "cut", "garbage", "bit", "other"]

def cell(state, name, how):
    d = f"{WORK}/cell"
    shutil.rmtree(d, ignore_errors=True)
    shutil.copytree(f"{WORK}/{state}", d)
    properties(d, "false")
    open(f"{d}/log", "w").close()
    path, other = resolve(d, name), resolve(f"{WORK}/other", name)
    if not path or not os.path.exists(path):
        return "no such file", "", "", ""
    if how == "other" and (not other or not os.path.exists(other)):
        return "none there", "", "", ""
    if not os.path.getsize(path) and how in ("empty", "cut", "bit"):
        return "already empty", "", "", ""
    before = listing(f"{d}/b/orders-0")
    damage(path, how, other)
    return run(d, before)

def directory_cell(name):
    d = f"{WORK}/cell"
    shutil.rmtree(d, ignore_errors=True)
    shutil.copytree(f"{WORK}/stopped", d)
    properties(d, "false")
    open(f"{d}/log", "w").close()
    shutil.copytree(f"{d}/b/orders-0", f"{d}/b/{name}")
    result = run(d, listing(f"{d}/b/orders-0"))
    kept = os.path.isdir(f"{d}/b/{name}")
    return result[0], result[1], ("kept" if kept else "gone") + " " + result[2], result[3]

def run(d, before):
    p, ok = start(d)
    if not ok:
        code = p.poll()
        if code is None:
            stop(p, signal.SIGKILL)
            outcome = "up, serves nobody"
        else:
            outcome = f"refuses to start"
        records = ""
    else:
        time.sleep(1.5)
        r = kcat("-t", "orders", "-C", "-e", "-q", "-o", "beginning", "-X", "fetch.error.backoff.ms=200", timeout=12)
        records = str(len(set(re.findall(r"^record (\d+) ", r.stdout, re.M))))
        alien = len(set(re.findall(r"^alien (\d+) ", r.stdout, re.M)))
        if alien:
            records += f" and {alien} alien"
        if p.poll() is not None:
            outcome = "ends after the start"
        else:
            outcome = "starts"
        if r.returncode:
            outcome += ", a reader is told: " + (r.stderr.strip().split("\n")[-1][:140] if r.stderr.strip() else "nothing")
        stop(p)
    dirs = sorted(os.path.basename(x) for x in glob.glob(f"{d}/b/*") if os.path.isdir(x) and os.path.basename(x).startswith("orders"))
    after = {}
    for x in dirs:
        for k, v in listing(f"{d}/b/{x}").items():
            after[k] = max(v, after.get(k, 0))
    gone = sorted(k for k in before if k.endswith(".log") and k not in after and before[k])
    said = ""
    with open(f"{d}/log", errors="replace") as f:
        for line in f:
            if re.search(r"ERROR|WARN|FATAL|Exception", line) and not re.search(r"deprecated|gauge|JMX|log.cleaner.enable|Metrics|metrics|unreachable|NetworkClient|Connection to node|could not be established|\tat ", line):
                said += re.sub(r"\[[^]]*\] (ERROR|WARN|INFO) ", r"\1 ", line.strip())[:200] + " / "
                if len(said) > 700: break
    return outcome, records, "dirs " + ",".join(dirs) + " gone " + (",".join(gone) or "none"), said.replace("\t", " ")

bases()
done = set()
if os.path.exists(OUT):
    done = {tuple(l.split("\t")[:3]) for l in open(OUT)}
cells = []
for f in FILES:
    for how in HOW:
        cells.append(("stopped", f, how))
for f in ["b/meta.properties", "b/recovery-point-offset-checkpoint", "b/orders-0/partition.metadata", "b/orders-0/0.log", "b/orders-0/1.log", "b/orders-0/2.log", "c/__cluster_metadata-0/0.log"]:
    for how in HOW:
        cells.append(("killed", f, how))
for n in ["gone-0", "orders-0.0123456789abcdef0123456789abcdef-delete", "orders-0.0123456789abcdef0123456789abcdef-stray", "orders-0.0123456789abcdef0123456789abcdef-future", "strange"]:
    cells.append(("stopped", n, "directory"))
for c in cells:
    if c in done or (ONLY and not any(o in "/".join(c) for o in ONLY)):
        continue
    r = directory_cell(c[1]) if c[2] == "directory" else cell(*c)
    with open(OUT, "a") as f:
        f.write("\t".join(c + r) + "\n")
