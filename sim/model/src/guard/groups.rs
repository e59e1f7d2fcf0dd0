//! The messages of consumer groups.

use super::layout::{
    Field, INT32, Layout, NEVER, STRING, array, array_of, bool, bytes, int8, int16, int32, int64, layout, string,
    structure, uuid,
};

pub(super) const FIND_COORDINATOR_REQUEST: Layout =
    layout(0..=6, 3, &[string("key").until(3), int8("key_type").from(1), array_of("coordinator_keys", STRING).from(4)]);

pub(super) const FIND_COORDINATOR_RESPONSE: Layout = layout(
    0..=6,
    3,
    &[
        int32("throttle_time_ms").from(1),
        int16("error_code").until(3),
        string("error_message").from(1).until(3).nullable(),
        int32("node_id").until(3),
        string("host").until(3),
        int32("port").until(3),
        array(
            "coordinators",
            &[
                string("key"),
                int32("node_id"),
                string("host"),
                int32("port"),
                int16("error_code"),
                string("error_message").nullable(),
            ],
        )
        .from(4),
    ],
);

pub(super) const JOIN_GROUP_REQUEST: Layout = layout(
    0..=9,
    6,
    &[
        string("group_id"),
        int32("session_timeout_ms"),
        int32("rebalance_timeout_ms").from(1),
        string("member_id"),
        string("group_instance_id").from(5).nullable(),
        string("protocol_type"),
        array("protocols", &[string("name"), bytes("metadata")]),
        string("reason").from(8).nullable(),
    ],
);

pub(super) const JOIN_GROUP_RESPONSE: Layout = layout(
    0..=9,
    6,
    &[
        int32("throttle_time_ms").from(2),
        int16("error_code"),
        int32("generation_id"),
        string("protocol_type").from(7).nullable(),
        string("protocol_name").nullable(),
        string("leader"),
        bool("skip_assignment").from(9),
        string("member_id"),
        array("members", &[string("member_id"), string("group_instance_id").from(5).nullable(), bytes("metadata")]),
    ],
);

pub(super) const SYNC_GROUP_REQUEST: Layout = layout(
    0..=5,
    4,
    &[
        string("group_id"),
        int32("generation_id"),
        string("member_id"),
        string("group_instance_id").from(3).nullable(),
        string("protocol_type").from(5).nullable(),
        string("protocol_name").from(5).nullable(),
        array("assignments", &[string("member_id"), bytes("assignment")]),
    ],
);

pub(super) const SYNC_GROUP_RESPONSE: Layout = layout(
    0..=5,
    4,
    &[
        int32("throttle_time_ms").from(1),
        int16("error_code"),
        string("protocol_type").from(5).nullable(),
        string("protocol_name").from(5).nullable(),
        bytes("assignment"),
    ],
);

pub(super) const HEARTBEAT_REQUEST: Layout = layout(
    0..=4,
    4,
    &[string("group_id"), int32("generation_id"), string("member_id"), string("group_instance_id").from(3).nullable()],
);

pub(super) const HEARTBEAT_RESPONSE: Layout =
    layout(0..=4, 4, &[int32("throttle_time_ms").from(1), int16("error_code")]);

pub(super) const LEAVE_GROUP_REQUEST: Layout = layout(
    0..=5,
    4,
    &[
        string("group_id"),
        string("member_id").until(2),
        array(
            "members",
            &[string("member_id"), string("group_instance_id").nullable(), string("reason").from(5).nullable()],
        )
        .from(3),
    ],
);

pub(super) const LEAVE_GROUP_RESPONSE: Layout = layout(
    0..=5,
    4,
    &[
        int32("throttle_time_ms").from(1),
        int16("error_code"),
        array("members", &[string("member_id"), string("group_instance_id").nullable(), int16("error_code")]).from(3),
    ],
);

pub(super) const OFFSET_COMMIT_REQUEST: Layout = layout(
    2..=9,
    8,
    &[
        string("group_id"),
        int32("generation_id_or_member_epoch"),
        string("member_id"),
        string("group_instance_id").from(7).nullable(),
        int64("retention_time_ms").until(4),
        array(
            "topics",
            &[
                string("name"),
                array(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int64("committed_offset"),
                        int32("committed_leader_epoch").from(6),
                        string("committed_metadata").nullable(),
                    ],
                ),
            ],
        ),
    ],
);

pub(super) const OFFSET_COMMIT_RESPONSE: Layout = layout(
    2..=10,
    8,
    &[
        int32("throttle_time_ms").from(3),
        array(
            "topics",
            &[
                string("name").until(9),
                uuid("topic_id").from(10),
                array("partitions", &[int32("partition_index"), int16("error_code")]),
            ],
        ),
    ],
);

/// A topic of which offsets are asked for.
const ASKED_OFFSETS: &[Field] = &[string("name"), array_of("partition_indexes", INT32)];

/// One of the offsets in the answer; they came in groups only from version 8 on.
const FETCHED_OFFSET: &[Field] = &[
    int32("partition_index"),
    int64("committed_offset"),
    int32("committed_leader_epoch").from(5),
    string("metadata").nullable(),
    int16("error_code"),
];

pub(super) const OFFSET_FETCH_REQUEST: Layout = layout(
    1..=9,
    6,
    &[
        string("group_id").until(7),
        array("topics", ASKED_OFFSETS).until(7).nullable(),
        array(
            "groups",
            &[
                string("group_id"),
                string("member_id").from(9).nullable(),
                int32("member_epoch").from(9),
                array("topics", ASKED_OFFSETS).nullable(),
            ],
        )
        .from(8),
        bool("require_stable").from(7),
    ],
);

pub(super) const OFFSET_FETCH_RESPONSE: Layout = layout(
    1..=10,
    6,
    &[
        int32("throttle_time_ms").from(3),
        array("topics", &[string("name"), array("partitions", FETCHED_OFFSET)]).until(7),
        int16("error_code").from(2).until(7),
        array(
            "groups",
            &[
                string("group_id"),
                array(
                    "topics",
                    &[string("name").until(9), uuid("topic_id").from(10), array("partitions", FETCHED_OFFSET)],
                ),
                int16("error_code"),
            ],
        )
        .from(8),
    ],
);

pub(super) const OFFSET_DELETE_REQUEST: Layout = layout(
    0..=0,
    NEVER,
    &[string("group_id"), array("topics", &[string("name"), array("partitions", &[int32("partition_index")])])],
);

pub(super) const OFFSET_DELETE_RESPONSE: Layout = layout(
    0..=0,
    NEVER,
    &[
        int16("error_code"),
        int32("throttle_time_ms"),
        array("topics", &[string("name"), array("partitions", &[int32("partition_index"), int16("error_code")])]),
    ],
);

pub(super) const DESCRIBE_GROUPS_REQUEST: Layout =
    layout(0..=6, 5, &[array_of("groups", STRING), bool("include_authorized_operations").from(3)]);

pub(super) const DESCRIBE_GROUPS_RESPONSE: Layout = layout(
    0..=6,
    5,
    &[
        int32("throttle_time_ms").from(1),
        array(
            "groups",
            &[
                int16("error_code"),
                string("error_message").from(6).nullable(),
                string("group_id"),
                string("group_state"),
                string("protocol_type"),
                string("protocol_data"),
                array(
                    "members",
                    &[
                        string("member_id"),
                        string("group_instance_id").from(4).nullable(),
                        string("client_id"),
                        string("client_host"),
                        bytes("member_metadata"),
                        bytes("member_assignment"),
                    ],
                ),
                int32("authorized_operations").from(3),
            ],
        ),
    ],
);

pub(super) const LIST_GROUPS_REQUEST: Layout =
    layout(0..=5, 3, &[array_of("states_filter", STRING).from(4), array_of("types_filter", STRING).from(5)]);

pub(super) const LIST_GROUPS_RESPONSE: Layout = layout(
    0..=5,
    3,
    &[
        int32("throttle_time_ms").from(1),
        int16("error_code"),
        array(
            "groups",
            &[string("group_id"), string("protocol_type"), string("group_state").from(4), string("group_type").from(5)],
        ),
    ],
);

pub(super) const DELETE_GROUPS_REQUEST: Layout = layout(0..=2, 2, &[array_of("groups_names", STRING)]);

pub(super) const DELETE_GROUPS_RESPONSE: Layout =
    layout(0..=2, 2, &[int32("throttle_time_ms"), array("results", &[string("group_id"), int16("error_code")])]);

pub(super) const CONSUMER_GROUP_HEARTBEAT_REQUEST: Layout = layout(
    0..=1,
    0,
    &[
        string("group_id"),
        string("member_id"),
        int32("member_epoch"),
        string("instance_id").nullable(),
        string("rack_id").nullable(),
        int32("rebalance_timeout_ms"),
        array_of("subscribed_topic_names", STRING).nullable(),
        string("subscribed_topic_regex").from(1).nullable(),
        string("server_assignor").nullable(),
        array("topic_partitions", &[uuid("topic_id"), array_of("partitions", INT32)]).nullable(),
    ],
);

pub(super) const CONSUMER_GROUP_HEARTBEAT_RESPONSE: Layout = layout(
    0..=1,
    0,
    &[
        int32("throttle_time_ms"),
        int16("error_code"),
        string("error_message").nullable(),
        string("member_id").nullable(),
        int32("member_epoch"),
        int32("heartbeat_interval_ms"),
        structure("assignment", &[array("topic_partitions", &[uuid("topic_id"), array_of("partitions", INT32)])])
            .nullable(),
    ],
);

pub(super) const CONSUMER_GROUP_DESCRIBE_REQUEST: Layout =
    layout(0..=1, 0, &[array_of("group_ids", STRING), bool("include_authorized_operations")]);

pub(super) const CONSUMER_GROUP_DESCRIBE_RESPONSE: Layout = layout(
    0..=1,
    0,
    &[
        int32("throttle_time_ms"),
        array(
            "groups",
            &[
                int16("error_code"),
                string("error_message").nullable(),
                string("group_id"),
                string("group_state"),
                int32("group_epoch"),
                int32("assignment_epoch"),
                string("assignor_name"),
                array(
                    "members",
                    &[
                        string("member_id"),
                        string("instance_id").nullable(),
                        string("rack_id").nullable(),
                        int32("member_epoch"),
                        string("client_id"),
                        string("client_host"),
                        array_of("subscribed_topic_names", STRING),
                        string("subscribed_topic_regex").nullable(),
                        structure(
                            "assignment",
                            &[array(
                                "topic_partitions",
                                &[uuid("topic_id"), string("topic_name"), array_of("partitions", INT32)],
                            )],
                        ),
                        structure(
                            "target_assignment",
                            &[array(
                                "topic_partitions",
                                &[uuid("topic_id"), string("topic_name"), array_of("partitions", INT32)],
                            )],
                        ),
                        int8("member_type").from(1),
                    ],
                ),
                int32("authorized_operations"),
            ],
        ),
    ],
);
