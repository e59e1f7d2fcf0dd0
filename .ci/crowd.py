"""Many peers, and bad ones: ten thousand connections that say nothing, senders that take their time over a frame, peers that
take no answers, peers that are gone without a word. Brokers must go on serving a client through it. Then twenty servers at
once. Takes the klamm command."""

import json
import os
import resource
import selectors
import socket
import struct
import subprocess
import sys
import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

klamm = sys.argv[1]
IDLE, SLOW, DEAF, GONE, RECORDS, SERVERS = 10_000, 100, 100, 200, 2_000, 20
ACKNOWLEDGED_WITHIN_S, MEMORY = 5, 2 << 30
API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
TCP_REPAIR = 19


def say(text):
    print(f"  {text}", flush=True)


class Server:
    def __init__(self, *settings):
        began = time.monotonic()
        command = [klamm, "serve", "--brokers", "3", "--listen", "127.0.0.1:0", "--format", "json", *settings]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.bootstrap, self.began = None, began

    def ready(self):
        self.bootstrap = json.loads(self.process.stdout.readline())["bootstrap"]
        return time.monotonic() - self.began

    def addresses(self):
        return [(host, int(port)) for host, port in (a.split(":") for a in self.bootstrap.split(","))]

    def status(self, file, key):
        for line in open(f"/proc/{self.process.pid}/{file}"):
            if line.startswith(key):
                return int(line.split()[1]) << 10
        raise AssertionError(f"no {key}")

    def files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def end(self):
        self.process.terminate()
        assert self.process.wait(30) == 0, "the server did not end in order"


def through(server, topic):
    """Records go in with acks=all and come out again; how long the slowest acknowledgement took."""
    slowest, failed = 0.0, []
    producer = Producer({"bootstrap.servers": server.bootstrap, "acks": "all", "linger.ms": 2, "log_level": 0})

    def told(sent):
        def resolved(error, _):
            nonlocal slowest
            slowest = max(slowest, time.monotonic() - sent)
            if error:
                failed.append(str(error))
        return resolved

    for n in range(RECORDS):
        producer.produce(topic, str(n).encode(), on_delivery=told(time.monotonic()))
        producer.poll(0)
        if n % 100 == 99:
            time.sleep(0.05)
    assert producer.flush(30) == 0 and not failed, failed[:3]
    consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": topic, "auto.offset.reset": "earliest",
                         "log_level": 0})
    consumer.subscribe([topic])
    seen, until = set(), time.monotonic() + 30
    while len(seen) < RECORDS and time.monotonic() < until:
        message = consumer.poll(1)
        if message is not None and not message.error():
            seen.add(message.value())
    consumer.close()
    assert len(seen) == RECORDS, f"{len(seen)} of {RECORDS} came out"
    return slowest


def create(server, topic):
    admin = AdminClient({"bootstrap.servers": server.bootstrap, "log_level": 0})
    admin.create_topics([NewTopic(topic, 3, 3)])[topic].result(20)


def vanish(s):
    """Takes a connection away from under its peer, who hears neither an end nor a reset: a machine that lost power."""
    s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    s.close()


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
if hard < IDLE + SLOW + DEAF + 1_000:
    say(f"a process may have {hard} open files here (ulimit -Hn): fewer connections than {IDLE}")
    IDLE = max(0, hard - SLOW - DEAF - 1_000)

server = Server()
say(f"one server ready in {server.ready():.2f} s")
create(server, "quiet")
alone = through(server, "quiet")
addresses = server.addresses()
crowd = [socket.create_connection(addresses[n % 3], 10) for n in range(IDLE)]
slow = [socket.create_connection(addresses[n % 3], 10) for n in range(SLOW)]
for s in slow:
    s.sendall(struct.pack(">i", 1 << 20))
deaf = [socket.create_connection(addresses[n % 3], 10) for n in range(DEAF)]
for s in deaf:
    s.setblocking(False)
    try:
        for _ in range(100_000):
            s.send(API_VERSIONS * 100)
    except BlockingIOError:
        pass
before, at = server.cpu(), time.monotonic()
for _ in range(30):
    for s in slow:
        s.send(b"\0")
    time.sleep(0.1)
idle_cpu = (server.cpu() - before) / (time.monotonic() - at)
create(server, "crowded")
crowded = through(server, "crowded")
say(f"{IDLE} idle connections, {SLOW} slow senders, {DEAF} peers that take no answers: {RECORDS} records through, "
    f"slowest acknowledgement {crowded * 1e3:.0f} ms (alone {alone * 1e3:.0f} ms); server {server.status('status', 'VmRSS:') >> 20} "
    f"MiB, {idle_cpu * 100:.1f} % of a core while nobody asks")
assert crowded < ACKNOWLEDGED_WITHIN_S, "it was kept from serving"
selector = selectors.DefaultSelector()
for s in crowd:
    selector.register(s, selectors.EVENT_READ)
assert not selector.select(0), "idle connections were closed"
for s in crowd + slow + deaf:
    s.close()
assert through(server, "quiet") < ACKNOWLEDGED_WITHIN_S
server.end()

idle_s = 3
server = Server("-c", f"connections.max.idle.ms={idle_s * 1000}")
server.ready()
create(server, "half-open")
time.sleep(idle_s + 1)
before, addresses = server.files(), server.addresses()
gone = [socket.create_connection(addresses[n % 3], 10) for n in range(GONE)]
for n, s in enumerate(gone):
    # Nothing, or a request whose answer will find nobody.
    s.sendall([b"", API_VERSIONS][n % 2])
try:
    for s in gone:
        vanish(s)
except PermissionError:
    say("half-open connections need CAP_NET_ADMIN here: not tried")
else:
    slowest = through(server, "half-open")
    at = time.monotonic()
    while (left := server.files() - before) > 0 and time.monotonic() < at + 5 * idle_s:
        time.sleep(0.1)
    took = time.monotonic() - at
    say(f"{GONE} connections whose peers are gone without a word: {RECORDS} records through, slowest acknowledgement "
        f"{slowest * 1e3:.0f} ms; the last one let go {took:.1f} s later")
    assert slowest < ACKNOWLEDGED_WITHIN_S, "it was kept from serving"
    assert left <= 0, f"{left} files are still open"
server.end()

servers = [Server() for _ in range(SERVERS)]
slowest = max(s.ready() for s in servers)
for s in servers:
    create(s, "orders")
    p = Producer({"bootstrap.servers": s.bootstrap, "acks": "all", "log_level": 0})
    p.produce("orders", b"x")
    assert p.flush(30) == 0
memory = sum(s.status("smaps_rollup", "Pss:") for s in servers)
say(f"{SERVERS} servers of three brokers at once: the last ready in {slowest:.2f} s, {memory >> 20} MiB in all")
assert memory < MEMORY, "too much memory"
for s in servers:
    s.end()
