"""`klamm serve` killed with SIGKILL at random moments under load. Nothing that acks=all acknowledged may be lost, nothing may be
deleted on disk, and every client works again within 30 s of the last restart.

A round is a cluster, its clients and some twenty kills; half the rounds run it as one process, half as a process for each node.
The clients live through the whole round: of librdkafka two idempotent producers, of Kafka's Java client one, and of each library
a member of a classic group, a member of a KIP-848 group and an admin client. At the end both groups read to the end, a fresh
consumer reads everything, and `klamm check` judges what was sent and read. All moments are drawn from the seed."""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/docs/recorders")
from recorder import RESOLVES_WITHIN_MS, History, final_read, value_of  # noqa: E402

BROKERS, PARTITIONS, TOPIC, RATE = 3, 6, "orders", 100
KILLS_A_ROUND = 20
WORKS_WITHIN_S = 30
NODES = ["controller", "broker-1", "broker-2", "broker-3"]


class Server:
    """One cluster: a process, or a process for each node."""

    def __init__(self, klamm, directory, draw, by_node):
        self.klamm, self.data, self.draw = klamm, directory / "data", draw
        self.log = open(directory / "serve.log", "ab")
        self.port = self.free_ports()
        self.names = NODES if by_node else ["all"]
        self.processes, self.ready_ms, self.kills = {}, [], 0
        self.bootstrap = ",".join(f"127.0.0.1:{self.port + n}" for n in range(BROKERS))

    def free_ports(self):
        """The first of as many ports in a row as there are nodes. Below what the kernel gives to clients: such a port could be
        taken by a connection while its server is down."""
        while True:
            first = self.draw.randrange(20_000, 30_000)
            try:
                for taken in [socket.create_server(("127.0.0.1", first + n)) for n in range(len(NODES))]:
                    taken.close()
                return first
            except OSError:
                continue

    def start(self, name):
        command = [self.klamm, "serve", "--brokers", str(BROKERS), "--listen", f"127.0.0.1:{self.port}", "--data",
                   self.data, "--format", "json", "-c", "min.insync.replicas=2"]
        if name != "all":
            command += ["--node", name, "--controller", f"127.0.0.1:{self.port + BROKERS}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.processes[name] = process

        def ready():
            if line := process.stdout.readline():
                self.ready_ms.append(json.loads(line)["ready_ms"])
        threading.Thread(target=ready, daemon=True).start()

    def kill(self, name):
        process = self.processes[name]
        assert process.poll() is None, f"{name} ended by itself with {process.returncode}; see {self.log.name}"
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.kills += 1

    def segments(self):
        """The log files of partitions, the metadata's included: what only retention may delete, and there is none here."""
        return {path for path in self.data.rglob("*.log")}

    def end(self):
        """A broker hands over with the controller's help: the controller, where it has a process of its own, goes last."""
        for names in (self.names[1:], self.names[:1]):
            for name in names:
                self.processes[name].terminate()
            for name in names:
                try:
                    code = self.processes[name].wait(30)
                    assert code == 0, f"{name} ended with {code} when told to end"
                except subprocess.TimeoutExpired:
                    raise AssertionError(f"{name} did not end within 30 s") from None


class SharedHistory(History):
    """A history that another process adds to: its instants are of the same monotonic clock."""

    def add_at(self, at, client, op, **fields):
        with self.lock:
            self.lines.append({"at": at - self.began, "client": client, "incarnation": 1, "op": op, **fields})

    def write(self, path):
        self.lines.sort(key=lambda line: line["at"])
        super().write(path)


class Clients:
    """What every client did, and since when each works again."""

    def __init__(self, history):
        self.history, self.lock = history, threading.Lock()
        self.since, self.works = None, {}
        self.sent_at, self.acknowledged, self.read = {}, set(), {"classic": set(), "modern": set()}
        self.failures = []

    def sending(self, at, client, value):
        with self.lock:
            self.sent_at[value] = at / 1e9
        self.history.add_at(at, client, "send", value=str(value), topic=TOPIC)

    def resolved(self, at, client, value, partition, offset, error):
        outcome = "ok" if error is None else "info"
        self.history.add_at(at, client, "sent", value=str(value), outcome=outcome, partition=partition, offset=offset,
                            error=error)
        if error is None:
            with self.lock:
                self.acknowledged.add(value)
                self.saw(f"producer {client}", value)

    def received(self, member, value):
        with self.lock:
            self.read[member.split("-")[1]].add(value)
            self.saw(member, value)

    def saw(self, who, value):
        """A client works again with the first record, sent after the last restart, that it was told of."""
        if self.since is not None and who not in self.works and self.sent_at.get(value, 0) > self.since:
            self.works[who] = time.monotonic() - self.since

    def after_the_last_restart(self):
        with self.lock:
            self.since = time.monotonic()


def create(admin, name, partitions):
    """Asks until the topic exists and is led, for a minute."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            topic = admin.list_topics(timeout=5).topics.get(name)
            if topic and len(topic.partitions) == partitions and all(p.leader >= 0 for p in topic.partitions.values()):
                return True
            admin.create_topics([NewTopic(name, partitions, BROKERS)])[name].result(10)
        except KafkaException:
            time.sleep(0.1)
    return False


class Librdkafka:
    """Clients of librdkafka, each with a thread of its own."""

    MEMBERS = {"librdkafka-classic": {"group.id": "classic", "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000,
                                      "partition.assignment.strategy": "range"},
               "librdkafka-modern": {"group.id": "modern", "group.protocol": "consumer"}}

    def __init__(self, clients, bootstrap):
        self.clients, self.config = clients, {"bootstrap.servers": bootstrap, "log_level": 0}
        self.stop, self.end = threading.Event(), threading.Event()
        self.admin = AdminClient(self.config)
        self.threads = [self.thread(self.produce, client) for client in (1, 2)]
        self.members = [self.thread(self.consume, member, config) for member, config in self.MEMBERS.items()]

    def thread(self, work, *arguments):
        def run():
            try:
                work(*arguments)
            except Exception as error:  # noqa: BLE001: a client that gives up is what this program is for.
                self.clients.failures.append(f"{work.__name__} {arguments[0]}: {error}")
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def produce(self, client):
        producer = Producer({**self.config, "acks": "all", "enable.idempotence": True, "linger.ms": 2,
                             "delivery.timeout.ms": RESOLVES_WITHIN_MS})
        self.clients.history.producer(client, True)

        def told(value):
            def resolved(error, message):
                ok = error is None
                self.clients.resolved(time.monotonic_ns(), client, value, message.partition() if ok else None,
                                      message.offset() if ok else None, None if ok else error.name())
            return resolved

        index = 0
        while not self.stop.is_set():
            value = value_of(client, index)
            self.clients.sending(time.monotonic_ns(), client, value)
            producer.produce(TOPIC, str(value).encode(), on_delivery=told(value))
            producer.poll(1 / RATE)
            index += 1
        assert producer.flush(RESOLVES_WITHIN_MS / 1000) == 0, "sends are unresolved"

    def consume(self, member, config):
        consumer = Consumer({**self.config, **config, "auto.offset.reset": "earliest"})
        consumer.subscribe([TOPIC])
        while not self.end.is_set():
            message = consumer.poll(0.2)
            if message is not None and not message.error():
                self.clients.received(member, int(message.value()))
        consumer.close()


class Java:
    """Kafka's own clients, in a process that writes what happens as lines; see Clients.java."""

    CLIENT = 3
    MEMBERS = ["java-classic", "java-modern"]

    def __init__(self, clients, classpath, bootstrap):
        self.clients, self.idle = clients, threading.Event()
        command = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-cp", classpath, "Clients", bootstrap, TOPIC, str(self.CLIENT),
                   str(RATE), str(RESOLVES_WITHIN_MS)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        clients.history.producer(self.CLIENT, True)
        self.reader = threading.Thread(target=self.listen, daemon=True)
        self.reader.start()

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def listen(self):
        clients = self.clients
        for line in self.process.stdout:
            what, *rest = line.split()
            if what == "idle":
                self.idle.set()
                continue
            at, *rest = int(rest[0]), *rest[1:]
            if what == "send":
                clients.sending(at, self.CLIENT, int(rest[0]))
            elif what == "sent":
                offset = None if rest[2] == "-" else int(rest[2])
                clients.resolved(at, self.CLIENT, int(rest[0]), int(rest[1]), offset, None)
            elif what == "unknown":
                clients.resolved(at, self.CLIENT, int(rest[0]), None, None, rest[1])
            elif what == "read":
                clients.received(rest[0], int(rest[1]))
            elif what == "topic":
                with clients.lock:
                    clients.works["java admin"] = at / 1e9 - clients.since
        if code := self.process.wait():
            clients.failures.append(f"the Java clients ended with {code}")


def waits(until, holds, failures):
    while not holds() and time.monotonic() < until and not failures:
        time.sleep(0.05)
    return holds()


def kill_for_a_while(server, draw, kills):
    """Kills and starts again. Returns the log files that were seen while a victim was down."""
    seen, several = set(), len(server.names) > 1
    while server.kills < kills:
        # Mostly soon, sometimes late enough for groups to have settled.
        time.sleep(draw.uniform(2, 5) if draw.random() < 0.2 else draw.uniform(0.05, 1.5))
        victims = [draw.choice(server.names)]
        if several and draw.random() < 0.2:
            victims = draw.sample(server.names, min(draw.randint(2, len(server.names)), kills - server.kills))
        for victim in victims:
            server.kill(victim)
        seen |= server.segments()
        time.sleep(draw.uniform(0.0, 1.0))
        for victim in victims:
            server.start(victim)
    return seen


def round_of_kills(options, directory, draw, by_node, kills):
    """One cluster with its clients; what came of it, as a row of the table."""
    server = Server(options.klamm, directory, draw, by_node)
    java = None
    try:
        for name in server.names:
            server.start(name)
        history = SharedHistory(server.bootstrap)
        clients = Clients(history)
        create(AdminClient({"bootstrap.servers": server.bootstrap, "log_level": 0}), TOPIC, PARTITIONS)
        java = Java(clients, options.classpath, server.bootstrap)
        rdkafka = Librdkafka(clients, server.bootstrap)
        who = ["producer 1", "producer 2", f"producer {Java.CLIENT}", *Librdkafka.MEMBERS, *Java.MEMBERS]
        assert waits(time.monotonic() + 30, lambda: clients.read["modern"] and clients.read["classic"], clients.failures), \
            f"the clients do not work before anything was killed: {clients.failures}"
        seen = kill_for_a_while(server, draw, kills)
        clients.after_the_last_restart()
        java.say("topic by-java")
        if create(rdkafka.admin, "by-librdkafka", 1):
            with clients.lock:
                clients.works["librdkafka admin"] = time.monotonic() - clients.since
        who += ["librdkafka admin", "java admin"]
        # Twice as long as is allowed: by how much a client is late says more than that it is.
        waits(clients.since + 2 * WORKS_WITHIN_S, lambda: all(one in clients.works for one in who), clients.failures)
        late = [one for one in who if clients.works.get(one, 1e9) > WORKS_WITHIN_S]

        rdkafka.stop.set()
        java.say("stop")
        for thread in rdkafka.threads:
            thread.join(RESOLVES_WITHIN_MS / 1000)
        java.idle.wait(RESOLVES_WITHIN_MS / 1000)
        everything = lambda: all(clients.acknowledged <= read for read in clients.read.values())  # noqa: E731
        waits(time.monotonic() + 60, everything, clients.failures)
        unread = {group: len(clients.acknowledged - read) for group, read in clients.read.items()}
        rdkafka.end.set()
        java.say("end")
        for thread in rdkafka.members:
            thread.join(30)
        java.process.wait(30)

        count = final_read(history, 20, TOPIC, PARTITIONS)
        path = directory / "history.jsonl"
        history.write(path)
        judged = subprocess.run([options.klamm, "check", path, "--format", "json"], capture_output=True, text=True)
        deleted = sorted(str(p.relative_to(server.data)) for p in seen - server.segments())
        server.end()
        found = [f"lost or otherwise violated: {judged.stdout[-3000:]}{judged.stderr}"] if judged.returncode else []
        found += [f"{n} acknowledged records were never read by the group {group}" for group, n in unread.items() if n]
        found += [f"deleted on disk: {path}" for path in deleted]
        found += [f"{one} did not work within {WORKS_WITHIN_S} s of the last restart: "
                  + (f"after {clients.works[one]:.1f} s" if one in clients.works else "not within a minute") for one in late]
        found += clients.failures
        return {"mode": "nodes" if by_node else "one process", "kills": server.kills, "sent": len(clients.sent_at),
                "acknowledged": len(clients.acknowledged), "read": count, "deleted": len(deleted), "works": clients.works,
                "ready": server.ready_ms, "found": found}
    finally:
        for process in [*server.processes.values(), *([java.process] if java else [])]:
            if process.poll() is None:
                process.kill()
                process.wait()


def table(rows):
    print(f"  {'':12} {'kills':>6} {'sent':>9} {'acknowledged':>13} {'read':>9} {'deleted':>8} "
          f"{'ready, median/most':>19} {'a client works again after, median/most':>40}")
    for mode in ("one process", "nodes"):
        mine = [row for row in rows if row["mode"] == mode]
        if not mine:
            continue
        total = {key: sum(row[key] for row in mine) for key in ("kills", "sent", "acknowledged", "read", "deleted")}
        ready = [ms for row in mine for ms in row["ready"]]
        works = [s for row in mine for s in row["works"].values()]
        print(f"  {mode:12} {total['kills']:6} {total['sent']:9} {total['acknowledged']:13} {total['read']:9} "
              f"{total['deleted']:8} {statistics.median(ready):9.0f} / {max(ready):4} ms "
              f"{statistics.median(works):31.1f} / {max(works):4.1f} s")
    for kind in sorted({one for row in rows for one in row["works"]}):
        times = [row["works"][kind] for row in rows if kind in row["works"]]
        print(f"    {kind:20} works again after {statistics.median(times):.1f} s, {max(times):.1f} s at most, "
              f"in {len(times)} of {len(rows)} rounds")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("klamm")
    parser.add_argument("--classpath", required=True, help="Kafka's client and Clients.class")
    parser.add_argument("--kills", type=int, default=20, help="in all; half of one process, half of nodes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["process", "nodes"], help="one half alone")
    parser.add_argument("--keep", type=Path, help="where data and logs of rounds with a finding are kept")
    options = parser.parse_args()
    rows, failed = [], 0
    for by_node in (False, True):
        if options.only == ("process" if by_node else "nodes"):
            continue
        left = options.kills if options.only else (options.kills + by_node) // 2
        number = 0
        while left > 0:
            kills = min(left, KILLS_A_ROUND)
            left -= kills
            draw = random.Random(f"{options.seed} {by_node} {number}")
            directory = Path(tempfile.mkdtemp(prefix="klamm-kills-"))
            name = f"{'nodes' if by_node else 'one process'}, round {number}"
            try:
                row = round_of_kills(options, directory, draw, by_node, kills)
                rows.append(row)
                found = row["found"]
                slowest = max(row["works"].items(), key=lambda one: one[1], default=("nothing", 0))
                print(f"  {name}: {row['kills']} kills, {row['acknowledged']} acknowledged, slowest {slowest[0]} after "
                      f"{slowest[1]:.1f} s", flush=True)
            except (AssertionError, KafkaException) as error:
                found = [str(error)]
            if found:
                failed += 1
                print("".join(f"  {name}: FOUND {one}\n" for one in found), end="", flush=True)
                if options.keep:
                    kept = options.keep / name.replace(", ", "-").replace(" ", "-")
                    shutil.copytree(directory, kept, dirs_exist_ok=True)
            shutil.rmtree(directory)
            number += 1
    table(rows)
    # Threads of a client that never came back must not hold up the end.
    sys.stdout.flush()
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
