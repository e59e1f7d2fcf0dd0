//! The JSON Schemas of the records that other programs read: `run.json`, `audit.json`, `compare.json`.
//!
//! They are made of the types that are written, and published in `docs`. What a reader must know beyond the shape stands in
//! the descriptions.

use crate::audit::AuditRecord;
use crate::record::RunRecord;
use crate::versus::Versus;
use schemars::generate::SchemaSettings;

/// The records, by the names of their files.
pub const NAMES: [&str; 3] = ["run", "audit", "compare"];

/// A record's schema, as the text that `docs/NAME.schema.json` holds; `None` if there is no such record.
pub fn of(name: &str) -> Option<String> {
    // As records are written: what is always there is required.
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = match name {
        "run" => generator.into_root_schema_for::<RunRecord>(),
        "audit" => generator.into_root_schema_for::<AuditRecord>(),
        "compare" => generator.into_root_schema_for::<Versus>(),
        _ => return None,
    };
    schema.insert("title".to_owned(), format!("Klamm's {name}.json").into());
    Some(serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schemas_are_these() {
        for name in NAMES {
            let path = format!("{}/../docs/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
            let published = std::fs::read_to_string(&path).unwrap_or_default();
            let why = format!("write it anew: klamm list --schema {name} > docs/{name}.schema.json");
            assert!(published == of(name).unwrap(), "{why}");
        }
        assert_eq!(of("history"), None);
    }
}
