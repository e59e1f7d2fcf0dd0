"""What clients did, in the format that `klamm check` reads."""

import json
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

RESOLVES_WITHIN_MS = 120_000


class History:
    """Operations in the order they happened, in Klamm's format."""

    def __init__(self, bootstrap):
        self.bootstrap, self.lock, self.lines, self.began = bootstrap, threading.Lock(), [], time.monotonic_ns()

    def add(self, client, op, **fields):
        with self.lock:
            at = time.monotonic_ns() - self.began
            self.lines.append({"at": at, "client": client, "incarnation": 1, "op": op, **fields})

    def producer(self, client, idempotent):
        # Clients do not tell how often they sent: one that is not idempotent may have sent anything twice.
        self.attempts = {**getattr(self, "attempts", {}), client: 1 if idempotent else 2}
        self.add(client, "producer", facts={"acks": "all", "idempotent": idempotent, "max_in_flight": 5,
                                            "resolves_within": RESOLVES_WITHIN_MS * 1_000_000})

    def send(self, client, value, topic):
        self.add(client, "send", value=value, topic=topic, partition=None, key=None, late_by=0)

    def sent(self, client, value, partition, offset, error):
        outcome = "ok" if error is None else "info"
        self.add(client, "sent", value=value, outcome=outcome, partition=partition, offset=offset,
                 attempts=self.attempts[client], producer_id=None, error=error)

    def write(self, path):
        with open(path, "w") as file:
            header = {"klamm-history": 1, "settings": {"bootstrap.servers": self.bootstrap}}
            file.write("\n".join(json.dumps(line) for line in [header, *self.lines]) + "\n")


def value_of(client, index):
    """A value that nobody else sends."""
    return client << 44 | index


def final_read(history, client, topic, partitions):
    """Reads a topic from its start to its end, and writes it down."""
    consumer = Consumer({"bootstrap.servers": history.bootstrap, "group.id": "final", "enable.auto.commit": False,
                         "enable.partition.eof": False})
    count = 0
    for partition in range(partitions):
        source = {"topic": topic, "partition": partition}
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        history.add(client, "position", source=source, offset=low, reason="assigned")
        at, until = low, time.monotonic() + 30
        while at < high:
            assert time.monotonic() < until, f"{topic}-{partition} was read to {at} of {high}"
            records = []
            for message in consumer.consume(500, 0.5):
                assert not message.error(), message.error()
                records.append({"offset": message.offset(), "leader_epoch": message.leader_epoch(),
                                "value": int(message.value()), "key": None, "timestamp": message.timestamp()[1]})
            if records:
                at = records[-1]["offset"] + 1
                count += len(records)
                history.add(client, "poll", source=source, isolation="read_uncommitted", records=records)
        history.add(client, "final_read", source=source, **{"from": low, "to": at})
    consumer.close()
    return count
