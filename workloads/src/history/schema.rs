//! The JSON Schema of a history's lines, written from the table that they are read by.
//!
//! It says what one line may hold. What must hold between lines is the contract's matter, and told when a history is
//! read.

use super::shape::{COMMON, Field, HEADER, Kind, Need, OPS};
use serde_json::{Map, Value, json};

/// The schema, as the text that `docs/history.schema.json` holds.
pub fn json_schema() -> String {
    let mut lines = vec![json!({ "$ref": "#/$defs/header" })];
    let mut defs = Map::new();
    defs.insert("header".to_owned(), object(HEADER.iter(), "The first line."));
    for op in OPS {
        let mut line = object(COMMON.iter().chain(op.fields), op.about);
        line["properties"]["op"] = json!({ "const": op.name, "description": "the operation's name" });
        defs.insert(op.name.to_owned(), line);
        lines.push(json!({ "$ref": format!("#/$defs/{}", op.name) }));
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of a history of Klamm",
        "description": "The first line is the header; each further line is one operation. See docs/history.md.",
        "oneOf": lines,
        "$defs": defs,
    });
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

fn object<'a>(fields: impl Iterator<Item = &'a Field> + Clone, about: &str) -> Value {
    let properties: Map<String, Value> = fields.clone().map(|f| (f.name.to_owned(), field(f))).collect();
    let required: Vec<&str> = fields.filter(|f| f.need != Need::May).map(|f| f.name).collect();
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !about.is_empty() {
        object["description"] = about.into();
    }
    if !required.is_empty() {
        object["required"] = required.into();
    }
    object
}

fn field(field: &Field) -> Value {
    let mut schema = kind(&field.kind);
    if field.need != Need::Must {
        schema = json!({ "anyOf": [schema, { "type": "null" }] });
    }
    schema["description"] = field.about.into();
    schema
}

fn kind(kind: &Kind) -> Value {
    let bound = |n: i128| i64::try_from(n).map_or_else(|_| json!(u64::MAX), Value::from);
    match *kind {
        Kind::Number(least, most) => json!({ "type": "integer", "minimum": bound(least), "maximum": bound(most) }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Topic => json!({ "type": "string", "pattern": "^(?!\\.{1,2}$)[a-zA-Z0-9._-]{1,249}$" }),
        Kind::Uuid => json!({ "type": "string", "format": "uuid" }),
        Kind::Word(known) => json!({ "enum": known }),
        Kind::Name => json!({ "type": ["string", "number"] }),
        Kind::Object(fields) => object(fields.iter(), ""),
        Kind::List(of) => json!({ "type": "array", "items": self::kind(of) }),
        Kind::Pair(a, b) => json!({
            "type": "array", "prefixItems": [self::kind(a), self::kind(b)], "minItems": 2, "maxItems": 2,
        }),
        Kind::Settings => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schema_is_this_one() {
        let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/history.schema.json");
        let published = std::fs::read_to_string(published).unwrap_or_default();
        assert!(published == json_schema(), "write it anew: klamm check --schema history > docs/history.schema.json");
    }

    #[test]
    fn the_document_tells_every_operation_and_field() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/history.md");
        let document = std::fs::read_to_string(document).unwrap_or_default();
        fn names(fields: &[Field], all: &mut Vec<&'static str>) {
            for field in fields {
                all.push(field.name);
                match field.kind {
                    Kind::Object(inner) | Kind::List(&Kind::Object(inner)) => names(inner, all),
                    Kind::Word(words) => all.extend(words),
                    _ => {}
                }
            }
        }
        let mut all: Vec<&str> = OPS.iter().map(|op| op.name).collect();
        names(COMMON, &mut all);
        names(HEADER, &mut all);
        OPS.iter().for_each(|op| names(op.fields, &mut all));
        for name in all {
            assert!(document.contains(&format!("`{name}`")), "docs/history.md does not tell `{name}`");
        }
    }
}
