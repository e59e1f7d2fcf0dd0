"""Brokers as processes of their own, killed with SIGKILL at random moments under load: nothing that acks=all acknowledged may
be lost. Takes the klamm command, a data directory, where to write the history, how many kills, and a seed."""

import random
import signal
import socket
import subprocess
import sys
import threading
import time

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/docs/recorders")
from recorder import RESOLVES_WITHIN_MS, History, final_read, value_of  # noqa: E402

klamm, data, path, kills, seed = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
draw = random.Random(seed)


def free_ports():
    """Three ports in a row, and one more."""
    while True:
        first = draw.randrange(20000, 30000)
        try:
            sockets = [socket.create_server(("127.0.0.1", first + n)) for n in range(4)]
        except OSError:
            continue
        for s in sockets:
            s.close()
        return first, first + 3


first, controller = free_ports()
bootstrap = ",".join(f"127.0.0.1:{first + n}" for n in range(3))
log = open(data + ".log", "ab")


def start(node):
    return subprocess.Popen([klamm, "serve", "--node", node, "--controller", f"127.0.0.1:{controller}", "--listen",
                             f"127.0.0.1:{first}", "--brokers", "3", "--data", data, "-c", "min.insync.replicas=2"],
                            stdout=log, stderr=log)


processes = {node: start(node) for node in ["controller", "broker-1", "broker-2", "broker-3"]}
try:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    for attempt in range(60):
        if len(admin.list_topics(timeout=30).brokers) == 3:
            break
        time.sleep(0.2)
    admin.create_topics([NewTopic("orders", 3, 3)])["orders"].result(30)
    history, over, failed, counts = History(bootstrap), threading.Event(), [], [0, 0]

    def produce(client, idempotent):
        producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": idempotent, "linger.ms": 2,
                             "delivery.timeout.ms": RESOLVES_WITHIN_MS, "topic.metadata.refresh.interval.ms": 2000,
                             "log_level": 0})
        history.producer(client, idempotent)

        def told(value):
            def resolved(error, message):
                ok = error is None
                counts[client - 1] += ok
                history.sent(client, value, message.partition() if ok else None, message.offset() if ok else None,
                             None if ok else error.name())
            return resolved

        index = 0
        while not over.is_set():
            value = value_of(client, index)
            history.send(client, value, "orders")
            producer.produce("orders", str(value).encode(), on_delivery=told(value))
            producer.poll(0.001)
            index += 1
        if producer.flush(RESOLVES_WITHIN_MS / 1000):
            failed.append(client)

    producers = [threading.Thread(target=produce, args=(1, True)), threading.Thread(target=produce, args=(2, False))]
    for producer in producers:
        producer.start()
    for kill in range(kills):
        time.sleep(draw.uniform(0.1, 1.5))
        victim = draw.choice(["broker-1", "broker-2", "broker-3"])
        processes[victim].send_signal(signal.SIGKILL)
        processes[victim].wait()
        time.sleep(draw.uniform(0.0, 1.0))
        processes[victim] = start(victim)
    over.set()
    for producer in producers:
        producer.join()
    assert not failed, f"producers {failed} have unresolved sends"
    count = final_read(history, 20, "orders", 3)
    history.write(path)
    print(f"  {kills} kills (seed {seed}), {sum(counts)} acknowledged, {count} in the final read")
finally:
    for node, process in processes.items():
        process.terminate()
    for process in processes.values():
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
