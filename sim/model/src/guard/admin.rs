//! The messages that change topics and settings.

use super::layout::{
    Field, INT32, Layout, STRING, array, array_of, bool, int8, int16, int32, int64, layout, string, uuid,
};

pub(super) const CREATE_TOPICS_REQUEST: Layout = layout(
    2..=7,
    5,
    &[
        array(
            "topics",
            &[
                string("name"),
                int32("num_partitions"),
                int16("replication_factor"),
                array("assignments", &[int32("partition_index"), array_of("broker_ids", INT32)]),
                array("configs", &[string("name"), string("value").nullable()]),
            ],
        ),
        int32("timeout_ms"),
        bool("validate_only"),
    ],
);

pub(super) const CREATE_TOPICS_RESPONSE: Layout = layout(
    2..=7,
    5,
    &[
        int32("throttle_time_ms"),
        array(
            "topics",
            &[
                string("name"),
                uuid("topic_id").from(7),
                int16("error_code"),
                string("error_message").nullable(),
                int16("topic_config_error_code").from(5).tag(0),
                int32("num_partitions").from(5),
                int16("replication_factor").from(5),
                array(
                    "configs",
                    &[
                        string("name"),
                        string("value").nullable(),
                        bool("read_only"),
                        int8("config_source"),
                        bool("is_sensitive"),
                    ],
                )
                .from(5)
                .nullable(),
            ],
        ),
    ],
);

pub(super) const DELETE_RECORDS_REQUEST: Layout = layout(
    0..=2,
    2,
    &[
        array("topics", &[string("name"), array("partitions", &[int32("partition_index"), int64("offset")])]),
        int32("timeout_ms"),
    ],
);

pub(super) const DELETE_RECORDS_RESPONSE: Layout = layout(
    0..=2,
    2,
    &[
        int32("throttle_time_ms"),
        array(
            "topics",
            &[
                string("name"),
                array("partitions", &[int32("partition_index"), int64("low_watermark"), int16("error_code")]),
            ],
        ),
    ],
);

pub(super) const DELETE_TOPICS_REQUEST: Layout = layout(
    1..=6,
    4,
    &[
        array("topics", &[string("name").nullable(), uuid("topic_id")]).from(6),
        array_of("topic_names", STRING).until(5),
        int32("timeout_ms"),
    ],
);

pub(super) const DELETE_TOPICS_RESPONSE: Layout = layout(
    1..=6,
    4,
    &[
        int32("throttle_time_ms"),
        array(
            "responses",
            &[
                string("name").nullable(),
                uuid("topic_id").from(6),
                int16("error_code"),
                string("error_message").from(5).nullable(),
            ],
        ),
    ],
);

pub(super) const CREATE_PARTITIONS_REQUEST: Layout = layout(
    0..=3,
    2,
    &[
        array(
            "topics",
            &[string("name"), int32("count"), array("assignments", &[array_of("broker_ids", INT32)]).nullable()],
        ),
        int32("timeout_ms"),
        bool("validate_only"),
    ],
);

pub(super) const CREATE_PARTITIONS_RESPONSE: Layout = layout(
    0..=3,
    2,
    &[
        int32("throttle_time_ms"),
        array("results", &[string("name"), int16("error_code"), string("error_message").nullable()]),
    ],
);

pub(super) const DESCRIBE_CONFIGS_REQUEST: Layout = layout(
    1..=4,
    4,
    &[
        array(
            "resources",
            &[int8("resource_type"), string("resource_name"), array_of("configuration_keys", STRING).nullable()],
        ),
        bool("include_synonyms"),
        bool("include_documentation").from(3),
    ],
);

pub(super) const DESCRIBE_CONFIGS_RESPONSE: Layout = layout(
    1..=4,
    4,
    &[
        int32("throttle_time_ms"),
        array(
            "results",
            &[
                int16("error_code"),
                string("error_message").nullable(),
                int8("resource_type"),
                string("resource_name"),
                array(
                    "configs",
                    &[
                        string("name"),
                        string("value").nullable(),
                        bool("read_only"),
                        int8("config_source"),
                        bool("is_sensitive"),
                        array("synonyms", &[string("name"), string("value").nullable(), int8("source")]),
                        int8("config_type").from(3),
                        string("documentation").from(3).nullable(),
                    ],
                ),
            ],
        ),
    ],
);

/// What became of one resource whose settings were to change.
const RESOURCE_RESULT: &[Field] =
    &[int16("error_code"), string("error_message").nullable(), int8("resource_type"), string("resource_name")];

pub(super) const ALTER_CONFIGS_REQUEST: Layout = layout(
    0..=2,
    2,
    &[
        array(
            "resources",
            &[
                int8("resource_type"),
                string("resource_name"),
                array("configs", &[string("name"), string("value").nullable()]),
            ],
        ),
        bool("validate_only"),
    ],
);

pub(super) const ALTER_CONFIGS_RESPONSE: Layout =
    layout(0..=2, 2, &[int32("throttle_time_ms"), array("responses", RESOURCE_RESULT)]);

pub(super) const INCREMENTAL_ALTER_CONFIGS_REQUEST: Layout = layout(
    0..=1,
    1,
    &[
        array(
            "resources",
            &[
                int8("resource_type"),
                string("resource_name"),
                array("configs", &[string("name"), int8("config_operation"), string("value").nullable()]),
            ],
        ),
        bool("validate_only"),
    ],
);

pub(super) const INCREMENTAL_ALTER_CONFIGS_RESPONSE: Layout =
    layout(0..=1, 1, &[int32("throttle_time_ms"), array("responses", RESOURCE_RESULT)]);
