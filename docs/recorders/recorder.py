"""A recorder in Python, for confluent-kafka: what clients did, in the format of docs/history.md, for `klamm check`.

    python recorder.py BOOTSTRAP TOPIC HISTORY

sends a thousand records, reads them, reads everything again at the end, and writes the history."""

import json
import sys
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

RESOLVES_WITHIN_MS = 120_000

# Given before anything is appended, whatever was tried before. Every other error may stand beside an appended record.
REJECTED = {"MSG_SIZE_TOO_LARGE", "INVALID_MSG", "INVALID_MSG_SIZE", "TOPIC_AUTHORIZATION_FAILED",
            "CLUSTER_AUTHORIZATION_FAILED", "INVALID_RECORD", "POLICY_VIOLATION", "UNSUPPORTED_FOR_MESSAGE_FORMAT"}


class History:
    """Operations in the order they happened. All clients of a history share one clock: this process's. A value is written as
    the text that the record holds: JSON tells 1 from "1"."""

    def __init__(self, bootstrap):
        self.bootstrap, self.lock, self.lines, self.began = bootstrap, threading.Lock(), [], time.monotonic_ns()

    def add(self, client, op, **fields):
        with self.lock:
            at = time.monotonic_ns() - self.began
            self.lines.append({"at": at, "client": client, "incarnation": 1, "op": op, **fields})

    def producer(self, client, idempotent):
        self.add(client, "producer", facts={"acks": "all", "idempotent": idempotent, "max_in_flight": 5,
                                            "resolves_within": RESOLVES_WITHIN_MS * 1_000_000})

    def send(self, client, value, topic):
        """Called before the record is handed over: the record may be read before the call returns."""
        self.add(client, "send", value=str(value), topic=topic)

    def sent(self, client, value, partition, offset, error):
        # How often a record was sent the client does not tell: `attempts` is left out.
        outcome = "ok" if error is None else "fail" if error in REJECTED else "info"
        self.add(client, "sent", value=str(value), outcome=outcome, partition=partition, offset=offset, error=error)

    def write(self, path):
        with open(path, "w") as file:
            header = {"klamm-history": 1, "declared": {"recorded": True}, "settings": {"bootstrap.servers": self.bootstrap}}
            file.write("\n".join(json.dumps(line) for line in [header, *self.lines]) + "\n")


class RecordingProducer:
    """A producer whose sends are written down. A value is the text of its record, and no other record has it."""

    def __init__(self, history, client, config=None):
        self.history, self.client = history, client
        self.kafka = Producer({"bootstrap.servers": history.bootstrap, "acks": "all", "enable.idempotence": True,
                               "delivery.timeout.ms": RESOLVES_WITHIN_MS, **(config or {})})
        history.producer(client, True)

    def send(self, topic, value):
        def resolved(error, message):
            ok = error is None
            self.history.sent(self.client, value, message.partition() if ok else None, message.offset() if ok else None,
                              None if ok else error.name())
        self.history.send(self.client, value, topic)
        self.kafka.produce(topic, value.encode(), on_delivery=resolved)
        self.kafka.poll(0)

    def close(self):
        self.kafka.flush(RESOLVES_WITHIN_MS / 1000)


class RecordingConsumer:
    """A consumer of assigned partitions whose positions and polls are written down."""

    def __init__(self, history, client):
        self.history, self.client, self.positions = history, client, {}
        self.kafka = Consumer({"bootstrap.servers": history.bootstrap, "group.id": f"recorder-{client}",
                               "enable.auto.commit": False, "isolation.level": "read_committed"})

    def from_the_beginning(self, topic, partition):
        """Where reading begins is told before the first poll: what is passed over from there on must have a reason."""
        low, high = self.kafka.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
        self.kafka.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        self.positions[topic, partition] = low
        self.history.add(self.client, "position", source={"topic": topic, "partition": partition}, offset=low,
                         reason="assigned")
        return low, high

    def poll(self, most=500, timeout=0.5):
        """The records of one poll, written down by partition."""
        by_partition = {}
        messages = self.kafka.consume(most, timeout)
        for message in messages:
            assert not message.error(), message.error()
            by_partition.setdefault((message.topic(), message.partition()), []).append(message)
        for (topic, partition), records in by_partition.items():
            self.positions[topic, partition] = records[-1].offset() + 1
            self.history.add(self.client, "poll", source={"topic": topic, "partition": partition},
                             isolation="read_committed", records=[self.record(r) for r in records])
        return messages

    @staticmethod
    def record(message):
        value = message.value()
        epoch = message.leader_epoch()
        return {"offset": message.offset(), "leader_epoch": -1 if epoch is None else epoch,
                "value": None if value is None else value.decode(errors="replace"), "timestamp": message.timestamp()[1]}

    def close(self):
        self.kafka.close()


def value_of(client, index):
    """A value that no other client sends."""
    return client << 44 | index


def final_read(history, client, topic, partitions):
    """Reads a topic from its start to its end, and writes it down. To be done when all sends have resolved."""
    consumer, count = RecordingConsumer(history, client), 0
    for partition in range(partitions):
        low, high = consumer.from_the_beginning(topic, partition)
        until = time.monotonic() + 30
        while (at := consumer.positions[topic, partition]) < high:
            assert time.monotonic() < until, f"{topic}-{partition} was read to {at} of {high}"
            count += len(consumer.poll())
        history.add(client, "final_read", source={"topic": topic, "partition": partition}, **{"from": low, "to": at})
    consumer.close()
    return count


def main(bootstrap, topic, path):
    history = History(bootstrap)
    producer = RecordingProducer(history, 1)
    for index in range(1000):
        producer.send(topic, f"order-{index}")
    producer.close()
    partitions = len(producer.kafka.list_topics(topic, timeout=20).topics[topic].partitions)
    count = final_read(history, 2, topic, partitions)
    history.write(path)
    print(f"  confluent-kafka: 1000 sent, {count} in the final read")


if __name__ == "__main__":
    main(*sys.argv[1:])
