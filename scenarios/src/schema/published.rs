//! The JSON Schema of scenario files, published in the repository for editors to complete and check by.
//!
//! It says what the grammar takes. What one value demands of another is told when a scenario is loaded.

use super::Scenario;

/// The schema.
pub fn schema() -> schemars::Schema {
    let mut schema = schemars::schema_for!(Scenario);
    schema.insert("title".to_owned(), "A scenario of Klamm".into());
    schema
}

/// The schema, as the text that `scenarios/scenario.schema.json` holds.
pub fn json_schema() -> String {
    serde_json::to_string_pretty(&schema()).expect("a schema is JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schema_is_this_one() {
        let published = concat!(env!("CARGO_MANIFEST_DIR"), "/scenario.schema.json");
        let published = std::fs::read_to_string(published).unwrap_or_default();
        assert!(published == json_schema(), "write it anew: klamm list --schema > scenarios/scenario.schema.json");
    }

    #[test]
    fn it_names_keys_as_files_do_and_refuses_others() {
        let schema: serde_json::Value = serde_json::from_str(&json_schema()).unwrap();
        let properties = &schema["properties"];
        for key in ["converge-within", "topic", "fault", "broker"] {
            assert!(properties[key].is_object(), "{key}");
        }
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["required"].as_array().unwrap().contains(&"summary".into()));
    }
}
