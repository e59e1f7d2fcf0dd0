//! The messages that move records, and those that clients need to get there.

use super::layout::{
    INT32, Layout, array, array_of, bool, bytes, int8, int16, int32, int64, layout, string, structure, uuid,
};

pub(super) const PRODUCE_REQUEST: Layout = layout(
    3..=13,
    9,
    &[
        string("transactional_id").nullable(),
        int16("acks"),
        int32("timeout_ms"),
        array(
            "topic_data",
            &[
                string("name").until(12),
                uuid("topic_id").from(13),
                array("partition_data", &[int32("index"), bytes("records").nullable()]),
            ],
        ),
    ],
);

pub(super) const PRODUCE_RESPONSE: Layout = layout(
    3..=13,
    9,
    &[
        array(
            "responses",
            &[
                string("name").until(12),
                uuid("topic_id").from(13),
                array(
                    "partition_responses",
                    &[
                        int32("index"),
                        int16("error_code"),
                        int64("base_offset"),
                        int64("log_append_time_ms"),
                        int64("log_start_offset").from(5),
                        array("record_errors", &[int32("batch_index"), string("batch_index_error_message").nullable()])
                            .from(8),
                        string("error_message").from(8).nullable(),
                        structure("current_leader", &[int32("leader_id"), int32("leader_epoch")]).from(10).tag(0),
                    ],
                ),
            ],
        ),
        int32("throttle_time_ms"),
        array("node_endpoints", &[int32("node_id"), string("host"), int32("port"), string("rack").nullable()])
            .from(10)
            .tag(0),
    ],
);

pub(super) const FETCH_REQUEST: Layout = layout(
    4..=18,
    12,
    &[
        string("cluster_id").from(12).nullable().tag(0),
        int32("replica_id").until(14),
        structure("replica_state", &[int32("replica_id"), int64("replica_epoch")]).from(15).tag(1),
        int32("max_wait_ms"),
        int32("min_bytes"),
        int32("max_bytes"),
        int8("isolation_level"),
        int32("session_id").from(7),
        int32("session_epoch").from(7),
        array(
            "topics",
            &[
                string("topic").until(12),
                uuid("topic_id").from(13),
                array(
                    "partitions",
                    &[
                        int32("partition"),
                        int32("current_leader_epoch").from(9),
                        int64("fetch_offset"),
                        int32("last_fetched_epoch").from(12),
                        int64("log_start_offset").from(5),
                        int32("partition_max_bytes"),
                        uuid("replica_directory_id").from(17).tag(0),
                        int64("high_watermark").from(18).tag(1),
                    ],
                ),
            ],
        ),
        array(
            "forgotten_topics_data",
            &[string("topic").until(12), uuid("topic_id").from(13), array_of("partitions", INT32)],
        )
        .from(7),
        string("rack_id").from(11),
    ],
);

pub(super) const FETCH_RESPONSE: Layout = layout(
    4..=18,
    12,
    &[
        int32("throttle_time_ms"),
        int16("error_code").from(7),
        int32("session_id").from(7),
        array(
            "responses",
            &[
                string("topic").until(12),
                uuid("topic_id").from(13),
                array(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int16("error_code"),
                        int64("high_watermark"),
                        int64("last_stable_offset"),
                        int64("log_start_offset").from(5),
                        structure("diverging_epoch", &[int32("epoch"), int64("end_offset")]).from(12).tag(0),
                        structure("current_leader", &[int32("leader_id"), int32("leader_epoch")]).from(12).tag(1),
                        structure("snapshot_id", &[int64("end_offset"), int32("epoch")]).from(12).tag(2),
                        array("aborted_transactions", &[int64("producer_id"), int64("first_offset")]).nullable(),
                        int32("preferred_read_replica").from(11),
                        bytes("records").nullable(),
                    ],
                ),
            ],
        ),
        array("node_endpoints", &[int32("node_id"), string("host"), int32("port"), string("rack").nullable()])
            .from(16)
            .tag(0),
    ],
);

pub(super) const LIST_OFFSETS_REQUEST: Layout = layout(
    1..=10,
    6,
    &[
        int32("replica_id"),
        int8("isolation_level").from(2),
        array(
            "topics",
            &[
                string("name"),
                array(
                    "partitions",
                    &[int32("partition_index"), int32("current_leader_epoch").from(4), int64("timestamp")],
                ),
            ],
        ),
        int32("timeout_ms").from(10),
    ],
);

pub(super) const LIST_OFFSETS_RESPONSE: Layout = layout(
    1..=10,
    6,
    &[
        int32("throttle_time_ms").from(2),
        array(
            "topics",
            &[
                string("name"),
                array(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int16("error_code"),
                        int64("timestamp"),
                        int64("offset"),
                        int32("leader_epoch").from(4),
                    ],
                ),
            ],
        ),
    ],
);

pub(super) const OFFSET_FOR_LEADER_EPOCH_REQUEST: Layout = layout(
    2..=4,
    4,
    &[
        int32("replica_id").from(3),
        array(
            "topics",
            &[
                string("topic"),
                array("partitions", &[int32("partition"), int32("current_leader_epoch"), int32("leader_epoch")]),
            ],
        ),
    ],
);

pub(super) const OFFSET_FOR_LEADER_EPOCH_RESPONSE: Layout = layout(
    2..=4,
    4,
    &[
        int32("throttle_time_ms"),
        array(
            "topics",
            &[
                string("topic"),
                array(
                    "partitions",
                    &[int16("error_code"), int32("partition"), int32("leader_epoch"), int64("end_offset")],
                ),
            ],
        ),
    ],
);

pub(super) const METADATA_REQUEST: Layout = layout(
    0..=13,
    9,
    &[
        array("topics", &[uuid("topic_id").from(10), string("name").nullable()]).nullable(),
        bool("allow_auto_topic_creation").from(4),
        bool("include_cluster_authorized_operations").from(8).until(10),
        bool("include_topic_authorized_operations").from(8),
    ],
);

pub(super) const METADATA_RESPONSE: Layout = layout(
    0..=13,
    9,
    &[
        int32("throttle_time_ms").from(3),
        array("brokers", &[int32("node_id"), string("host"), int32("port"), string("rack").from(1).nullable()]),
        string("cluster_id").from(2).nullable(),
        int32("controller_id").from(1),
        array(
            "topics",
            &[
                int16("error_code"),
                string("name").nullable(),
                uuid("topic_id").from(10),
                bool("is_internal").from(1),
                array(
                    "partitions",
                    &[
                        int16("error_code"),
                        int32("partition_index"),
                        int32("leader_id"),
                        int32("leader_epoch").from(7),
                        array_of("replica_nodes", INT32),
                        array_of("isr_nodes", INT32),
                        array_of("offline_replicas", INT32).from(5),
                    ],
                ),
                int32("topic_authorized_operations").from(8),
            ],
        ),
        int32("cluster_authorized_operations").from(8).until(10),
        int16("error_code").from(13),
    ],
);

pub(super) const INIT_PRODUCER_ID_REQUEST: Layout = layout(
    0..=5,
    2,
    &[
        string("transactional_id").nullable(),
        int32("transaction_timeout_ms"),
        int64("producer_id").from(3),
        int16("producer_epoch").from(3),
    ],
);

pub(super) const INIT_PRODUCER_ID_RESPONSE: Layout = layout(
    0..=6,
    2,
    &[
        int32("throttle_time_ms"),
        int16("error_code"),
        int64("producer_id"),
        int16("producer_epoch"),
        int64("ongoing_txn_producer_id").from(6),
        int16("ongoing_txn_producer_epoch").from(6),
    ],
);

pub(super) const API_VERSIONS_REQUEST: Layout =
    layout(0..=4, 3, &[string("client_software_name").from(3), string("client_software_version").from(3)]);

pub(super) const API_VERSIONS_RESPONSE: Layout = layout(
    0..=4,
    3,
    &[
        int16("error_code"),
        array("api_keys", &[int16("api_key"), int16("min_version"), int16("max_version")]),
        int32("throttle_time_ms").from(1),
        array("supported_features", &[string("name"), int16("min_version"), int16("max_version")]).from(3).tag(0),
        int64("finalized_features_epoch").from(3).tag(1),
        array("finalized_features", &[string("name"), int16("max_version_level"), int16("min_version_level")])
            .from(3)
            .tag(2),
        bool("zk_migration_ready").from(3).tag(3),
    ],
);

pub(super) const DESCRIBE_CLUSTER_REQUEST: Layout = layout(
    0..=2,
    0,
    &[
        bool("include_cluster_authorized_operations"),
        int8("endpoint_type").from(1),
        bool("include_fenced_brokers").from(2),
    ],
);

pub(super) const DESCRIBE_CLUSTER_RESPONSE: Layout = layout(
    0..=2,
    0,
    &[
        int32("throttle_time_ms"),
        int16("error_code"),
        string("error_message").nullable(),
        int8("endpoint_type").from(1),
        string("cluster_id"),
        int32("controller_id"),
        array(
            "brokers",
            &[int32("broker_id"), string("host"), int32("port"), string("rack").nullable(), bool("is_fenced").from(2)],
        ),
        int32("cluster_authorized_operations"),
    ],
);
