"""Flows of real clients against `klamm serve`: produce, consume by group with a rebalance, idempotent produce, admin,
through a leader's death. What they sent and read is written as a history for `klamm check`."""

import json
import subprocess
import sys
import threading
import time
import urllib.request

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from kafka import KafkaConsumer, KafkaProducer

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/docs/recorders")
from recorder import RESOLVES_WITHIN_MS, History, final_read, value_of  # noqa: E402

ready = json.load(open(sys.argv[1]))
bootstrap, control = ready["bootstrap"], ready["control"]


history = History(bootstrap)


def say(text):
    print(f"  {text}", flush=True)


def ask(path, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(control + path, data, method=method), timeout=30) as answer:
        return json.load(answer)


def confluent_produce(client, topic, indexes, idempotent=True, compression="none"):
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": idempotent, "acks": "all", "linger.ms": 2,
                         "compression.type": compression,
                         "delivery.timeout.ms": RESOLVES_WITHIN_MS, "topic.metadata.refresh.interval.ms": 2000})
    failed = []
    history.producer(client, idempotent)

    def told(value):
        def resolved(error, message):
            if error:
                failed.append(str(error))
            ok = error is None
            history.sent(client, value, message.partition() if ok else None, message.offset() if ok else None,
                         None if ok else error.name())
        return resolved

    for index in indexes:
        value = value_of(client, index)
        history.send(client, value, topic)
        producer.produce(topic, str(value).encode(), on_delivery=told(value))
        producer.poll(0)
        if index % 100 == 0:
            time.sleep(0.02)
    assert producer.flush(RESOLVES_WITHIN_MS / 1000) == 0, "sends are unresolved"
    assert not failed, failed[:3]


def kafka_python_produce(client, topic, indexes):
    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","), acks="all", enable_idempotence=True, linger_ms=2,
                             delivery_timeout_ms=RESOLVES_WITHIN_MS)
    history.producer(client, True)
    futures = []
    for index in indexes:
        value = value_of(client, index)
        history.send(client, value, topic)
        futures.append((value, producer.send(topic, str(value).encode())))
        if index % 100 == 0:
            time.sleep(0.02)
    producer.flush(RESOLVES_WITHIN_MS / 1000)
    for value, future in futures:
        told = future.get(RESOLVES_WITHIN_MS / 1000)
        history.sent(client, value, told.partition, told.offset, None)
    producer.close()


def group_with_rebalance(topic, group, expected, config):
    """Two members of a group, the second of which comes later, read everything at least once."""
    seen, assignments, stop = set(), [], threading.Event()

    def member(number, until):
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", **config})
        consumer.subscribe([topic], on_assign=lambda _, parts: assignments.append((number, len(parts))))
        while not stop.is_set() and time.monotonic() < until:
            message = consumer.poll(0.2)
            # Nobody stops before both have had partitions.
            if len(seen) >= expected and {n for n, parts in assignments if parts} == {1, 2}:
                stop.set()
            if message is None:
                continue
            if message.error():
                assert message.error().retriable() or message.error().code() == KafkaError._ALL_BROKERS_DOWN, message.error()
                continue
            seen.add(int(message.value()))
        consumer.close()

    now = time.monotonic()
    members = [threading.Thread(target=member, args=(1, now + 60))]
    members[0].start()
    time.sleep(2)
    members.append(threading.Thread(target=member, args=(2, now + 60)))
    members[1].start()
    for m in members:
        m.join()
    assert stop.is_set(), f"not everything was read, or not by both: {len(seen)} of {expected}, assignments {assignments}"
    assert len(seen) >= expected, f"{len(seen)} of {expected} values were read by the group {group}"
    return len(assignments)


def kcat(*arguments, text=None):
    done = subprocess.run(["kcat", "-b", bootstrap, *arguments], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def partitions_become(topic, count):
    """A broker hears of what the controller decided a moment later, as in Kafka."""
    for _ in range(100):
        known = admin.list_topics(timeout=10).topics
        if topic in known and len(known[topic].partitions) == count:
            return
        time.sleep(0.1)
    raise AssertionError(f"{topic} has not got {count} partitions")


admin = AdminClient({"bootstrap.servers": bootstrap})
admin.create_topics([NewTopic("orders", 3, 3)])["orders"].result(20)
partitions_become("orders", 3)
assert len(admin.describe_cluster().result(10).nodes) == 3
say("admin: a topic created, cluster described")

values = [str(value_of(9, n)) for n in range(100)]
history.producer(9, False)
for value in values:
    history.send(9, int(value), "by-kcat")
kcat("-t", "by-kcat", "-P", "-p", "0", "-X", "acks=all", text="\n".join(values) + "\n")
for value in values:
    history.sent(9, int(value), 0, None, None)
assert kcat("-t", "by-kcat", "-C", "-e", "-q", "-p", "0", "-o", "beginning").split() == values
assert "by-kcat" in kcat("-L")
say("kcat: 100 produced and consumed, to a topic created on demand")

for number, codec in enumerate(["gzip", "snappy", "lz4", "zstd"]):
    client, topic = 10 + number, f"by-{codec}"
    confluent_produce(client, topic, range(500), compression=codec)
    assert final_read(history, 21 + number, topic, 3) == 500, codec
say("confluent-kafka: 500 produced and consumed with each of gzip, snappy, lz4, zstd")

producers = [threading.Thread(target=confluent_produce, args=(1, "orders", range(3000))),
             threading.Thread(target=confluent_produce, args=(2, "orders", range(3000), False)),
             threading.Thread(target=kafka_python_produce, args=(3, "orders", range(1500)))]
failures = []
threading.excepthook = lambda args: failures.append(args) or sys.__excepthook__(args.exc_type, args.exc_value, args.exc_traceback)
for producer in producers:
    producer.start()
time.sleep(0.3)
killed = ask("/faults", {"kind": "kill", "who": "leader(orders-0)", "for": "4s"})
say(f"fault while they produce: {killed['done'][0]['what']}")
for producer in producers:
    producer.join()
assert not failures, "a producer failed"
say("7500 acknowledged through it, by confluent-kafka (idempotent or not) and kafka-python")

rebalances = group_with_rebalance("orders", "classic", 7500, {})
say(f"classic group: everything read, {rebalances} assignments")
rebalances = group_with_rebalance("orders", "modern", 7500, {"group.protocol": "consumer"})
say(f"KIP-848 group: everything read, {rebalances} assignments")
consumer = KafkaConsumer("orders", bootstrap_servers=bootstrap.split(","), group_id="by-kafka-python",
                         auto_offset_reset="earliest", consumer_timeout_ms=20_000)
seen = set()
for message in consumer:
    seen.add(int(message.value))
    if len(seen) == 7500:
        break
consumer.commit()
consumer.close()
assert len(seen) == 7500, f"kafka-python read {len(seen)} of 7500"
say("kafka-python: everything read by a group, and committed")

admin.create_partitions([NewPartitions("orders", 4)])["orders"].result(20)
groups = {g.group_id for g in admin.list_consumer_groups().result(20).valid}
assert {"classic", "by-kafka-python"} <= groups, groups
assert admin.describe_consumer_groups(["classic"])["classic"].result(20).group_id == "classic"
partitions_become("orders", 4)
admin.create_topics([NewTopic("short-lived", 1, 3)])["short-lived"].result(20)
partitions_become("short-lived", 1)
producer = Producer({"bootstrap.servers": bootstrap})
for _ in range(10):
    producer.produce("short-lived", b"x")
assert producer.flush(20) == 0
for offset in (4, 7):
    (deleted,) = admin.delete_records([TopicPartition("short-lived", 0, offset)]).values()
    assert deleted.result(20).low_watermark == offset
admin.delete_topics(["short-lived"])["short-lived"].result(20)
say("admin: partitions added, groups listed and described, records and a topic deleted")

count = final_read(history, 20, "orders", 4) + final_read(history, 20, "by-kcat", 3)
history.write(sys.argv[2])
say(f"{count} records in the final read")
