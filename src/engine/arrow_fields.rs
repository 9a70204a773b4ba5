//! Writes fields in JSON as Parquet writes its `ARROW:schema`: what Arrow says of a type in words cannot be read back whole.

use arrow::datatypes::{Field, Schema};
use arrow::ipc::convert::try_schema_from_ipc_buffer;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parquet::arrow::encode_arrow_schema;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(fields: &[Field], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode_arrow_schema(&Schema::new(fields.to_vec())))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Field>, D::Error> {
    let bytes = BASE64_STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
    let schema = try_schema_from_ipc_buffer(&bytes).map_err(D::Error::custom)?;
    Ok(schema.fields().iter().map(|field| field.as_ref().clone()).collect())
}
