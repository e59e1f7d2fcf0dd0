//! The messages between brokers and controllers.

use super::layout::{
    INT32, Layout, UUID, array, array_of, bool, bytes, int8, int16, int32, int64, layout, string, uuid,
};

pub(super) const ALTER_PARTITION_REQUEST: Layout = layout(
    2..=3,
    0,
    &[
        int32("broker_id"),
        int64("broker_epoch"),
        array(
            "topics",
            &[
                uuid("topic_id"),
                array(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int32("leader_epoch"),
                        array_of("new_isr", INT32).until(2),
                        array("new_isr_with_epochs", &[int32("broker_id"), int64("broker_epoch")]).from(3),
                        int8("leader_recovery_state"),
                        int32("partition_epoch"),
                    ],
                ),
            ],
        ),
    ],
);

pub(super) const ALTER_PARTITION_RESPONSE: Layout = layout(
    2..=3,
    0,
    &[
        int32("throttle_time_ms"),
        int16("error_code"),
        array(
            "topics",
            &[
                uuid("topic_id"),
                array(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int16("error_code"),
                        int32("leader_id"),
                        int32("leader_epoch"),
                        array_of("isr", INT32),
                        int8("leader_recovery_state"),
                        int32("partition_epoch"),
                    ],
                ),
            ],
        ),
    ],
);

pub(super) const ENVELOPE_REQUEST: Layout =
    layout(0..=0, 0, &[bytes("request_data"), bytes("request_principal").nullable(), bytes("client_host_address")]);

pub(super) const ENVELOPE_RESPONSE: Layout =
    layout(0..=0, 0, &[bytes("response_data").nullable(), int16("error_code")]);

pub(super) const BROKER_REGISTRATION_REQUEST: Layout = layout(
    0..=4,
    0,
    &[
        int32("broker_id"),
        string("cluster_id"),
        uuid("incarnation_id"),
        array("listeners", &[string("name"), string("host"), int16("port"), int16("security_protocol")]),
        array("features", &[string("name"), int16("min_supported_version"), int16("max_supported_version")]),
        string("rack").nullable(),
        bool("is_migrating_zk_broker").from(1),
        array_of("log_dirs", UUID).from(2),
        int64("previous_broker_epoch").from(3),
    ],
);

pub(super) const BROKER_REGISTRATION_RESPONSE: Layout =
    layout(0..=4, 0, &[int32("throttle_time_ms"), int16("error_code"), int64("broker_epoch")]);

pub(super) const BROKER_HEARTBEAT_REQUEST: Layout = layout(
    0..=1,
    0,
    &[
        int32("broker_id"),
        int64("broker_epoch"),
        int64("current_metadata_offset"),
        bool("want_fence"),
        bool("want_shut_down"),
        array_of("offline_log_dirs", UUID).from(1).tag(0),
    ],
);

pub(super) const BROKER_HEARTBEAT_RESPONSE: Layout = layout(
    0..=1,
    0,
    &[
        int32("throttle_time_ms"),
        int16("error_code"),
        bool("is_caught_up"),
        bool("is_fenced"),
        bool("should_shut_down"),
    ],
);

pub(super) const ALLOCATE_PRODUCER_IDS_REQUEST: Layout = layout(0..=0, 0, &[int32("broker_id"), int64("broker_epoch")]);

pub(super) const ALLOCATE_PRODUCER_IDS_RESPONSE: Layout = layout(
    0..=0,
    0,
    &[int32("throttle_time_ms"), int16("error_code"), int64("producer_id_start"), int32("producer_id_len")],
);
